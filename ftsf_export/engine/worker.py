"""The process that compiles: ``python -m ftsf_export.engine.worker``, run in a scratch folder that holds its order.

Here and nowhere else a TensorRT is loaded, so a compiler that aborts, or is poisoned by a failure, takes nothing
with it. stdout carries our reports, one JSON object a line; whatever the libraries print goes to stderr. Files
written in the folder: the engine, the builder's verbose log, and with TensorRT proper the inspector's layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from ftsf_export.engine.functions import without_functions
from ftsf_export.engine.network import layers_of, products_of
from ftsf_export.engine.request import DONE, ENGINE_FILE, LAYERS_FILE, LOG_FILE, REQUEST_FILE, Built, WorkOrder

_REPORT_EVERY_S = 0.1


class RefusalError(Exception):
    """The build cannot go on; ``kind`` is one of request.FAILURES."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Channel:
    """Our reports to the parent, from any thread of the compiler."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, **report: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(report) + "\n")
            self._stream.flush()


def main() -> None:
    # A private copy of stdout for our reports; what the libraries print on theirs joins stderr.
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        built = build(WorkOrder.from_json(Path(REQUEST_FILE).read_text(encoding="utf-8")), channel)
    except RefusalError as refusal:
        channel.send(ended=refusal.kind, message=str(refusal))
    else:
        channel.send(ended=DONE, built=built.as_dict())


def _die_with_parent() -> None:
    # The parent never writes here: end of file means that it is gone, and nobody wants this engine.
    while os.read(0, 1):
        pass
    os._exit(1)


def build(order: WorkOrder, channel: Channel) -> Built:
    """Parse, compile, write. Raises RefusalError; a crash of the compiler ends the process."""
    trt = _compiler(order.builder)
    from polygraphy.exception import PolygraphyException

    with Path(LOG_FILE).open("w", encoding="utf-8", buffering=1) as log:
        _install_logger(trt, log)
        try:
            plugins = _registered(trt, order)
            builder, network, parser = _parsed(trt, order)
            products = products_of(trt, network)
            config = _configured(trt, order, builder, network, channel)
            engine = _compiled(order, builder, network, config)
        except PolygraphyException as error:
            raise RefusalError("build", str(error).splitlines()[0] if str(error) else "the compiler refused") from error
        tf32 = bool(config.get_flag(trt.BuilderFlag.TF32))
        if order.builder == "tensorrt":
            _inspect(trt, engine)
        del parser, network, config, builder
    return Built(
        builder_version=trt.__version__,
        tf32=tf32,
        products=products,
        sha256=hashlib.sha256(engine).hexdigest(),
        size_bytes=_written(engine),
        plugins=plugins,
    )


def _compiler(builder: str) -> ModuleType:
    try:
        if builder == "rtx":
            import tensorrt_rtx as trt
        else:
            import tensorrt as trt
    except ImportError as error:
        package = "tensorrt_rtx" if builder == "rtx" else "tensorrt"
        raise RefusalError("lacks", f"builder {builder}: {package} cannot be imported ({error})") from error
    return trt  # type: ignore[no-any-return]


def _install_logger(trt: Any, log: TextIO) -> None:
    """Everything the compiler says goes to the log, nothing to the terminal.

    TensorRT keeps the first logger that a process gives it, and Polygraphy makes one of its own unless its slot is
    taken. Should that slot move, the log stays without layers, and reading the plan fails: never silently.
    """
    from polygraphy.backend.trt import util as polygraphy_trt
    from polygraphy.logger import G_LOGGER

    class FileLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.write(f"[{severity.name}] {message}\n")

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    polygraphy_trt.TRT_LOGGER = FileLogger()


def _parsed(trt: Any, order: WorkOrder) -> tuple[Any, Any, Any]:
    from polygraphy.backend.trt import network_from_onnx_path

    # Strong typing is the only kind since TensorRT 11, which may drop the flag; on 10 it must be asked for.
    strongly_typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if order.plugins:
        builder, network, parser = _parsed_with_plugins(trt, order, strongly_typed=strongly_typed)
    else:
        builder, network, parser = network_from_onnx_path(order.onnx_path, strongly_typed=strongly_typed)
    if network.num_outputs == 0 or network.num_inputs == 0:
        raise RefusalError("usage", "the file holds no graph with inputs and outputs")
    _check_input(network, order)
    _settle_shape(network, order)
    _let_attentions_decompose(trt, network)
    return builder, network, parser


def _registered(trt: Any, order: WorkOrder) -> str:
    """Make the plugins known; in which way, "" where there are none."""
    if not order.plugins:
        return ""
    from ftsf_plugins.register import register

    try:
        return register(trt, order.plugins, None if order.plugin_kernels is None else Path(order.plugin_kernels))
    except ModuleNotFoundError as error:
        message = f"the graph has nodes for plugins, whose kernels Triton compiles: {error}"
        raise RefusalError("lacks-triton", message) from error


def _parsed_with_plugins(trt: Any, order: WorkOrder, *, strongly_typed: bool) -> tuple[Any, Any, Any]:
    """The file without its functions, so that every parser takes the registered plugins."""
    from polygraphy.backend.trt import create_network, get_trt_logger

    builder, network = create_network(strongly_typed=strongly_typed)
    parser = trt.OnnxParser(network, get_trt_logger())
    # The path says where the weights beside the file are.
    if not parser.parse(without_functions(Path(order.onnx_path).read_bytes()), order.onnx_path):
        said = parser.get_error(0).desc() if parser.num_errors else "it did not say why"
        raise RefusalError("build", f"the parser refused the graph: {said}")
    return builder, network, parser


def _let_attentions_decompose(trt: Any, network: Any) -> None:
    """Let an ``Attention`` node become products and a softmax where no fused kernel takes it.

    Without this the compiler refuses the graph: always in FP32, and in half precision for some sizes (one query).
    Older versions, whose parsers know no such node, have no such layer either.
    """
    for layer in layers_of(network):
        if layer.type.name == "ATTENTION_INPUT":
            # The generic layer that get_layer gives does not show it; the same step as Polygraphy's own loader.
            layer.__class__ = trt.IAttentionInputLayer
            layer.attention.decomposable = True


def _check_input(network: Any, order: WorkOrder) -> None:
    shapes = {tensor.name: tuple(tensor.shape) for tensor in (network.get_input(i) for i in range(network.num_inputs))}
    if order.input_name not in shapes:
        raise RefusalError("usage", f"input: expected {order.input_name!r}, the graph has {', '.join(shapes)}")
    shape = shapes[order.input_name]
    for wanted in order.profile:
        fits = len(wanted) == len(shape) and all(has in (-1, want) for has, want in zip(shape, wanted, strict=True))
        if not fits:
            fixed = "; the graph's batch is fixed: export it again with --batch" if shape[0] != -1 else ""
            raise RefusalError(
                "usage", f"input {order.input_name!r}: expected {wanted}, the graph has {list(shape)}{fixed}"
            )


def _settle_shape(network: Any, order: WorkOrder) -> None:
    """A profile of one shape leaves nothing dynamic: the compiler then sees every size, and so does its plan."""
    low, _, high = order.profile
    if low == high:
        network_input = next(t for t in map(network.get_input, range(network.num_inputs)) if t.name == order.input_name)
        network_input.shape = high


def _configured(trt: Any, order: WorkOrder, builder: Any, network: Any, channel: Channel) -> Any:
    from polygraphy.backend.trt import CreateConfig, Profile

    profile = Profile()
    profile.add(order.input_name, *order.profile)
    pools = {} if order.workspace_mib is None else {trt.MemoryPoolType.WORKSPACE: order.workspace_mib << 20}
    common: dict[str, Any] = {
        "profiles": [profile],
        "profiling_verbosity": trt.ProfilingVerbosity.DETAILED,
        "memory_pool_limits": pools,
        "progress_monitor": _monitor(trt, channel),
    }
    if order.timing_cache is not None and Path(order.timing_cache).exists():
        common["load_timing_cache"] = order.timing_cache
    if order.builder == "rtx":
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        create = CreateConfigRTX(compute_capabilities=[divmod(c, 10) for c in order.capabilities], **common)
    else:
        create = CreateConfig(tf32=order.tf32, **common)
    config = create(builder, network)
    # TF32 is on by default, and CreateConfigRTX leaves it so.
    (config.set_flag if order.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    return config


def _monitor(trt: Any, channel: Channel) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases nest; each reports its own steps, a few times a second."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._totals: dict[str, int] = {}
            self._last_s = 0.0

        def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
            self._totals[phase_name] = num_steps
            channel.send(phase=phase_name, done=0, total=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._last_s >= _REPORT_EVERY_S:
                self._last_s = now
                channel.send(phase=phase_name, done=step + 1, total=self._totals.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            total = self._totals.pop(phase_name, 1)
            channel.send(phase=phase_name, done=total, total=total)

    return Monitor()


def _compiled(order: WorkOrder, builder: Any, network: Any, config: Any) -> bytes:
    from polygraphy.backend.trt import engine_bytes_from_network

    # The callable keeps the configuration ours: TF32 is settled there.
    return bytes(engine_bytes_from_network((builder, network), config=config, save_timing_cache=order.timing_cache))


def _inspect(trt: Any, engine: bytes) -> None:
    """TensorRT proper: the layers as its inspector tells them. Needs the GPU, which this builder needs anyway."""
    from polygraphy.backend.trt import engine_from_bytes

    inspector = engine_from_bytes(engine).create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    Path(LAYERS_FILE).write_text(text, encoding="utf-8")


def _written(engine: bytes) -> int:
    try:
        with Path(ENGINE_FILE).open("wb") as file:
            file.write(engine)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(ENGINE_FILE).unlink()
        raise RefusalError(
            "output", f"the engine of {len(engine)} bytes cannot be written: {error.strerror}"
        ) from error
    return len(engine)


if __name__ == "__main__":
    main()
    # The libraries' own tear-down at exit is none of our business, and has crashed with work already done.
    sys.stdout.flush()
    os._exit(0)
