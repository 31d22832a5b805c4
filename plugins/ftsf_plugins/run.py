"""Starts a kernel on torch tensors: on a GPU, or in Triton's interpreter where TRITON_INTERPRET=1 was set first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftsf_plugins.launch import Launch, scalar_values
from ftsf_plugins.stream import Stream

if TYPE_CHECKING:
    import torch


def run(
    kernel: Any, launch: Launch, stream: Stream, inputs: Sequence[torch.Tensor], out: torch.Tensor, features: int = 0
) -> None:
    """Write the attention of ``inputs`` (in the order of ``launch.inputs``, the packed stream first) into ``out``.

    The packed stream (B, S, 3 * H * K) and ``out`` (B, S, H * K) may have gaps between rows and between clips. Raises
    ValueError where a shape does not fit the stream or a row has gaps.
    """
    qkv = inputs[0]
    batch, rows = qkv.shape[0], stream.frames * stream.tokens
    for name, tensor, width in (("qkv", qkv, 3 * stream.inner), ("out", out, stream.inner)):
        if tuple(tensor.shape) != (batch, rows, width):
            raise ValueError(f"{name}: expected shape {(batch, rows, width)}, got {tuple(tensor.shape)}")
        if tensor.stride(2) != 1:
            raise ValueError(f"{name}: expected rows without gaps, got stride {tensor.stride(2)} in the last dimension")
    scalars = scalar_values(
        launch,
        stream,
        batch,
        features,
        stream.strides(qkv.stride(1), qkv.stride(0)),
        stream.strides(out.stride(1), out.stride(0)),
    )
    grid = launch.grid(stream, batch)
    options = {"num_warps": launch.warps, "num_stages": launch.stages, "maxnreg": launch.most_registers}
    kernel[grid](*inputs, *scalars.values(), out, **launch.constants, **options)
