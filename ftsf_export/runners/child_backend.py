"""The child's side of ``runners.child_runner``: the first request opens a file, each further one runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell


class ChildBackend:
    """One runner, of the backend and the file that the first request names; answered with the runner's inputs, and
    with which kernels an engine runs.

    A further request holds the arrays to run on; its answer the outputs, and the seconds that the run took.
    """

    def __init__(self) -> None:
        self._runner: Any = None

    def __call__(self, request: Message, _tell: Tell) -> Message:
        if self._runner is None:
            runner = _runner(Path(request.value["path"]), request.value["backend"])
            runner.activate()
            self._runner = runner
            return Message({"inputs": _inputs(runner), "kernels": getattr(runner, "kernels", "")})
        outputs = self._runner.infer(request.arrays)
        return Message(self._runner.last_inference_time(), outputs)


def _runner(path: Path, backend: str) -> Any:
    """Backends are imported here: the first import binds the process to one."""
    if backend == "onnxruntime":
        from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

        return OnnxRuntimeRunner(path)
    from ftsf_export.runners.tensorrt import engine_runner

    return engine_runner(path, builder=backend)


def _inputs(runner: Any) -> list[tuple[str, str, list[int | None]]]:
    """Name, NumPy type and shape of each input; a size that may vary is None."""
    return [
        (name, item.dtype.name, [size if isinstance(size, int) and size >= 0 else None for size in item.shape])
        for name, item in runner.get_input_metadata(use_numpy_dtypes=False).items()
    ]
