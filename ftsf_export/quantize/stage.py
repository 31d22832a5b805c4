"""From an FP32 graph and clips to a graph of 8 bits: what is done, in order, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ftsf_export.disk import scratch_folder, scratch_refusals_translated
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.precision import FP16, INT8
from ftsf_export.quantize.equalise import equalise, normalise_columns
from ftsf_export.quantize.observe import Observed, observe
from ftsf_export.quantize.place import Form, place
from ftsf_export.quantize.sites import Site, sites_of

# Of the calls for the channels' largest magnitudes, which hardly move any more: they choose powers of two.
_CALLS_FOR_CHANNELS = 32
Calls = Callable[[], Iterable[npt.NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """How a graph is made one of 8 bits."""

    algebra: str  #: Of the attention's mechanism (``mechanisms``).
    heads: int  #: Of each attention.
    for_cpu: bool = False  #: For ONNX Runtime on a CPU: FP32 beside the integers; otherwise FP16, for a GPU.
    method: str = "mse"  #: How ranges of activations are chosen: see ``scales``.
    evened: bool = True  #: Whether channels are evened out before (``equalise``).

    @property
    def form(self) -> Form:
        return Form.for_cpu() if self.for_cpu else Form.for_gpu(self.algebra)


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A graph of 8 bits, and how it came about."""

    graph: OnnxModel  #: In ``INT8``, with FP16 or FP32 beside.
    products: tuple[str, ...]  #: Nodes of the products in 8 bits, in the graph's order.
    evened: Mapping[str, int]  #: Rewrite of ``equalise`` -> how often it was done.
    ranges: Mapping[str, float]  #: Quantized value -> the magnitude that becomes the largest integer.
    observed: Mapping[str, Observed]  #: What the quantized values were on the clips, after the rewrites.


def evened_out(source: OnnxModel, calls: Calls, options: QuantizeOptions) -> tuple[OnnxModel, dict[str, int]]:
    """``source`` with the exact rewrites that 8 bits need: the same function. ``source`` is left as it is."""
    graph = replace(source, model=source.model.clone())
    sites = sites_of(graph.model.graph)
    done: dict[str, int] = {}
    if options.evened:
        seen = _observed(graph, [site.name for site in sites], islice(calls(), _CALLS_FOR_CHANNELS))
        largest = {name: one.channel_max for name, one in seen.items()}
        done = equalise(graph.model.graph, sites, largest, algebra=options.algebra, heads=options.heads)
        done["columns"] = normalise_columns(graph.model.graph, options.form.quantized_results(sites))
    return graph, done


def quantize(source: OnnxModel, calls: Calls, options: QuantizeOptions) -> Quantized:
    """``source``, which must be FP32, in 8 bits; it is left as it is.

    ``calls``: gives the clips anew each time, as many a call as the graph takes. Raises RunError where the graph does
    not run on them, ExportError where a number does not fit into FP16, ValueError without a clip or a product.
    """
    graph, done = evened_out(source, calls, options)
    sites = sites_of(graph.model.graph)
    if not sites:
        raise ValueError("no product of the graph can be quantized")
    results = options.form.quantized_results(sites)
    names = [*(site.name for site in sites), *(str(product.result.name) for product in results)]
    seen = _observed(graph, names, calls())
    ranges = place(graph.model.graph, sites, seen, options.form, method=options.method)
    made = graph if options.for_cpu else _half_beside(graph)
    return Quantized(
        graph=replace(made, precision=INT8.name, islands=() if options.for_cpu else made.islands),
        products=tuple(_names(sites)),
        evened=done,
        ranges=ranges,
        observed=seen,
    )


def _names(sites: Iterable[Site]) -> Iterator[str]:
    return (str(product.node.name) for site in sites for product in site.products)


def _half_beside(graph: OnnxModel) -> OnnxModel:
    """What is not in 8 bits in FP16, but for the islands."""
    from ftsf_export.graph.precision import to_precision

    return to_precision(graph, FP16.name)


def _observed(graph: OnnxModel, names: list[str], calls: Iterable[npt.NDArray[np.float32]]) -> Mapping[str, Observed]:
    with scratch_folder("ftsf-observed-") as folder:
        path: Path = folder / "model.onnx"
        with scratch_refusals_translated():
            graph.save(path)
        return observe(path, names, calls)
