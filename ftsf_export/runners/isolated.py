"""A runner in a process of its own, driven like any other.

Two reasons: one process can be bound to one TensorRT only (``runners.flavour``), and a runtime that aborts takes its
process with it. The child (``runners.child``) reads calls from stdin and answers on what was its stdout; whatever its
libraries print goes to stderr, which is kept for the error.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from ftsf_export.errors import EnvironmentLacks, FtsfError, RunError
from ftsf_export.runners.wire import receive, send

Array = NDArray[Any]
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ftsf_export.runners.child import serve; serve()"
_SHOWN_BYTES = 8192


class IsolatedRunner(BaseRunner):  # type: ignore[misc]
    """Runs ``path`` with ``backend`` ("tensorrt", "rtx" or "onnxruntime") in a child process.

    Raises what the backend raises there, with its message and details; RunError when the child dies, with the end of
    what it printed.
    """

    def __init__(self, path: Path, *, backend: str, name: str = "") -> None:
        super().__init__(name=name or f"{backend}:{path.name}")
        self._path = path
        self._backend = backend
        self._child: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None
        self._metadata: Any = None

    def activate_impl(self) -> None:
        # The child must find the same packages as we do, wherever it starts.
        command = [sys.executable, "-c", _START, json.dumps([str(Path(part).resolve()) for part in sys.path])]
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._printed)
        try:
            head, _ = self._asked({"backend": self._backend, "path": str(self._path.resolve())}, {})
        except BaseException:
            # Also on Ctrl-C: no child is left behind.
            self._stop()
            raise
        self._metadata = TensorMetadata()
        for name, dtype, shape in head["inputs"]:
            self._metadata.add(name, np.dtype(dtype), shape)

    def get_input_metadata_impl(self) -> Any:
        return self._metadata

    def infer_impl(self, feed_dict: Mapping[str, Array]) -> OrderedDict[str, Array]:
        head, outputs = self._asked({}, feed_dict)
        self.inference_time = head["seconds"]
        return outputs

    def deactivate_impl(self) -> None:
        self._stop()

    def _asked(
        self, head: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> tuple[dict[str, Any], OrderedDict[str, Array]]:
        """Sends one call and gives its answer, or raises the error in it."""
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise RunError(f"{self.name}: the runner is not active")
        try:
            send(child.stdin, head, arrays)
            answer = receive(child.stdout)
        except (OSError, EOFError):
            answer = None
        if answer is None:
            raise RunError(
                f"{self._path.name}: the process that ran it with {self._backend} died ({_how(child.wait())})",
                details=self._printed_tail(),
            )
        if "error" in answer[0]:
            raise self._error(answer[0])
        return answer

    def _error(self, head: Mapping[str, str]) -> FtsfError:
        kind = {cls.__name__: cls for cls in (EnvironmentLacks, RunError)}.get(head["error"], RunError)
        said = head["message"] if head["error"] else f"{self._path.name}: {self._backend} failed: {head['message']}"
        return kind(said, details="\n".join(filter(None, [head["details"], self._printed_tail()])))

    def _printed_tail(self) -> str:
        if self._printed is None:
            return ""
        size = self._printed.seek(0, 2)
        self._printed.seek(max(0, size - _SHOWN_BYTES))
        return self._printed.read().decode(errors="replace").strip()

    def _stop(self) -> None:
        if self._child is not None:
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        continue  # the child is gone: nothing is left to flush to
            self._child.wait()
        if self._printed is not None:
            self._printed.close()
        self._child = self._printed = self._metadata = None


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
