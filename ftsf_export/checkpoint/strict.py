"""Every tensor of a checkpoint has a place in the model it was trained as; every tensor of that model is there."""

from __future__ import annotations

from collections.abc import Mapping

from ftsf_export.checkpoint.names import Origin, Shape
from ftsf_export.errors import UsageError


def check_fit(origins: Mapping[str, Origin], found: Mapping[str, Shape], *, source: str) -> None:
    """Holds the tensors of ``source`` against what the model needs of it.

    Args:
        origins: our name -> where the tensor must lie.
        found: the checkpoint's names and shapes.

    Raises UsageError with the names of all that are missing, too many or misshapen.
    """
    needed = {origin.name: origin.shape for origin in origins.values()}
    problems = [f"missing {name} {_text(shape)}" for name, shape in needed.items() if name not in found]
    problems += [f"unknown {name} {_text(found[name])}" for name in sorted(set(found) - set(needed))]
    problems += [
        f"{name}: expected shape {_text(shape)}, got {_text(found[name])}"
        for name, shape in needed.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    if problems:
        raise UsageError(f"checkpoint: {source}: {len(problems)} tensors do not fit the model: {'; '.join(problems)}")


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
