"""Run as a script: an engine on a driver that TensorRT does not start with: ``createInferRuntime`` gives NULL.

NVIDIA's bindings are real. Prints one JSON object: the kind of the error, its message, its exit code.
"""

from __future__ import annotations

import ctypes
import json
import tempfile
from pathlib import Path

import tensorrt as trt
from gpu import Gpu
from tensorrt_half import Registry

from ftsf_export.errors import FtsfError
from ftsf_export.runners.tensorrt import load_engine


def main() -> None:
    Gpu("a100")
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    registry = Registry(ctypes.CDLL(f"libnvinfer.so.{version[0]}"), version)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tensorrt-a100-fp16.engine")
        path.write_bytes(b"plan")
        try:
            load_engine(path, "tensorrt")
        except FtsfError as error:
            assert registry.address
            print(json.dumps([type(error).__name__, error.message, error.exit_code]))


if __name__ == "__main__":
    main()
