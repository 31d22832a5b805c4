"""What the table of known faults asks of an engine, from its bundle."""

from __future__ import annotations

from ftsf_export.bundle import Manifest
from ftsf_export.bundle.specs import CLASS_TAIL
from ftsf_export.config import OPSET_ATTENTION
from ftsf_export.known_faults import Stack, warnings_for
from ftsf_export.mechanisms import mechanism_named
from ftsf_export.network.scope import BRANCHES
from ftsf_export.precision import precision_named


def engine_warnings(
    manifest: Manifest, *, builder: str, version: str, capabilities: tuple[str, ...], most_clips: int
) -> tuple[str, ...]:
    """What others have met with an engine like this one, whose largest batch is ``most_clips``; one sentence each."""
    if builder != "tensorrt":
        return ()
    model = manifest.model
    mechanism = mechanism_named(model.attn_mechanism)
    # Each patch attends over time, each frame over space, and in joint attention the clip as a whole.
    groups = {"time": model.num_patches, "space": 1 if model.attn_type == "joint" else model.frames}
    largest = max(groups[branch.along] for branch in BRANCHES[model.attn_type])
    stack = Stack(
        tensorrt=version,
        capabilities=capabilities,
        softmax=mechanism.fuses,
        half=precision_named(manifest.precision).is_half,
        operator=mechanism.fuses and manifest.graph.opset >= OPSET_ATTENTION,
        single_rows=mechanism.algebra == "additive" or manifest.graph.has_rewrite(CLASS_TAIL),
        score_matrices=most_clips * largest * model.num_heads,
    )
    return warnings_for(stack)
