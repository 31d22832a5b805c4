"""What running a bundle's graph on a CPU may take: many times what a model of its size does take, and no more.

A bundle may come from anybody, and its graph may be made to compute without end or to fill the memory. What an honest
one needs follows from the architecture, as far as the size of the files bears that out.
"""

from __future__ import annotations

from ftsf_export.bundle import ONNX_NAME, Manifest
from ftsf_export.errors import UsageError
from ftsf_export.pipeline.room import clip_bytes, export_needs, free_memory_bytes, gib, operations
from ftsf_export.process.quota import Quota

# Processor time to open the smallest graph, and for each block of a larger one.
_OPENING_S, _BLOCK_S = 4.0, 1.0
# A core of a 2.5 GHz Xeon does 100 times as much, of a graph that rounds every tensor to FP16 and back.
_OPERATIONS_A_S, _BYTES_A_S = 0.2e9, 10e6
# A process with ONNX Runtime loaded holds 150 MiB.
_LEAST_BYTES = 512 << 20
_WEIGHT_COPIES, _ACTIVATION_COPIES = 12, 6
# More than this for each byte of weights no model of this kind computes, or holds at once.
_MOST_OPERATIONS, _MOST_BYTES = 40_000, 500
_FLOAT_BYTES = 4


def graph_quota(manifest: Manifest, clips: int) -> Quota:
    """Of opening ``model.onnx`` and of each call with ``clips`` clips, all values that parity compares given out."""
    model = manifest.model
    weights = sum(entry.size_bytes for name, entry in manifest.files.items() if name.startswith(ONNX_NAME))
    work = clips * min(operations(model), _MOST_OPERATIONS * weights)
    taps = len(manifest.graph.taps) * model.num_tokens * model.dim * _FLOAT_BYTES
    needs = export_needs(model, 1)
    held = clips * min(needs.activation_bytes + taps, _MOST_BYTES * weights) + clips * clip_bytes(model)
    return Quota(
        processor_s=_OPENING_S + _BLOCK_S * model.depth + work / _OPERATIONS_A_S + weights / _BYTES_A_S,
        memory_bytes=_LEAST_BYTES + _WEIGHT_COPIES * weights + _ACTIVATION_COPIES * held,
    )


def require_room_for_calls(manifest: Manifest, clips: int) -> None:
    """Raises UsageError, with the estimate and what is free, where the clips of one call alone do not fit here."""
    needed, free = 3 * clips * clip_bytes(manifest.model), free_memory_bytes()
    if free is not None and needed > free:
        raise UsageError(
            f"batch: the bundle's graph takes {clips} clips in a call, which need {gib(needed)} of memory; "
            f"{gib(free)} are free; free some, or export again with a smaller --batch"
        )
