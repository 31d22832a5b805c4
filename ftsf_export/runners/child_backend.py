"""The child's side of ``runners.child_runner``: libraries are loaded, a file is opened, each further request runs it.

These are requests of their own, so that a limit of the parent's counts what the file costs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell


class ChildBackend:
    """One runner. The first request names its backend, and is answered when that is loaded; the second the file and
    the options, and is answered with the runner's inputs, and with which kernels an engine runs.

    A further request holds the arrays to run on; its answer the outputs, and the seconds that the run took.
    """

    def __init__(self) -> None:
        self._make: Callable[..., Any] | None = None
        self._runner: Any = None

    def __call__(self, request: Message, _tell: Tell) -> Message:
        if self._make is None:
            self._make = _loaded(request.value["backend"])
            return Message()
        if self._runner is None:
            runner = self._make(Path(request.value["path"]), **request.value["options"])
            runner.activate()
            self._runner = runner
            return Message({"inputs": _inputs(runner), "kernels": getattr(runner, "kernels", "")})
        outputs = self._runner.infer(request.arrays)
        return Message(self._runner.last_inference_time(), outputs)


def _loaded(backend: str) -> Callable[..., Any]:
    """What makes a runner of a path. Backends are imported here: the first import binds the process to one."""
    if backend == "onnxruntime":
        from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner, onnxruntime

        onnxruntime()
        return OnnxRuntimeRunner
    from ftsf_export.runners.tensorrt import engine_runner

    return partial(engine_runner, builder=backend)


def _inputs(runner: Any) -> list[tuple[str, str, list[int | None]]]:
    """Name, NumPy type and shape of each input; a size that may vary is None."""
    return [
        (name, item.dtype.name, [size if isinstance(size, int) and size >= 0 else None for size in item.shape])
        for name, item in runner.get_input_metadata(use_numpy_dtypes=False).items()
    ]
