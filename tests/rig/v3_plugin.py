"""Run as a script: a plugin of TensorRT 10.3 from a node's attributes to its result, on the GPU that is not one.

v3_plugin.py OPERATION ALONG KERNELS. NVIDIA's bindings are real; the parser, the builder and the runtime that call them
are ``tensorrt_half``; kernels come from the folder KERNELS and run in Triton's interpreter. Prints one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes import POINTER, c_bool, c_char_p, c_int32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
import tensorrt_half as half
from attention import attention
from gpu import Gpu, Interpreter

from ftsf_plugins.register import register

INPUT_TYPES = {
    "FtsfAdditiveAttention": [half.HALF, *[half.FLOAT] * 4],
    "FtsfFavorAttention": [half.HALF, half.HALF, half.FLOAT, half.FLOAT],
    "FtsfRotaryAttention": [half.HALF, half.FLOAT, half.FLOAT],
}


class Builder:
    """What the parser and the builder ask of a plugin, through its C++ functions."""

    def __init__(self, creator: int, attributes: dict[str, Any]) -> None:
        self.fields, self._kept = half.fields_of(attributes)
        arguments = (c_char_p, b"node"), (c_void_p, ctypes.addressof(self.fields)), (c_int32, half.PHASE_BUILD)
        self.plugin = half.call(creator, half.CREATE_PLUGIN, c_void_p, *arguments)
        self.build = half.call(self.plugin, half.CAPABILITY, c_void_p, (c_int32, half.BUILD))

    def supports(self, shapes: list[tuple[int, ...]], types: list[int]) -> bool:
        described = (half.DynamicDesc * len(types))(*map(half.dynamic, shapes, types))
        return all(
            half.call(self.build, half.SUPPORTS, c_bool, (c_int32, at), (c_void_p, ctypes.addressof(described)),
                      (c_int32, len(types) - 1), (c_int32, 1))
            for at in range(len(types))
        )  # fmt: skip

    def output_shape(self, shapes: list[tuple[int, ...]]) -> list[int]:
        numbers = half.Numbers()
        inputs, outputs = (half.DimsExprs * len(shapes))(*map(numbers.shape, shapes)), (half.DimsExprs * 1)()
        status = half.call(
            self.build, half.OUTPUT_SHAPES, c_int32,
            (c_void_p, ctypes.addressof(inputs)), (c_int32, len(shapes)), (c_void_p, None), (c_int32, 0),
            (c_void_p, ctypes.addressof(outputs)), (c_int32, 1), (c_void_p, numbers.builder.address),
        )  # fmt: skip
        assert status == 0
        return numbers.sizes(outputs[0])

    def configure(self, shapes: list[tuple[int, ...]], types: list[int]) -> int:
        described = (half.DynamicDesc * len(types))(*map(half.dynamic, shapes, types))
        last = ctypes.addressof(described[len(types) - 1])
        arguments = (c_void_p, ctypes.addressof(described)), (c_int32, len(types) - 1), (c_void_p, last), (c_int32, 1)
        return half.call(self.build, half.CONFIGURE, c_int32, *arguments)

    def serialized(self) -> list[tuple[bytes, int, bytes]]:
        """What an engine keeps: name, type and bytes of each field, all of them copied."""
        runtime = half.call(self.plugin, half.CAPABILITY, c_void_p, (c_int32, half.RUNTIME))
        held = ctypes.cast(half.call(runtime, half.SERIALIZED, c_void_p), POINTER(half.Fields)).contents
        width = {half.INT32: 4, half.FLOAT32: 4}
        return [
            (one.name, one.type, ctypes.string_at(one.data, one.length * width.get(one.type, 1)))
            for one in held.fields[: held.count]
        ]


class Runtime:
    """What the runtime asks of a plugin that comes out of an engine."""

    def __init__(self, creator: int, engine: list[tuple[bytes, int, bytes]]) -> None:
        listed = (half.Field * len(engine))()
        self._kept: list[Any] = [listed]
        for field, (name, kind, content) in zip(listed, engine, strict=True):
            data = ctypes.create_string_buffer(content, len(content))
            self._kept.append(data)
            size = len(content) // 4 if kind in (half.INT32, half.FLOAT32) else len(content)
            field.name, field.data, field.type, field.length = name, ctypes.addressof(data), kind, size
        fields = half.Fields(len(engine), listed)
        arguments = (c_char_p, b"node"), (c_void_p, ctypes.addressof(fields)), (c_int32, half.PHASE_RUNTIME)
        loaded = half.call(creator, half.CREATE_PLUGIN, c_void_p, *arguments)
        runtime = half.call(loaded, half.CAPABILITY, c_void_p, (c_int32, half.RUNTIME))
        self.plugin = half.call(runtime, half.ATTACH, c_void_p, (c_void_p, None))
        self.runtime = half.call(self.plugin, half.CAPABILITY, c_void_p, (c_int32, half.RUNTIME))

    def shape(self, shapes: list[tuple[int, ...]], types: list[int]) -> int:
        self.described = (half.TensorDesc * len(types))(*map(half.tensor, shapes, types))
        self.outputs = ctypes.addressof(self.described[len(types) - 1])
        return half.call(
            self.runtime, half.ON_SHAPE_CHANGE, c_int32, (c_void_p, ctypes.addressof(self.described)),
            (c_int32, len(types) - 1), (c_void_p, self.outputs), (c_int32, 1),
        )  # fmt: skip

    def enqueue(self, inputs: list[int], output: int, stream: int) -> int:
        addresses, written = (c_void_p * len(inputs))(*inputs), (c_void_p * 1)(output)
        return half.call(
            self.runtime, half.ENQUEUE, c_int32, (c_void_p, ctypes.addressof(self.described)), (c_void_p, self.outputs),
            (c_void_p, ctypes.addressof(addresses)), (c_void_p, ctypes.addressof(written)), (c_void_p, None),
            (c_void_p, stream),
        )  # fmt: skip


def main(name: str, along: str, folder: str) -> None:
    gpu = Gpu("orin")
    gpu.make_context()
    manifest = json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))
    interpreter = Interpreter(gpu, {one["sha256"]: one for one in manifest["kernels"]})
    library = ctypes.CDLL(f"libnvinfer.so.{trt.__version__.partition('.')[0]}")
    registry = half.Registry(library, tuple(int(part) for part in trt.__version__.split(".")[:2]))
    assert register(trt, [name], Path(folder)) == "v3"
    (creator,) = registry.creators
    case, types = attention(name, along, 1), INPUT_TYPES[name]
    builder = Builder(creator, dict(case.attributes))
    shapes = [array.shape for array in case.encoded()]
    out = case.out_shape
    said: dict[str, Any] = {
        "supported": builder.supports([*shapes, out], [*types, types[0]]),
        "output_shape": builder.output_shape(shapes),
        "configured": builder.configure([*shapes, out], [*types, types[0]]),
        "triton": "triton" in sys.modules,
    }
    if said["configured"] != 0:
        sys.exit("the plugin cannot be configured")
    runtime = Runtime(creator, registry.inside(trt, builder.serialized))
    stream = c_void_p()
    gpu.library.cudaStreamCreate(ctypes.byref(stream))
    said["worst"], said["enqueue_calls"] = [], []
    for batch in (1, 2):
        case = attention(name, along, batch)
        inputs = case.encoded()
        addresses = [gpu.put(array) for array in inputs]
        target = gpu.put(np.full(case.out_shape, np.nan, np.float16))
        shapes = [array.shape for array in inputs]
        assert runtime.shape([*shapes, case.out_shape], [*types, types[0]]) == 0
        before = len(gpu.calls())
        assert runtime.enqueue(addresses, target, stream.value or 0) == 0
        said["enqueue_calls"].append(gpu.calls()[before:])
        assert gpu.library.cudaStreamSynchronize(stream) == 0, (gpu.complaints(), interpreter.launches)
        got = gpu.get(target, case.out_shape, np.float16)
        said["worst"].append(case.worst(got))
    # A third time, as a CUDA graph of the same shapes and addresses.
    graph, executable = c_void_p(), c_void_p()
    assert gpu.library.cudaStreamBeginCapture(stream, 1) == 0
    assert runtime.enqueue(addresses, target, stream.value or 0) == 0
    assert gpu.library.cudaStreamEndCapture(stream, ctypes.byref(graph)) == 0
    assert gpu.library.cudaGraphInstantiateWithFlags(ctypes.byref(executable), graph, ctypes.c_ulonglong(0)) == 0
    emptied = np.full(case.out_shape, np.nan, np.float16)
    gpu.library.cudaMemcpy(c_void_p(target), c_void_p(emptied.ctypes.data), ctypes.c_size_t(emptied.nbytes), 1)
    assert gpu.library.cudaGraphLaunch(executable, stream) == 0
    assert gpu.library.cudaStreamSynchronize(stream) == 0, gpu.complaints()
    got = gpu.get(target, case.out_shape, np.float16)
    said["worst"].append(case.worst(got))
    said["modules"] = gpu.live().get("module", 0)
    said["loads"] = gpu.calls().count("cuModuleLoadData")
    print(json.dumps({**said, "launches": interpreter.launches, "complaints": gpu.complaints()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
