"""An engine on a GPU, with TensorRT or TensorRT for RTX, through Polygraphy's ``TrtRunner``.

Written against Polygraphy 0.53 (``backend/trt/runner.py``, ``loader.py``). Its refusals are tested here; on hardware it
was not run here, since neither library runs without a GPU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.network.scope import LOGITS
from ftsf_export.runners.driver import Gpu, require_gpu
from ftsf_export.runners.flavour import INSTALLS, MODULES, choose_flavour
from ftsf_export.runners.protocol import quiet_polygraphy
from ftsf_plugins.register import register_for_runtime

Array = NDArray[Any]


def require_tensorrt(builder: str) -> Gpu:
    """The GPU that runs the builder's engines. Raises EnvironmentLacks without it or without their library."""
    if find_spec(MODULES[builder]) is None:
        raise EnvironmentLacks(f"{MODULES[builder]} is not installed", install=INSTALLS[builder])
    return require_gpu(f"to run an engine of {MODULES[builder]}")


def engine_runner(path: Path, *, builder: str, name: str = "") -> Any:
    """A Polygraphy runner for the engine in ``path``, in this process; its one output is "logits".

    ``builder`` is the one that made it. Raises what ``choose_flavour`` and ``require_tensorrt`` raise; the runner
    raises RunError for an engine that the library refuses or fails on, with the library's own log.
    """
    choose_flavour(builder)
    require_tensorrt(builder)
    # Defined where the choice is made: importing Polygraphy's base classes would bind this process to one library.
    from polygraphy.backend.base import BaseRunner
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    from polygraphy.exception import PolygraphyException

    know_plugins(builder)

    class EngineRunner(BaseRunner):  # type: ignore[misc]
        def activate_impl(self) -> None:
            with quiet_polygraphy() as errors:
                try:
                    self._inner = TrtRunner(EngineFromBytes(path.read_bytes()))
                    self._inner.activate()
                except (PolygraphyException, ImportError, OSError) as error:
                    raise _refusal(path, builder, error, errors) from error
            outputs = set(_output_names(self._inner.engine))
            if outputs != {LOGITS}:
                self._inner.deactivate()
                raise RunError(
                    f"{path.name}: expected the one output 'logits', got {', '.join(sorted(outputs)) or 'none'}"
                )

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

    return EngineRunner(name=name or f"{builder}:{path.name}")


def know_plugins(builder: str) -> None:
    """Registers what engines of TensorRT 10.3 ask for when they are loaded; later ones hold their plugins.

    A library that cannot be imported is left for its next user to name.
    """
    if builder == "tensorrt":
        with suppress(ImportError):
            register_for_runtime(import_module(MODULES[builder]))


def _output_names(engine: Any) -> list[str]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return [name for name in names if str(engine.get_tensor_mode(name)).endswith("OUTPUT")]


def _refusal(path: Path, builder: str, error: Exception, log: list[str]) -> RunError:
    said = " ".join((log[0] if log else str(error)).split())
    return RunError(
        f"{path.name}: {MODULES[builder]} cannot run it: {said}; an engine runs only on the GPUs and the library "
        "version it was built for: build it here with ftsf build",
        details="\n".join([*log, str(error)]),
    )
