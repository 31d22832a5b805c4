"""An engine on a GPU, with TensorRT or TensorRT for RTX, through Polygraphy's ``TrtRunner``.

Written against Polygraphy 0.53 (``backend/trt/runner.py``, ``loader.py``). Its refusals are tested here; on hardware it
was not run here, since neither library runs without a GPU.
"""

from __future__ import annotations

import platform
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ftsf_export.errors import ConfigError, EnvironmentLacks, RunError
from ftsf_export.network.scope import OUTPUTS
from ftsf_export.runners.cuda_runtime import cuda_runtime
from ftsf_export.runners.driver import Gpu, require_gpu
from ftsf_export.runners.flavour import MODULES, RTX_MACHINES, choose_flavour
from ftsf_export.runners.polygraphy_log import quiet_polygraphy
from ftsf_export.runners.specialised import specialised_context
from ftsf_plugins.register import register_for_runtime

Array = NDArray[Any]


def require_tensorrt(builder: str) -> Gpu:
    """The GPU that runs the builder's engines. Raises EnvironmentLacks without it or without their library."""
    if find_spec(MODULES[builder]) is None:
        if builder == "rtx" and (machine := platform.machine()) not in RTX_MACHINES:
            raise EnvironmentLacks(f"{MODULES[builder]} has no package for {machine}; build an engine of TensorRT here")
        raise EnvironmentLacks(f"{MODULES[builder]} is not installed", extra=builder)
    return require_gpu(f"to run an engine of {MODULES[builder]}")


def engine_runner(path: Path, *, builder: str) -> Any:
    """A Polygraphy runner for the engine in ``path``, in this process; its outputs are some of ``OUTPUTS``.

    ``builder`` is the one that made it. Raises what ``choose_flavour`` and ``require_tensorrt`` raise; the runner
    raises RunError for an engine that the library refuses or fails on, with the library's own log.
    """
    choose_flavour(builder)
    require_tensorrt(builder)
    # Defined where the choice is made: importing Polygraphy's base classes would bind this process to one library.
    from polygraphy.backend.base import BaseRunner
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    from polygraphy.exception import PolygraphyException

    cuda_runtime()
    know_plugins(builder)

    class EngineRunner(BaseRunner):  # type: ignore[misc]
        kernels = ""

        def activate_impl(self) -> None:
            with quiet_polygraphy() as errors:
                try:
                    loaded, self.kernels = specialised_context(EngineFromBytes(path.read_bytes())())
                    self._inner = TrtRunner(loaded)
                    self._inner.activate()
                except (PolygraphyException, ImportError, OSError) as error:
                    raise _refusal(path, builder, error, errors) from error
            if outputs := _unexpected_outputs(self._inner.engine):
                self._inner.deactivate()
                raise RunError(f"{path.name}: expected outputs {' and '.join(OUTPUTS)}, got {outputs}")

        def get_input_metadata_impl(self) -> Any:
            return self._inner.get_input_metadata(use_numpy_dtypes=False)

        def infer_impl(self, feed_dict: Mapping[str, Array]) -> OrderedDict[str, Array]:
            with quiet_polygraphy() as errors:
                try:
                    outputs = self._inner.infer(feed_dict)
                except PolygraphyException as error:
                    raise _refusal(path, builder, error, errors) from error
            self.inference_time = self._inner.last_inference_time()
            # TrtRunner's host buffers are used again by the next call.
            return OrderedDict((name, value.copy()) for name, value in outputs.items())

        def deactivate_impl(self) -> None:
            self._inner.deactivate()

    return EngineRunner(name=f"{builder}:{path.name}")


def load_engine(path: Path, builder: str) -> tuple[Any, str]:
    """The ICudaEngine in ``path`` for a caller's own execution context, and the version of the library that runs it.

    Polygraphy has no part in it, so it does not bind the process to one library.

    ``builder`` ("tensorrt" or "rtx") is the one that made it. Raises ConfigError for another name, EnvironmentLacks
    without the library or a GPU, and RunError with the library's own log for an engine that it refuses.
    """
    if builder not in MODULES:
        raise ConfigError([f"builder: an engine is run by {' or '.join(MODULES)}, got {builder!r}"])
    require_tensorrt(builder)
    return opened_engine(path, builder)


def opened_engine(path: Path, builder: str) -> tuple[Any, str]:
    """``load_engine`` where the library and a GPU are known to be there."""
    library = import_module(MODULES[builder])
    errors: list[str] = []

    class Log(library.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.INTERNAL_ERROR, library.ILogger.ERROR):
                errors.append(message)

    know_plugins(builder)
    engine = _runtime(library, Log(), builder, errors).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        said = errors[0] if errors else "no reason given"
        raise _not_run(f"{path.name}: {MODULES[builder]} {library.__version__} refuses it: {said}", errors)
    return engine, str(library.__version__)


def _runtime(library: Any, log: Any, builder: str, errors: list[str]) -> Any:
    """The library's runtime. Raises EnvironmentLacks where it does not start: the driver is older than it needs."""
    try:
        runtime = library.Runtime(log)
    except TypeError as error:  # what pybind11 makes of a NULL
        runtime, errors[:] = None, [*errors, str(error)]
    if runtime is None:
        gpu = require_gpu(f"to run an engine of {MODULES[builder]}")
        raise EnvironmentLacks(
            f"{MODULES[builder]} {library.__version__} does not start with driver {gpu.driver_version or 'unknown'} "
            f"(CUDA {gpu.cuda_version}) on {gpu.name}: the driver is older than it needs, or its libraries are not all "
            "there; install a newer driver, or an older version of the library",
            details="\n".join(errors),
        )
    return runtime


def know_plugins(builder: str) -> None:
    """Registers what engines of TensorRT 10.3 ask for when they are loaded; later ones hold their plugins.

    A library that cannot be imported is left for its next user to name.
    """
    if builder == "tensorrt":
        with suppress(ImportError):
            register_for_runtime(import_module(MODULES[builder]))


def _unexpected_outputs(engine: Any) -> str:
    """Names of the engine's outputs, or "none"; empty where they are what is expected."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    outputs = [name for name in names if str(engine.get_tensor_mode(name)).endswith("OUTPUT")]
    return "" if outputs and set(outputs) <= set(OUTPUTS) else ", ".join(sorted(outputs)) or "none"


def _refusal(path: Path, builder: str, error: Exception, log: list[str]) -> RunError:
    said = " ".join((log[0] if log else str(error)).split())
    return _not_run(f"{path.name}: {MODULES[builder]} cannot run it: {said}", [*log, str(error)])


def _not_run(said: str, log: list[str]) -> RunError:
    where = "an engine runs only on the GPUs and the library version it was built for: build it here with ftsf build"
    return RunError(f"{said}; {where}", details="\n".join(log))
