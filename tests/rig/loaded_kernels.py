"""Run as a script: how ``ftsf_plugins.cuda`` loads, holds, starts and unloads kernels. loaded_kernels.py KERNELS

Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
from gpu import Gpu

from ftsf_plugins import deploy
from ftsf_plugins.cuda import CudaError, Driver


def main(folder: str) -> None:
    gpu = Gpu("orin")
    # A compiler is asked before anything has run: there is no context.
    said = {"target": deploy.target_here(), "imported": [name for name in ("torch", "triton") if name in sys.modules]}
    gpu.make_context()
    entries = json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))["kernels"]
    entry = next(one for one in entries if one["shared_bytes"] > 48 * 1024)
    cubin, driver = Path(folder, entry["file"]).read_bytes(), Driver()
    first, second = (driver.kernel(cubin, entry["kernel"], entry["shared_bytes"]) for _ in range(2))
    said["shared"] = first is second
    said["loads"] = gpu.calls().count("cuModuleLoadData")
    scalars = [0] * len(entry["scalars"])
    threads = entry["threads"]
    launch = driver.prepare(first, (1, 1, 1), threads, entry["shared_bytes"], scalars, len(entry["inputs"]))
    address = gpu.put(np.zeros(1024, np.float32))
    launch.start([address] * len(entry["inputs"]), address, 0)
    try:
        launch.start([address] * (len(entry["inputs"]) - 1) + [address + 8], address, 0)
    except CudaError as error:
        said["misaligned"] = str(error)
    assert gpu.library.cudaDeviceSynchronize() == 0
    del first, second
    gc.collect()
    said["held by the launch"] = gpu.live().get("module", 0)
    del launch
    gc.collect()
    said["held by nobody"] = gpu.live().get("module", 0)
    print(json.dumps({**said, "complaints": gpu.complaints()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
