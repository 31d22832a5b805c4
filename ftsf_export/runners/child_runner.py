"""A runner in a process of its own, driven like any other; ``runners.child_backend`` is the other side.

Two reasons: one process can be bound to one TensorRT only (``runners.flavour``), and a runtime that aborts takes its
process with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from ftsf_export.errors import RunError
from ftsf_export.process.parent import Child, Ending
from ftsf_export.process.quota import OVER_QUOTA, Quota

Array = NDArray[Any]


class ChildRunner(BaseRunner):  # type: ignore[misc]
    """Runs a file in a child process.

    Args:
        path: an engine or an ONNX file.
        backend: "tensorrt", "rtx" or "onnxruntime".
        quota: what opening the file, and each call, may take; None: what the machine has.
        options: further arguments of the backend's own runner.

    Raises what the backend raises there, with its message and details; RunError when the child dies, with the end of
    what it printed, or when it took more than its quota.
    """

    def __init__(
        self, path: Path, *, backend: str, quota: Quota | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(name=f"{backend}:{path.name}")
        self._quota = quota
        self._options = dict(options or {})
        self._path = path
        self._backend = backend
        self._child: Child | None = None
        self._metadata: Any = None
        self.kernels = ""  #: Which kernels an engine was run with, known once it was activated.

    def activate_impl(self) -> None:
        self._child = Child("ftsf_export.runners.child_backend:ChildBackend", failed=self._failed)
        try:
            self._child.call({"backend": self._backend})
            opened = self._child.call({"path": str(self._path.resolve()), "options": self._options}, quota=self._quota)
        except BaseException:
            # Also on Ctrl-C: Polygraphy deactivates only what was activated.
            self.deactivate_impl()
            raise
        self._metadata = TensorMetadata()
        self.kernels = opened.value["kernels"]
        for name, dtype, shape in opened.value["inputs"]:
            self._metadata.add(name, np.dtype(dtype), shape)

    def get_input_metadata_impl(self) -> Any:
        return self._metadata

    def infer_impl(self, feed_dict: Mapping[str, Array]) -> OrderedDict[str, Array]:
        if self._child is None:
            raise RunError(f"{self.name}: the runner is not active")
        answer = self._child.call(arrays=feed_dict, quota=self._quota)
        self.inference_time = answer.value
        return OrderedDict(answer.arrays)

    def deactivate_impl(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = self._metadata = None

    def _failed(self, ending: Ending) -> RunError:
        said = OVER_QUOTA if ending.over_quota else ending.said
        return RunError(f"{self._path.name}: {self._backend} {ending.how}: {said}", details=ending.details)
