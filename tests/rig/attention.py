"""The sizes that the rig runs attentions at."""

from __future__ import annotations

from ftsf_plugins.example import Example, example, node_attributes
from ftsf_plugins.register import OPERATIONS

# Sizes that no kernel is compiled for: fewer frames, tokens and heads than those of ``scripts/build-plugins``.
FRAMES, TOKENS, HEADS, WIDTH = 5, 66, 1, 64


def attention(name: str, along: str, batch: int) -> Example:
    """``along``: "time" or "space". Half precision; weights are the same for every batch, the stream is not."""
    operation = OPERATIONS[name]
    sizes = {"frames": FRAMES, "tokens": TOKENS, "heads": HEADS, "width": WIDTH}
    return example(operation, node_attributes(operation, along, **sizes), "fp16", batch, seed=3)  # type: ignore[arg-type]
