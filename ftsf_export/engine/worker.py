"""The process that compiles: the child's side of ``engine.builder``.

Here and nowhere else a TensorRT is loaded, so a compiler that aborts, or is poisoned by a failure, takes nothing
with it. Its progress is told to the parent. Its log is a file, written line by line: of some 50,000 lines a crash loses
none, and none costs a message.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from ftsf_export.disk import refusals_translated_at
from ftsf_export.engine.compiler_log import CompilerLog, compiler_log
from ftsf_export.engine.network import layers_of, products_of
from ftsf_export.engine.onnx_functions import without_functions
from ftsf_export.engine.request import BuildRequest, Built, CompilerRefusal
from ftsf_export.errors import EnvironmentLacks, UsageError
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.runners.flavour import MODULES, choose_flavour
from ftsf_export.strict_json import plain, structured
from ftsf_export.user_file import content_of, regular_file

_REPORT_EVERY_S = 0.1
# Those of one model have some 100 KB.
_MOST_CACHE_BYTES = 256 << 20


def build(request: Message, tell: Tell) -> Message:
    """Parse, compile, write: the ``Built``.

    Raises UsageError, EnvironmentLacks, OutputError, CompilerRefusal; a crash of the compiler ends the process.
    """
    order = structured(request.value, BuildRequest, "the request to build")
    choose_flavour(order.builder)
    trt = _compiler(order.builder)
    from polygraphy.exception import PolygraphyException

    with compiler_log(order.log_path) as log:
        _install_logger(trt, log)
        try:
            plugins = _registered(trt, order)
            builder, network, parser = _parsed(trt, order)
            products = products_of(trt, network)
            config = _configured(trt, order, builder, network, tell)
            engine = _compiled(order, builder, network, config)
        except PolygraphyException as error:
            raise CompilerRefusal((str(error) or "it did not say why").splitlines()[0]) from error
        tf32 = bool(config.get_flag(trt.BuilderFlag.TF32))
        del parser, network, config, builder
    built = Built(
        builder_version=trt.__version__,
        tf32=tf32,
        products=products,
        sha256=hashlib.sha256(engine).hexdigest(),
        size_bytes=_written(order, engine),
        plugins=plugins,
    )
    return Message(plain(built))


def _compiler(builder: str) -> Any:
    try:
        return import_module(MODULES[builder])
    except ImportError as error:
        raise EnvironmentLacks(
            f"builder {builder}: {MODULES[builder]} cannot be imported ({error})", extra=builder
        ) from error


def _install_logger(trt: Any, log: CompilerLog) -> None:
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


def _parsed(trt: Any, order: BuildRequest) -> tuple[Any, Any, Any]:
    from polygraphy.backend.trt import network_from_onnx_path

    # Strong typing is the only kind since TensorRT 11, which may drop the flag; on 10 it must be asked for.
    strongly_typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if order.graph.operations(order.builder):
        builder, network, parser = _parsed_with_plugins(trt, order, strongly_typed=strongly_typed)
    else:
        builder, network, parser = network_from_onnx_path(str(order.graph.onnx_path), strongly_typed=strongly_typed)
    if network.num_outputs == 0 or network.num_inputs == 0:
        raise UsageError(f"{order.title}: the file holds no graph with inputs and outputs")
    _settle_inputs(network, order)
    _let_attentions_decompose(trt, network)
    return builder, network, parser


def _registered(trt: Any, order: BuildRequest) -> str:
    """Make the plugins known; in which way, "" where there are none."""
    operations = order.graph.operations(order.builder)
    if not operations:
        return ""
    from ftsf_plugins.cuda import CudaError
    from ftsf_plugins.deploy import Unsupported
    from ftsf_plugins.register import register

    try:
        return register(trt, operations, order.options.plugin_kernels)
    except Unsupported as error:
        raise EnvironmentLacks(f"{order.title}: the graph has nodes for plugins: {error}") from error
    except CudaError as error:
        raise EnvironmentLacks(
            f"{order.title}: the graph has nodes for plugins, and the GPU cannot be asked for its kernels: {error}"
        ) from error
    except ModuleNotFoundError as error:
        raise EnvironmentLacks(
            f"{order.title}: the graph has nodes for plugins, whose kernels Triton compiles: {error}",
            extra="plugins",
        ) from error


def _parsed_with_plugins(trt: Any, order: BuildRequest, *, strongly_typed: bool) -> tuple[Any, Any, Any]:
    """The file without its functions, so that every parser takes the registered plugins."""
    from polygraphy.backend.trt import create_network, get_trt_logger

    builder, network = create_network(strongly_typed=strongly_typed)
    parser = trt.OnnxParser(network, get_trt_logger())
    # The path says where the weights beside the file are.
    if not parser.parse(without_functions(order.graph.onnx_path.read_bytes()), str(order.graph.onnx_path)):
        said = parser.get_error(0).desc() if parser.num_errors else "it did not say why"
        raise CompilerRefusal(f"the parser refused the graph: {said}")
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


def _settle_inputs(network: Any, order: BuildRequest) -> None:
    """Check the inputs against the request. A profile of one shape leaves nothing dynamic: the compiler then sees every
    size, and so does its plan."""
    inputs = {tensor.name: tensor for tensor in map(network.get_input, range(network.num_inputs))}
    profiles = order.profiles()
    if inputs.keys() != profiles.keys():
        names = " and ".join(map(repr, profiles))
        raise UsageError(f"{order.title}: input: expected {names}, the graph has {', '.join(inputs)}")
    for name, profile in profiles.items():
        shape = tuple(inputs[name].shape)
        for wanted in profile:
            fits = len(wanted) == len(shape) and all(has in (-1, want) for has, want in zip(shape, wanted, strict=True))
            if not fits:
                fixed = "; the graph's batch is fixed: export it again with --batch"
                mend = fixed if order.graph.input_name and shape[:1] != (-1,) else ""
                got = f"expected {list(wanted)}, the graph has {list(shape)}{mend}"
                raise UsageError(f"{order.title}: input {name!r}: {got}")
        if len(set(profile)) == 1:
            inputs[name].shape = profile[0]


def _configured(trt: Any, order: BuildRequest, builder: Any, network: Any, tell: Tell) -> Any:
    from polygraphy.backend.trt import CreateConfig, Profile

    profile = Profile()
    for name, shapes in order.profiles().items():
        profile.add(name, *shapes)
    pools = (
        {} if order.options.workspace_mib is None else {trt.MemoryPoolType.WORKSPACE: order.options.workspace_mib << 20}
    )
    common: dict[str, Any] = {
        "profiles": [profile],
        "profiling_verbosity": trt.ProfilingVerbosity.DETAILED,
        "memory_pool_limits": pools,
        "progress_monitor": _monitor(trt, tell),
    }
    if order.options.timing_cache is not None and order.options.timing_cache.exists():
        common["load_timing_cache"] = _Held(_timing_cache(order.options.timing_cache))
    if order.builder == "rtx":
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        numbers = [tuple(map(int, capability.split("."))) for capability in order.target.capabilities]
        create = CreateConfigRTX(compute_capabilities=numbers, **common)
    else:
        create = CreateConfig(tf32=order.options.tf32, **common)
    config = create(builder, network)
    # TF32 is on by default, and CreateConfigRTX leaves it so.
    (config.set_flag if order.options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    return config


class _Held(BytesIO):
    """Bytes in the place of a file: Polygraphy asks how it was opened."""

    mode = "rb"


def _timing_cache(path: Path) -> bytes:
    """Its content, under the lock that Polygraphy takes to write it."""
    from polygraphy.util import LockFile

    # What is refused is refused before the lock, a file beside it that stays.
    with regular_file(path, expected="a timing cache", most=_MOST_CACHE_BYTES):
        pass
    with LockFile(str(path)):
        return content_of(path, expected="a timing cache", most=_MOST_CACHE_BYTES)


def _monitor(trt: Any, tell: Tell) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases nest; each reports its own steps, a few times a second."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._totals: dict[str, int] = {}
            self._last_s = 0.0

        def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
            self._totals[phase_name] = num_steps
            tell({"phase": phase_name, "done": 0, "total": num_steps})

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._last_s >= _REPORT_EVERY_S:
                self._last_s = now
                tell({"phase": phase_name, "done": step + 1, "total": self._totals.get(phase_name, step + 1)})
            return True

        def phase_finish(self, phase_name: str) -> None:
            total = self._totals.pop(phase_name, 1)
            tell({"phase": phase_name, "done": total, "total": total})

    return Monitor()


def _compiled(order: BuildRequest, builder: Any, network: Any, config: Any) -> bytes:
    from polygraphy.backend.trt import engine_bytes_from_network

    # The callable keeps the configuration ours: TF32 is settled there.
    cache = None if order.options.timing_cache is None else str(order.options.timing_cache)
    return bytes(engine_bytes_from_network((builder, network), config=config, save_timing_cache=cache))


def _written(order: BuildRequest, engine: bytes) -> int:
    with refusals_translated_at(order.output, f"write the engine of {len(engine)} bytes"):
        try:
            with order.output.open("wb") as file:
                file.write(engine)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                order.output.unlink()
            raise
    return len(engine)
