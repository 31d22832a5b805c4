"""Python starts with this where the folder is in its path: the process then has the GPU that is not one.

RIG_DEVICE names it, RIG_KERNELS a folder of ``scripts/build-plugins`` whose kernels run in Triton's interpreter, and
RIG_COMPLAINTS a file that takes what the GPU complained of in any process.
"""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

from gpu import Gpu, Interpreter

_gpu = Gpu(os.environ["RIG_DEVICE"])
_entries = json.loads(Path(os.environ["RIG_KERNELS"], "manifest.json").read_text(encoding="utf-8"))["kernels"]
_interpreter = Interpreter(_gpu, {one[kind]: one for one in _entries for kind in ("sha256", "ptx_sha256")})


@atexit.register
def _complain() -> None:
    failed = [one["error"] for one in _interpreter.launches if "error" in one]
    with open(os.environ["RIG_COMPLAINTS"], "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in (*_gpu.complaints(), *failed))
