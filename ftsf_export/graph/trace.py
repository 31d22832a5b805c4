"""Export form -> ONNX graph, through ``torch.onnx.export(dynamo=True)``: one block traced, repeated with other weights.

Tracing time grows with the number of nodes, and blocks are alike: the network is traced with two blocks, the first and
the last (which may compute the class token alone), and the first is then repeated (``unroll``).

What is traced holds random numbers instead of the weights. The converter merges constants that are equal, and weights
often are (biases of zero, gains of one): traced with its real weights, one block would share constants that in the next
block differ.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from ftsf_export.bundle.specs import BATCH
from ftsf_export.config import BatchRange
from ftsf_export.errors import ExportError
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.network.scope import CLIP


def trace(form: ExportForm, clip_shape: tuple[int, ...], batch: BatchRange, opset: int) -> ir.Model:
    """The graph of ``form`` with its first and last block only, and with random constants.

    Args:
        form: the whole network.
        clip_shape: that of the input without the clips.
        batch: one size makes a static graph; otherwise dimension 0 is dynamic and called ``batch``.
        opset: of the standard domain.

    Raises ExportError when torch.export or the converter refuses.
    """
    short = _two_blocks(form)
    # With 1 as the example, torch.export would specialise on it.
    clips = batch.optimum if batch.static else max(2, batch.optimum)
    example = torch.zeros(clips, *clip_shape, dtype=getattr(torch, form.takes.dtype))
    dynamic = None if batch.static else ({0: torch.export.Dim(BATCH, min=batch.minimum, max=batch.maximum)},)
    return converted(short, (example,), opset, dynamic, inputs=[CLIP], outputs=form.outputs)


def converted(
    module: nn.Module,
    example: tuple[Tensor, ...],
    opset: int,
    dynamic: Any,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> ir.Model:
    """The graph of ``module`` called with ``example``. ``dynamic``: dimensions that vary, as torch.export takes them.

    Raises ExportError when torch.export or the converter refuses.
    """
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=dynamic,
                input_names=list(inputs),
                output_names=list(outputs),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # torch raises many types here, most of them its own and private
        raise ExportError(f"torch.onnx.export refused the model: {_first_line(error)}", details=str(error)) from error
    if program is None:
        raise ExportError("torch.onnx.export returned no program")
    return program.model


def _two_blocks(form: ExportForm) -> ExportForm:
    """A copy of ``form`` with its first and last block and random constants, drawn from a generator of its own."""
    blocks = list(form.blocks)
    kept = blocks if len(blocks) < 2 else [blocks[0], blocks[-1]]
    # The copy of all blocks is that of these two; what they share with the rest of the form they share in the copy too.
    copies: dict[int, object] = {}
    copies[id(form.blocks)] = nn.ModuleList(copy.deepcopy(kept, copies))
    short = copy.deepcopy(form, copies).float()
    generator = torch.Generator().manual_seed(0)
    for parameter in short.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator)
    return short


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own remarks (operators of packages that are not installed, deprecations inside torch) are not ours
    to show; what goes wrong is raised."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
