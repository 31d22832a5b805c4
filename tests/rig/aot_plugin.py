"""Run as a script: a quickly deployable plugin from a node's attributes to its result, on the GPU that is not one.

aot_plugin.py OPERATION ALONG KERNELS. NVIDIA's bindings and its Python code of the plugins are real: its creator makes
the plugin from fields as the ONNX parser makes them. What the plugin answers for the engine, PTX and launch parameters,
is loaded and started; kernels come from the folder KERNELS and run in Triton's interpreter. Prints one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes import c_char_p, c_int32, c_void_p
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorrt as trt
import tensorrt.plugin._lib as nvidia
import tensorrt_half as half
from attention import attention
from gpu import Gpu, Interpreter

from ftsf_plugins import deploy
from ftsf_plugins.register import register

# IPluginV3QuickBuild: after the output types.
OUTPUT_SHAPES = 5
# ISymExpr, which has no destructor of its own.
GET_EXPR = 2


class Scalars(dict[int, Any]):
    """An ISymExprs: numbered expressions."""

    nbSymExprs = 0  # noqa: N815 - NVIDIA's name


def created(creator: int, name: str, attributes: dict[str, Any]) -> tuple[int, Any]:
    """The plugin as C++ and as Python see it, made by NVIDIA's creator when the parser calls it."""
    made: list[Any] = []
    original = nvidia._TemplatePluginCreator.create_plugin

    def noted(*arguments: Any) -> Any:
        made.append(original(*arguments))
        return made[-1]

    nvidia._TemplatePluginCreator.create_plugin = noted
    fields, kept = half.fields_of(attributes)
    plugin = half.call(
        creator, half.CREATE_PLUGIN, c_void_p, (c_char_p, name.encode()), (c_char_p, b"ftsf"),
        (c_void_p, ctypes.addressof(fields)), (c_int32, half.PHASE_BUILD),
        (c_int32, int(trt.QuickPluginCreationRequest.STRICT_AOT)),
    )  # fmt: skip
    assert kept
    return plugin, made[0]


def number(numbers: half.Numbers, expression: Any) -> int:
    """The size that an ISymExpr stands for: behind a Python object of pybind11 the address of the C++ object comes
    first."""
    instance = c_void_p.from_address(id(expression) + object.__basicsize__).value or 0
    return numbers.values[half.call(instance, GET_EXPR, c_void_p)]


def answered(plugin: int, python: Any, shapes: list[tuple[int, ...]], dtypes: list[Any]) -> dict[str, Any]:
    """Launch parameters, kernel and shapes, asked with NVIDIA's own symbolic sizes."""
    numbers, found = half.Numbers(), {}
    inputs, outputs = (half.DimsExprs * len(shapes))(*map(numbers.shape, shapes)), (half.DimsExprs * 1)()
    build = half.call(plugin, half.CAPABILITY, c_void_p, (c_int32, half.BUILD))
    shape_of = python.get_output_shapes

    def also_launch(dimensions: Any, shape_inputs: Any, builder: Any) -> Any:
        out = shape_of(dimensions, shape_inputs, builder)
        python.set_tactic(0)
        launch, scalars = SimpleNamespace(), Scalars()
        described = []
        for shape, dtype in zip([*shapes, shapes[0]], [*dtypes, dtypes[0]], strict=True):
            one = trt.DynamicPluginTensorDesc()
            one.desc.type, one.desc.format, one.desc.dims = dtype, trt.TensorFormat.LINEAR, trt.Dims(shape)
            described.append(one)
        python.get_launch_params(list(dimensions), described, len(shapes), launch, scalars, builder)
        found["launch"] = {key: number(numbers, value) for key, value in vars(launch).items()}
        found["scalars"] = [number(numbers, scalars[at]) for at in range(scalars.nbSymExprs)]
        found["kernel"], found["ptx"] = python.get_kernel(
            [one.desc for one in described[:-1]], [described[-1].desc]
        )  # fmt: skip
        return out

    python.get_output_shapes = also_launch
    found["types"] = python.get_output_data_types(dtypes, [len(shape) for shape in shapes])
    status = half.call(
        build, OUTPUT_SHAPES, c_int32, (c_void_p, ctypes.addressof(inputs)), (c_int32, len(shapes)), (c_void_p, None),
        (c_int32, 0), (c_void_p, ctypes.addressof(outputs)), (c_int32, 1), (c_void_p, numbers.builder.address),
    )  # fmt: skip
    assert status == 0
    return {**found, "shape": numbers.sizes(outputs[0])}


def started(gpu: Gpu, answers: dict[str, Any], inputs: list[int], out: int) -> list[int]:
    """What the engine does with it: the statuses of loading, looking up, starting and waiting."""
    module, function, cuda = c_void_p(), c_void_p(), gpu.library
    values = [*map(c_void_p, inputs), *map(c_int32, answers["scalars"]), c_void_p(out)]
    pointers = (c_void_p * len(values))(*map(ctypes.addressof, values))
    launch = answers["launch"]
    shape = [launch[f"{part}_{axis}"] for part in ("grid", "block") for axis in "xyz"]
    return [
        cuda.cuModuleLoadData(ctypes.byref(module), answers["ptx"]),
        cuda.cuModuleGetFunction(ctypes.byref(function), module, answers["kernel"].encode()),
        cuda.cuLaunchKernel(function, *shape, launch["shared_mem"], None, pointers, None),
        cuda.cudaDeviceSynchronize(),
    ]


def main(name: str, along: str, folder: str) -> None:
    gpu = Gpu("orin")
    manifest = json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))
    interpreter = Interpreter(gpu, {one["ptx_sha256"]: one for one in manifest["kernels"]})
    library = ctypes.CDLL(f"libnvinfer.so.{trt.__version__.partition('.')[0]}")
    registry = half.Registry(library, tuple(int(part) for part in trt.__version__.split(".")[:2]))
    target = deploy.target_here()
    assert register(trt, [name], Path(folder)) == "aot"
    case = attention(name, along, 2)
    inputs = case.encoded()
    types = {np.dtype(np.float16): trt.DataType.HALF, np.dtype(np.float32): trt.DataType.FLOAT}
    plugin, python = created(registry.creators[-1], name, dict(case.attributes))
    answers = answered(plugin, python, [one.shape for one in inputs], [types[one.dtype] for one in inputs])
    triton = "triton" in sys.modules
    gpu.make_context()
    addresses = [gpu.put(one) for one in inputs]
    out = gpu.put(np.full(case.out_shape, np.nan, np.float16))
    statuses = started(gpu, answers, addresses, out)
    said = {
        "target": target,
        "triton": triton,
        "shape": answers["shape"],
        "types": [str(one) for one in answers["types"]],
        "words": {name: value for name, value in python.attrs.items() if isinstance(value, str)},
        "statuses": statuses,
        "worst": case.worst(gpu.get(out, case.out_shape, np.float16)),
        "launches": interpreter.launches,
        "complaints": gpu.complaints(),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
