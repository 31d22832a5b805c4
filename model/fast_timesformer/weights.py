"""Weights in safetensors files. The architecture travels in the file's metadata, so a file alone gives the model.

Loading is strict: what is missing, what is too much and what has another shape is named. The format holds tensors and
text and nothing that runs.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from fast_timesformer.whole_file import write_whole

# One key: safetensors writes several in an order that changes from process to process.
METADATA_KEY = "fast_timesformer"
SCHEMA_VERSION = 1
# How many tensors that do not fit an error names.
_SHOWN = 3
# Of a file that is read. TimeSformer-base has 0.5 GB.
_MAX_BYTES = 16 << 30


class WeightsError(ValueError):
    """A file that holds no weights of ours, or not those of this model."""


@dataclass(frozen=True)
class Description:
    """What a file says of its model."""

    config: TimeSformerConfig  #: The architecture.
    #: Names of the classes in the order of the logits; None where they were not given.
    labels: tuple[str, ...] | None = None
    #: How frames become its input (mean, std, resize_short_side, resample, stride); None where it was not given.
    preprocessing: Mapping[str, Any] | None = None


def save_model(
    model: FastTimeSformer,
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Write weights, buffers (omega) and description: whole, or not at all.

    The same model gives the same bytes. Raises OSError where the path cannot be written, ValueError where there are
    not as many labels as classes.
    """
    path = Path(path)
    description: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "config": model.config.as_dict()}
    if labels is not None:
        if len(labels) != model.config.num_classes:
            raise ValueError(f"labels: expected {model.config.num_classes}, one for each class, got {len(labels)}")
        description["labels"] = list(labels)
    if preprocessing is not None:
        description["preprocessing"] = dict(preprocessing)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    data: bytes = save(tensors, metadata={METADATA_KEY: json.dumps(description, sort_keys=True)})
    write_whole(path, data)


def load_model(path: str | Path) -> FastTimeSformer:
    """The model of a file that ``save_model`` wrote, on the CPU, in the file's floating type, ready to train.

    Raises WeightsError where the file is corrupt, has no configuration of ours, or does not match it; OSError where it
    cannot be read.
    """
    metadata, tensors = _read(Path(path))
    model = FastTimeSformer.from_config(description_from_metadata(metadata, Path(path)).config)
    kinds = {tensor.dtype for tensor in tensors.values()}
    if len(kinds) == 1 and (kind := kinds.pop()).is_floating_point:
        model = model.to(kind)
    _assign(model, tensors, Path(path))
    return model


def load_weights(model: FastTimeSformer, path: str | Path) -> None:
    """Copy a file's tensors into a model, in the model's type. The file's configuration is not asked.

    Raises WeightsError, and leaves the model as it was, where a tensor is missing, unknown, misshapen or not of a
    floating type; OSError where the file cannot be read.
    """
    _, tensors = _read(Path(path))
    _assign(model, tensors, Path(path))


def _assign(model: FastTimeSformer, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    problems = [f"missing {name} {tuple(own[name].shape)}" for name in own if name not in tensors]
    problems += [f"unknown {name} {tuple(tensors[name].shape)}" for name in sorted(tensors) if name not in own]
    for name in (name for name in own if name in tensors):
        expected, got = own[name], tensors[name]
        if expected.shape != got.shape:
            problems.append(f"{name}: expected shape {tuple(expected.shape)}, got {tuple(got.shape)}")
        elif not got.is_floating_point():
            problems.append(f"{name}: expected a floating type, got {got.dtype}")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightsError(
            f"{path}: {len(problems)} tensors do not fit the model: {'; '.join(problems[:_SHOWN])}{more}"
        )
    model.load_state_dict(dict(tensors), strict=True)


@contextmanager
def regular_file(path: Path) -> Iterator[FileIO]:
    """The file at ``path``, open for reading, without waiting for the writer of a pipe.

    Raises OSError where it cannot be opened, WeightsError where it is no regular file, or longer than any of ours.
    """
    # The libraries report a directory or a missing permission in other words.
    flags = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", buffering=0, opener=lambda name, mode: os.open(name, mode | flags)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            raise WeightsError(f"{path}: expected a regular file of at most {_MAX_BYTES} bytes")
        yield file


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with regular_file(path) as opened:
        # The library opens a path by itself: that of the open file, where the system has one.
        own = f"/proc/self/fd/{opened.fileno()}"
        try:
            with safe_open(own if os.path.exists(own) else str(path), framework="pt", device="cpu") as file:
                # The clone outlives the file, which stays mapped otherwise.
                return dict(file.metadata() or {}), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict, not iterable
        except SafetensorError as error:
            raise WeightsError(f"{path}: expected a safetensors file, got one that does not read: {error}") from error


def description_from_metadata(metadata: Mapping[str, str], path: Path) -> Description:
    """What the metadata of the file ``path`` says. Raises WeightsError where it says nothing, or something wrong."""
    if METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path}: expected a model configuration in the metadata under {METADATA_KEY!r}, got keys "
            f"{sorted(metadata)}; build the model and use load_weights"
        )
    try:
        description = json.loads(metadata[METADATA_KEY])
        version, data = description["schema_version"], description["config"]
        if version != SCHEMA_VERSION:
            raise WeightsError(f"{path}: expected schema_version {SCHEMA_VERSION}, got {version!r}")
        config = TimeSformerConfig.from_dict(data)
        return Description(config, _labels(description, config), _preprocessing(description))
    except WeightsError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsError(f"{path}: the model configuration in the metadata is wrong: {error}") from error


def _labels(description: Mapping[str, Any], config: TimeSformerConfig) -> tuple[str, ...] | None:
    labels = description.get("labels")
    if labels is None:
        return None
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.isprintable() for label in labels):
        raise ValueError("labels: expected a list of printable texts")
    if len(labels) != config.num_classes:
        raise ValueError(f"labels: expected {config.num_classes}, one for each class, got {len(labels)}")
    return tuple(labels)


def _preprocessing(description: Mapping[str, Any]) -> Mapping[str, Any] | None:
    preprocessing = description.get("preprocessing")
    if preprocessing is not None and not isinstance(preprocessing, dict):
        raise ValueError(f"preprocessing: expected an object, got {type(preprocessing).__name__}")
    return preprocessing
