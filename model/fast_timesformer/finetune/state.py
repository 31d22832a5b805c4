"""The state of a training on the disk: weights as safetensors, the rest as tensors and plain values.

``step-00000120.safetensors`` and ``step-00000120.pt``. Each is written whole or not at all, the weights first: the
second file is what makes the pair a checkpoint, so a process that dies between leaves the one before. Reading runs no
code of a file's (``weights_only``).
"""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fast_timesformer.model import FastTimeSformer
from fast_timesformer.weights import WeightsError, load_weights, regular_file, save_model
from fast_timesformer.whole_file import write_whole

SCHEMA_VERSION = 2
_STATE = re.compile(r"step-(\d{8})\.pt")


class StateError(ValueError):
    """A checkpoint of a training that does not read, or that belongs to another training."""


@dataclass(frozen=True)
class TrainingState:
    """What goes on besides the weights."""

    step: int  #: Steps done.
    settings: dict[str, Any]  #: What the training was, in plain values.
    values: dict[str, Any]  #: State of optimizer, scaler and random numbers, in tensors and plain values.


def save_state(folder: Path, model: FastTimeSformer, state: TrainingState) -> None:
    """Writes the checkpoint, then removes the older ones. Raises OSError where ``folder`` cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"step-{state.step:08d}"
    save_model(model, folder / f"{stem}.safetensors")
    content = {"schema_version": SCHEMA_VERSION, "step": state.step, "settings": state.settings, **state.values}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(folder / f"{stem}.pt", buffer.getvalue())
    for old in (*folder.glob("step-*.pt"), *folder.glob("step-*.safetensors")):
        if old.stem < stem:
            old.unlink(missing_ok=True)


def newest_step(folder: Path) -> int | None:
    """Steps done at the last checkpoint in ``folder``; None where there is none."""
    names = (_STATE.fullmatch(path.name) for path in folder.glob("step-*.pt"))
    return max((int(found[1]) for found in names if found), default=None)


def load_state(folder: Path, model: FastTimeSformer, settings: dict[str, Any]) -> TrainingState | None:
    """The last checkpoint's state, its weights copied into ``model``; None where there is none.

    Raises StateError where it does not read, or was made with other ``settings`` (their names are said).
    """
    step = newest_step(folder)
    if step is None:
        return None
    path = folder / f"step-{step:08d}.pt"
    try:
        with regular_file(path) as file, io.BufferedReader(file) as buffered:
            content = torch.load(buffered, map_location="cpu", weights_only=True)
        state = TrainingState(content.pop("step"), content.pop("settings"), content)
        version = content.pop("schema_version")
    except (WeightsError, pickle.UnpicklingError, RuntimeError, KeyError, AttributeError, EOFError) as error:
        raise StateError(
            f"{path}: not a readable checkpoint of a training; remove it to start anew: {error}"
        ) from error
    if version != SCHEMA_VERSION or state.step != step:
        raise StateError(f"{path}: expected schema_version {SCHEMA_VERSION} and step {step}; remove it to start anew")
    if changed := [name for name in settings if state.settings.get(name) != settings[name]]:
        said = "; ".join(f"{name}: was {state.settings.get(name)!r}, now {settings[name]!r}" for name in changed)
        raise StateError(f"{path}: another training ({said}); go on with the same settings, or take another folder")
    try:
        load_weights(model, path.with_suffix(".safetensors"))
    except (OSError, ValueError) as error:
        raise StateError(f"{path.with_suffix('.safetensors')}: does not go with {path.name}: {error}") from error
    return state
