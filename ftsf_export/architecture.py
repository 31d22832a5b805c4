"""Which field of a request (``ExportConfig``) is which field of an architecture (``TimeSformerConfig``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fast_timesformer.config import ArchitectureError, TimeSformerConfig

# The request's size is the architecture's height and width.
FIELDS = {
    "attn": "attn_mechanism",
    "attn_type": "attn_type",
    "frames": "frames",
    "channels": "channels",
    "patch_size": "patch_size",
    "dim": "dim",
    "depth": "depth",
    "heads": "heads",
    "dim_head": "dim_head",
    "num_classes": "num_classes",
    "rotary": "rotary_emb",
    "norm_eps": "norm_eps",
}
_REQUESTED = {**{theirs: ours for ours, theirs in FIELDS.items()}, "height": "size", "width": "size"}


def architecture_from_request(request: Mapping[str, Any], *, height: int, width: int) -> TimeSformerConfig:
    """The architecture of the fields of a request. Raises ArchitectureError where there is none."""
    return TimeSformerConfig(height=height, width=width, **{theirs: request[ours] for ours, theirs in FIELDS.items()})


def request_from_architecture(architecture: TimeSformerConfig) -> dict[str, Any]:
    """The request's fields, the number of heads written out."""
    fields = {ours: getattr(architecture, theirs) for ours, theirs in FIELDS.items()}
    return {**fields, "heads": architecture.num_heads, "size": (architecture.height, architecture.width)}


def requested_problems(error: ArchitectureError, *, relations: bool) -> list[tuple[str, str]]:
    """What is wrong in the words of a request: its field, and the sentence. One number, one sentence.

    ``relations``: with what is wrong only between fields.
    """
    problems: dict[tuple[str, str], None] = {}
    for problem in error.problems:
        if problem.alone or relations:
            said = problem.said
            for theirs in ("attn_mechanism", "rotary_emb"):
                said = said.replace(theirs, _REQUESTED[theirs])
            problems[_REQUESTED[problem.field], said] = None
    return list(problems)
