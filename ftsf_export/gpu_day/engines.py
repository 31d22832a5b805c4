"""Engines on the GPU: exported and compiled, judged against PyTorch, timed, and each kernel beside its bound."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ftsf_export.engine.cards import Card, card_of_gpu
from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.gpu_day.children import require
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.runners.driver import require_gpu
from ftsf_export.runners.flavour import MODULES

_PROFILED_CALLS = 20


def engine(request: Message, tell: Tell) -> Message:
    """Tells what becomes of one bundle: its gates, its timings, and its kernels, measured beside planned.

    ``request``: ``config`` (fields of ``ExportConfig``), ``output`` (its directory), ``seconds`` (of each timing).
    """
    asked, name = request.value, Path(request.value["output"]).name
    builder = asked["config"]["builder"]
    if find_spec(MODULES[builder]) is None:
        raise EnvironmentLacks(f"{MODULES[builder]} is not installed", extra=builder)
    require("torch", "onnx", "onnxscript", "safetensors", "onnxruntime", extra="export")
    gpu = require_gpu("to run engines")
    target = f"sm_{gpu.capability.replace('.', '')}"
    from ftsf_export.bench.request import BenchRequest
    from ftsf_export.config import ExportConfig
    from ftsf_export.pipeline.bench import measure_bundle
    from ftsf_export.pipeline.export import export
    from ftsf_export.pipeline.verify import verify

    config = ExportConfig(**asked["config"], targets=(target,))
    bundle = export(config, output=asked["output"], overwrite=True)
    judged = verify(bundle.path, runner=builder).verdicts
    for one in (*bundle.verdicts, *judged):
        said = {"gate": one.gate, "status": one.status.value, "reason": one.reason, "file": one.subject.file}
        tell({"bundle": name, **said, "right": one.status.value != "failed"})
    for timing in measure_bundle(bundle.path, BenchRequest(runner=builder, seconds=asked["seconds"])):
        tell(
            {
                "bundle": name,
                "heading": timing.heading,
                "p50_ms": timing.latency.p50_ms,
                "gpu_p50_ms": None if timing.device is None else timing.device.p50_ms,
                "clips_per_s": timing.clips_per_s,
                "notes": list(timing.subject.notes),
            }
        )
    (entry,) = bundle.engines
    shapes = {bundle.manifest.inputs[0].name: bundle.golden().clip[:1]}
    with bundle.engine_copy(entry) as path:
        measured = profiled(path, builder, shapes)
    tell({"bundle": name, **beside_plan(measured, bundle.path, target, card_of_gpu(gpu.name))})
    return Message()


def profiled(path: Path, builder: str, feed: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of each layer of one call, the mean of some, as TensorRT's profiler tells them."""
    from ftsf_export.bench.cuda import Cuda
    from ftsf_export.bench.device_loop import DeviceLoop
    from ftsf_export.runners.tensorrt import load_engine

    loaded, _ = load_engine(path, builder)
    trt: Any = import_module(MODULES[builder])
    spent: dict[str, float] = {}

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer: str, milliseconds: float) -> None:
            spent[layer] = spent.get(layer, 0.0) + milliseconds

    arrays = {name: np.ascontiguousarray(one) for name, one in feed.items()}
    with DeviceLoop(loaded, arrays, graph=False, cuda=Cuda.load()) as loop:
        loop()
        loop.context.profiler = Profiler()
        for _ in range(_PROFILED_CALLS):
            loop()
    if not spent:
        raise RunError(f"{path.name}: its profiler told of no layer")
    return {layer: milliseconds / _PROFILED_CALLS for layer, milliseconds in spent.items()}


def beside_plan(measured: dict[str, float], bundle: Path, target: str, card: Card | None) -> dict[str, Any]:
    """Each layer's time with the bound of the kernel of that name in the plan of the same graph, compiled again."""
    from ftsf_export.pipeline.plan_bundle import plan

    compiled = plan(bundle, target=target, batch=1)
    planned = {one.kernel.name: one for one in compiled.audit.kernels}
    rows = []
    for layer, milliseconds in sorted(measured.items(), key=lambda pair: -pair[1]):
        found = planned.get(layer)
        bound = None if found is None or card is None else card.least_s(found.moved_bytes, found.flops, found.runs_in)
        rows.append({
            "layer": layer, "ms": milliseconds, "module": "" if found is None else str(found.module),
            "moved_bytes": None if found is None else found.moved_bytes,
            "bound_ms": None if bound is None else bound[0] * 1e3, "limited_by": "" if bound is None else bound[1],
        })  # fmt: skip
    return {
        "layers": rows,
        "not in the plan": sum(row["moved_bytes"] is None for row in rows),
        "planned": len(planned),
        "planned by": f"{compiled.record.builder} {compiled.record.builder_version}",
        "card": None if card is None else card.name,
    }
