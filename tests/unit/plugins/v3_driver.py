"""Run as a script: the IPluginV3 of TensorRT 10.3, driven with NVIDIA's own bindings. v3_driver.py MODEL.onnx

TensorRT for RTX comes with libraries that load without a GPU, and its bindings of plugin classes, field collections,
registry and ONNX parser are those of TensorRT. It has no layer for plugins: its parser creates them and then ends the
process. So the parser comes last, and what it says is printed before. CUDA and the kernels are stand-ins.

Prints JSON objects, one a line: what the plugin answers and launches, then each plugin that the parser creates.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import tensorrt_rtx as trt

from ftsf_plugins import plugin_v3
from ftsf_plugins.fields import field
from ftsf_plugins.kernels import MachineCode
from ftsf_plugins.register import OPERATIONS

SHAPE: dict[str, Any] = {
    "frames": 8, "tokens": 197, "heads": 8, "width": 64, "along": "time", "axes": 1, "pairs": "neighbours",
}  # fmt: skip
ATTRIBUTES = {
    "FtsfAdditiveAttention": SHAPE,
    "FtsfFavorAttention": {**SHAPE, "features": 266, "eps": 1e-4, "feature": "softmax"},
    "FtsfRotaryAttention": SHAPE,
}
INPUTS = {
    "FtsfAdditiveAttention": ["HALF", *["FLOAT"] * 4],
    "FtsfFavorAttention": ["HALF", "HALF", "FLOAT", "FLOAT"],
    "FtsfRotaryAttention": ["HALF", "FLOAT", "FLOAT"],
}


class Cuda:
    """A driver that notes what it is asked for. What an address points to is read while it is there."""

    def __init__(self) -> None:
        self.loaded: list[Any] = []
        self.started: list[Any] = []

    def capability(self) -> int:
        return 87

    def kernel(self, cubin: bytes, name: str, shared_bytes: int) -> Any:
        if not self.loaded:
            self.loaded.append([cubin.decode(), name, shared_bytes])
        return self

    def prepare(self, _kernel: Any, grid: Any, threads: int, shared: int, scalars: list[int], inputs: int) -> Any:
        def start(addresses: list[int], out: int, stream: int) -> None:
            kinds = "p" * inputs + "i" * len(scalars) + "p"
            self.started.append([list(grid), threads, shared, stream, kinds, [*addresses, *scalars, out]])

        return SimpleNamespace(start=start)


def described(dtype: str, dims: tuple[int, ...] = ()) -> Any:
    """What the builder hands over, a DynamicPluginTensorDesc; with ``dims`` what the runtime hands over."""
    desc = trt.DynamicPluginTensorDesc()
    desc.desc.type, desc.desc.format = getattr(trt.DataType, dtype), trt.TensorFormat.LINEAR
    return desc if not dims else SimpleNamespace(dims=dims)


def combinations(plugin: Any, inputs: list[str]) -> dict[str, bool]:
    """Which element types are taken: those of the registration, with each tensor in turn made FP16, BF16, FP32."""
    found = {}
    for name, kinds in {"own": [*inputs, inputs[0]], "bf16": [k.replace("HALF", "BF16") for k in [*inputs, "HALF"]],
                        "fp32": ["FLOAT"] * (len(inputs) + 1), "mixed": [*inputs, "FLOAT"]}.items():  # fmt: skip
        tensors = [described(kind) for kind in kinds]
        found[name] = all(plugin.supports_format_combination(at, tensors, len(inputs)) for at in range(len(tensors)))
    return found


def driven(name: str) -> dict[str, Any]:
    """One plugin from a node's attributes through the builder, serialized, made again, and started."""
    operation, cuda, compiled = OPERATIONS[name], Cuda(), []

    def kernels(launch: Any, element: str, _stream: Any, target: int) -> MachineCode:
        compiled.append([launch.kernel, element, target])
        return MachineCode(launch.kernel, f"machine code of {element}".encode(), "", 32 * launch.warps, 50_000)

    creator = plugin_v3.creator_of(trt, operation, kernels, cuda)  # type: ignore[arg-type]  # a stand-in
    fields = [field(trt, key, operation.attributes[key], value) for key, value in ATTRIBUTES[name].items()]
    built = creator.create_plugin(
        "node", trt.PluginFieldCollection([one for one, _ in fields]), trt.TensorRTPhase.BUILD
    )
    inputs = INPUTS[name]
    answers: dict[str, Any] = {
        "operation": name,
        "declared": {one.name: one.type.name for one in creator.field_names},
        "combinations": combinations(built, inputs),
        "output_type": built.get_output_data_types([getattr(trt.DataType, kind) for kind in inputs])[0].name,
    }
    # Sizes in a network are expressions that only a builder makes: here they are numbers.
    trt.DimsExprs = lambda length: [None] * length
    clip, numbers = [3, 8 * 197, 1536], SimpleNamespace(constant=lambda value: value)
    answers["output_shape"] = built.get_output_shapes([clip], [], numbers)[0]
    built.configure_plugin([described(kind) for kind in inputs], [described("HALF")])
    clone = built.clone()
    held = clone.get_fields_to_serialize()
    runtime = creator.create_plugin("node", held, trt.TensorRTPhase.RUNTIME).attach_to_context(None)
    for batch in (1, 3):
        addresses = [1000 * (at + 1) for at in range(len(inputs))]
        clips = [described("HALF", (batch, 8 * 197, 1536))]
        runtime.on_shape_change(clips, [])
        runtime.enqueue(clips, [], addresses, [9000], 0, 42)
    answers.update(compiled=compiled, values={k: v for k, v in runtime.values.items() if k != "cubin"},
                   loaded=cuda.loaded, started=cuda.started)  # fmt: skip
    return answers


def parse(path: str) -> None:
    """Print what the parser hands to a registered creator for the file's first node, its function still there."""

    def noted(creator: Any) -> Any:
        original = creator.create_plugin

        def create(name: str, fields: Any, phase: Any) -> Any:
            made = original(name, fields, phase)
            print(json.dumps({"node": name, "phase": phase.name, "values": made.values}), flush=True)
            return made

        creator.create_plugin = create
        return creator

    registry = trt.get_plugin_registry()
    made = [noted(plugin_v3.creator_of(trt, one, None, None)) for one in OPERATIONS.values()]  # type: ignore[arg-type]
    print(json.dumps({"registered": [registry.register_creator(one, "ftsf") for one in made]}), flush=True)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    with open(path, "rb") as file:
        parser.parse(file.read())


if __name__ == "__main__":
    for operation in OPERATIONS:
        print(json.dumps(driven(operation)), flush=True)
    parse(sys.argv[1])
