"""What training code wraps around the tensors of a model: a key above them, and words before every name.

``{"state_dict": {"module.net.patch_embed.proj.weight": ...}}`` is the network's ``patch_embed.proj.weight``. Whatever
stands before the name that every layout has is the wrapping, if it stands before that name once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ftsf_export.errors import UsageError

# Keys under which the tensors may lie; the first that there is. Averaged weights (EMA) come last.
GROUPS = (
    *("model_state", "state_dict", "model_state_dict", "model", "module"),
    *("ema", "ema_state_dict", "model_ema", "state_dict_ema"),
)
# The embedding of patches, by which each layout is known: Hugging Face's with its head, mmaction2's, the original's,
# Hugging Face's without a head, ours.
_MARKS = (
    "timesformer.embeddings.patch_embeddings.projection.weight",
    "backbone.patch_embed.projection.weight",
    "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.weight",
    "patch_embed.weight",
)


def group_in(content: Mapping[Any, Any]) -> str:
    """The key of ``content`` under which the tensors lie; "" where they are ``content`` itself."""
    return next((key for key in GROUPS if isinstance(content.get(key), Mapping)), "")


def prefix_of(names: Iterable[str], path: Path) -> str:
    """What stands before every name of the network; "" where nothing does, and where no layout is known.

    Raises UsageError where two networks are in the file ``path``.
    """
    known = tuple(names)
    for mark in _MARKS:
        prefixes = sorted(name[: -len(mark)] for name in known if name == mark or name.endswith(f".{mark}"))
        if len(prefixes) > 1:
            raise UsageError(
                f"checkpoint: {path}: holds {len(prefixes)} networks, with names below "
                f"{', '.join(repr(prefix) for prefix in prefixes[:4])}; save the one that is wanted alone"
            )
        if prefixes:
            return prefixes[0]
    return ""
