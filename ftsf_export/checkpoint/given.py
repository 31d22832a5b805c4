"""A model that the caller made: what can be exported of it, and what is refused since the graph would be another model.

The export reads a model's layers and buffers and never calls its forward pass. What a caller changed beside them - a
method of a subclass, a hook, a wrapper in the place of a layer - would be in the reference values and not in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from ftsf_export.config import ExportConfig
from ftsf_export.disk import scratch_folder
from ftsf_export.errors import ConfigError, UsageError

# What ``export(model=...)`` may be given; what it takes is said where it is refused.
Module = nn.Module
_SHOWN = 3
_HUGGING_FACE = "TimesformerForVideoClassification"
# What a subclass may have of its own: how it is made, and what Python writes into every class.
_HARMLESS = frozenset(
    {"__init__", "__module__", "__doc__", "__annotations__", "__parameters__", "__qualname__", "__firstlineno__"}
    | {"__static_attributes__", "__slots__", "__signature__", "__repr__", "extra_repr"}
)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of what ``torch.compile`` returned; any other as it is."""
    inner = getattr(model, "_orig_mod", model)
    return inner if isinstance(inner, nn.Module) else model


def is_huggingface_model(model: nn.Module) -> bool:
    """Whether it is transformers' ``TimesformerForVideoClassification``, or a subclass of it."""
    return any(
        base.__name__ == _HUGGING_FACE and base.__module__.startswith("transformers.") for base in type(model).__mro__
    )


@contextmanager
def saved_as_checkpoint(model: Any) -> Iterator[Path]:
    """The directory that ``model.save_pretrained`` writes, for as long as the context lasts.

    ``model``: transformers' ``TimesformerForVideoClassification``. Raises UsageError where it was altered, OutputError
    where temporary files cannot be written.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        original = next(base for base in type(model).__mro__ if base.__name__ == _HUGGING_FACE)
        plain = original(model.config)
    _require_like(model, plain)
    with scratch_folder("ftsf-model-") as folder:
        place = Path(folder) / _HUGGING_FACE
        model.save_pretrained(place)
        yield place


def exportable(model: nn.Module) -> FastTimeSformer:
    """``model`` itself. Raises UsageError unless it is a ``FastTimeSformer`` that does no more than its layers say."""
    if not isinstance(model, FastTimeSformer):
        raise UsageError(f"model: expected {KNOWN}, got {type(model).__name__}; {_way_on(model)}")
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        plain = FastTimeSformer.from_config(model.config)
    _require_like(model, plain)
    return model


def config_of_model(config: ExportConfig, own: TimeSformerConfig) -> ExportConfig:
    """``config`` with the architecture ``own`` of a model that exists. Raises UsageError where they contradict."""
    if not own.frames_first:
        raise UsageError("model: expected clips of (B, F, C, H, W), got frames_first=False; make it with True")
    others = config.disagreements(own)
    if others:
        raise ConfigError(
            [f"{name}: {asked} was asked for, the model has {has}" for name, (asked, has) in others.items()]
        )
    return config.with_architecture(own)


KNOWN = f"a fast_timesformer.FastTimeSformer or transformers' {_HUGGING_FACE}"


def _way_on(model: object) -> str:
    """How to export the model that is in ``model``, if one is."""
    if not isinstance(model, nn.Module):
        return "a state dict has no architecture: load it into its model first (load_state_dict), and give that"
    inner = [name for name, part in model.named_modules() if isinstance(part, FastTimeSformer)]
    inner = inner or [name for name, part in model.named_modules() if is_huggingface_model(part)]
    if hasattr(model, "merge_and_unload"):
        return "merge the adapters first: export(..., model=model.merge_and_unload())"
    if inner:
        return f"it holds one: export(..., model=model.{inner[0]})"
    if hasattr(model, "save_pretrained"):
        return "of transformers' models TimeSformer alone is known: model.save_pretrained(DIR), checkpoint=DIR"
    return "other architectures are not known; its weights may be: give their file as checkpoint=FILE"


def _require_like(model: nn.Module, plain: nn.Module) -> None:
    """Raises UsageError unless every layer of ``plain`` is in ``model`` and computes what it does there."""
    parts = dict(model.named_modules())
    found = [
        f"{name or 'the model itself'}: {said}"
        for name, expected in plain.named_modules()
        if (said := _difference(parts.get(name), expected))
    ]
    if not found:
        return
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UsageError(
        f"model: the export reads the layers of a {type(plain).__name__} and would leave out "
        f"{'; '.join(found[:_SHOWN])}{more}; export the plain model: merge wrappers and parametrizations into the "
        "weights, remove hooks"
    )


def _difference(part: nn.Module | None, expected: nn.Module) -> str:
    """What ``part`` does that ``expected`` does not; "" for nothing."""
    kind = type(expected)
    if part is None:
        return f"a missing {kind.__name__}"
    if hasattr(part, "parametrizations"):
        return f"a parametrization of {', '.join(vars(part.parametrizations)['_modules'])}"
    if not isinstance(part, kind):
        return f"{type(part).__name__} in the place of {kind.__name__}"
    hooks = [hook for kept in _HOOKS for hook in getattr(part, kept).values()]
    if hooks:
        return f"a hook ({getattr(hooks[0], '__qualname__', type(hooks[0]).__name__)})"
    bases = type(part).__mro__[: type(part).__mro__.index(kind)]
    own = {name for base in bases for name in vars(base) if hasattr(kind, name)} - _HARMLESS
    own |= {name for name in vars(part) if callable(getattr(kind, name, None))}
    if own:
        return f"{type(part).__name__}.{sorted(own)[0]}, which is not {kind.__name__}'s"
    sizes = {name: value for name, value in vars(expected).items() if type(value) in (int, str) and name[0] != "_"}
    other = [name for name, value in sizes.items() if getattr(part, name, None) != value]
    return f"{other[0]} {getattr(part, other[0])!r} in the place of {sizes[other[0]]!r}" if other else ""
