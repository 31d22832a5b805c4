"""Run as a script: the loop that times an engine, over a CUDA runtime that checks every argument. bench_loop.py GRAPH

The engine is a stand-in whose run copies its input to its output on the GPU that is not one. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from ctypes import c_int, c_size_t, c_void_p
from types import SimpleNamespace
from typing import Any

import numpy as np
from gpu import Gpu

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.device_loop import DeviceLoop

CLIP = np.arange(6, dtype=np.float32).reshape(2, 3)


class Engine:
    """ICudaEngine and its execution context: ``logits`` is ``clip``."""

    num_io_tensors = 2

    def __init__(self, library: Any) -> None:
        self.library = library
        self.addresses: dict[str, int] = {}

    def get_tensor_name(self, index: int) -> str:
        return ("clip", "logits")[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name="INPUT" if name == "clip" else "OUTPUT")

    def get_tensor_dtype(self, _: str) -> Any:
        return SimpleNamespace(name="FLOAT")

    def create_execution_context(self) -> Engine:
        return self

    def set_input_shape(self, *_: Any) -> bool:
        return True

    def get_tensor_shape(self, _: str) -> tuple[int, ...]:
        return CLIP.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        target, source = (c_void_p(self.addresses[name]) for name in ("logits", "clip"))
        return self.library.cudaMemcpyAsync(target, source, c_size_t(CLIP.nbytes), c_int(3), c_void_p(stream)) == 0


def main(graph: str) -> None:
    gpu = Gpu("h100")
    cuda = Cuda.load()
    results = []
    with DeviceLoop(Engine(gpu.library), {"clip": CLIP}, graph=graph == "graph", cuda=cuda) as loop:
        for _ in range(2):
            loop()
            results.append(loop.outputs()["logits"].tolist())
        how = loop.graph_how
    print(json.dumps({"results": results, "how": how, "live": gpu.live(), "complaints": gpu.complaints(),
                      "calls": sorted(set(gpu.calls()))}))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
