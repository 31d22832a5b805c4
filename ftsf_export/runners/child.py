"""The child of ``runners.isolated``: makes one runner, and runs it for its parent until the parent closes the pipe."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsf_export.errors import FtsfError
from ftsf_export.runners.wire import receive, send


def serve() -> None:
    """Answers the parent on the pipe that was stdout, and gives stdout to whatever libraries print."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    calls = sys.stdin.buffer
    runner: Any = None
    while (message := receive(calls)) is not None:
        head, arrays = message
        try:
            if runner is None:
                runner = _runner(head)
                runner.activate()
                send(answers, {"inputs": _inputs(runner)})
            else:
                outputs = runner.infer(arrays)
                send(answers, {"seconds": runner.last_inference_time()}, outputs)
        except FtsfError as error:
            send(answers, {"error": type(error).__name__, "message": error.message, "details": error.details})
        except Exception:
            # Whatever a runtime raises has to reach the parent: nobody reads this process's traceback.
            send(answers, {"error": "", "message": _last_line(), "details": traceback.format_exc()})
    if runner is not None and runner.is_active:
        runner.deactivate()


def _runner(request: Mapping[str, Any]) -> Any:
    """The runner that the parent asks for. Backends are imported here: the first import binds the process to one."""
    path = Path(request["path"])
    if request["backend"] == "onnxruntime":
        from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

        return OnnxRuntimeRunner(path)
    from ftsf_export.runners.tensorrt import engine_runner

    return engine_runner(path, builder=request["backend"])


def _inputs(runner: Any) -> list[tuple[str, str, list[int | None]]]:
    """Name, NumPy type and shape of each input; a size that may vary is None."""
    inputs: list[tuple[str, str, list[int | None]]] = []
    for name, item in runner.get_input_metadata(use_numpy_dtypes=False).items():
        sizes = [size if isinstance(size, int) and size >= 0 else None for size in item.shape]
        inputs.append((name, item.dtype.name, sizes))
    return inputs


def _last_line() -> str:
    return traceback.format_exc().strip().splitlines()[-1]
