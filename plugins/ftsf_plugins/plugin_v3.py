"""The operations as ``IPluginV3`` in Python, for TensorRT 10.3 (JetPack 6), which has no quickly deployable plugins.

A kernel's machine code and the node's attributes are serialized into the engine. Where it runs, this package registers
the creators first; neither Triton nor torch is needed there.

Written against TensorRT 10.3's Python API (IPluginV3, IPluginV3OneCore, IPluginV3OneBuild, IPluginV3OneRuntime,
IPluginCreatorV3One). ``trt`` is the module: ``tensorrt``, or in tests ``tensorrt_rtx``, whose bindings of these
classes, registry and parser are NVIDIA's own.
"""

# The bases are known when the module is given.
# mypy: disable-error-code="misc"
# ruff: noqa: ARG002

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ftsf_plugins.cuda import Driver
from ftsf_plugins.deploy import NAMESPACE, element_of, types_of
from ftsf_plugins.kernels import MachineCode, compiled_kernel
from ftsf_plugins.launch import ElementType, Launch, scalar_values
from ftsf_plugins.operation import Operation
from ftsf_plugins.stream import Stream

VERSION = "1"
KernelSource = Callable[[Launch, ElementType, Stream, int], MachineCode]
# What the engine holds beside the node's attributes.
_MADE = {"element": str, "kernel": str, "cubin": bytes, "threads": int, "shared_bytes": int}


def register(
    trt: Any, operations: Sequence[Operation], *, kernels: KernelSource = compiled_kernel, driver: Driver | None = None
) -> list[Any]:
    """Enter creators into TensorRT's registry; the caller keeps what is returned as long as TensorRT is used.

    ``kernels``: where machine code comes from while an engine is built.
    """
    creators = [creator_of(trt, operation, kernels, driver) for operation in operations]
    for creator in creators:
        trt.get_plugin_registry().register_creator(creator, NAMESPACE)
    return creators


def creator_of(trt: Any, operation: Operation, kernels: KernelSource, driver: Driver | None) -> Any:
    """An IPluginCreatorV3One of ``operation``."""
    plugin_class = _plugin_class(trt, operation, kernels, driver)

    class Creator(trt.IPluginCreatorV3One):
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_namespace, self.plugin_version = operation.name, NAMESPACE, VERSION
            self.field_names = trt.PluginFieldCollection(
                [trt.PluginField(name, b"", _field_type(trt, kind)) for name, kind in operation.attributes.items()]
            )

        def create_plugin(self, name: str, fields: Any, phase: Any) -> Any:
            return plugin_class(read_fields(fields, {**operation.attributes, **_MADE}))

    return Creator()


def _plugin_class(trt: Any, operation: Operation, kernels: KernelSource, driver: Driver | None) -> Any:
    class KernelPlugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
        """One attention. ``values``: attributes of the node, and once it is configured the kernel."""

        def __init__(self, values: dict[str, Any]) -> None:
            for base in (trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
                base.__init__(self)
            self.plugin_name, self.plugin_namespace, self.plugin_version = operation.name, NAMESPACE, VERSION
            self.num_outputs = 1
            self.values = values
            self.function: ctypes.c_void_p | None = None
            # The arrays that fields point into.
            self.fields: list[Any] = []

        def get_capability_interface(self, kind: Any) -> Any:
            return self

        def clone(self) -> Any:
            return KernelPlugin(dict(self.values))

        def attach_to_context(self, context: Any) -> Any:
            return self.clone()

        # What the network and the builder ask.

        def get_output_data_types(self, types: list[Any]) -> list[Any]:
            return [types[0]]

        def get_output_shapes(self, inputs: list[Any], shape_inputs: list[Any], expressions: Any) -> list[Any]:
            shape = trt.DimsExprs(3)
            shape[0], shape[1] = inputs[0][0], inputs[0][1]
            shape[2] = expressions.constant(self.values["heads"] * self.values["width"])
            return [shape]

        def supports_format_combination(self, position: int, described: list[Any], num_inputs: int) -> bool:
            desc = described[position].desc
            if desc.format != trt.TensorFormat.LINEAR:
                return False
            name = "out" if position >= num_inputs else operation.inputs[position]
            if position == 0:
                return desc.type in [types_of(trt)[element] for element in operation.elements]
            wanted = described[0].desc.type if name in (*operation.like_stream, "out") else trt.DataType.FLOAT
            return bool(desc.type == wanted)

        def configure_plugin(self, inputs: list[Any], outputs: list[Any]) -> None:
            element = element_of(inputs[0].desc.type, trt, operation.elements)
            if self.values.get("element") == element:
                return
            launched = operation.launched(self.values, element)
            made = kernels(launched.launch, element, launched.stream, (driver or Driver()).capability())
            self.values |= {
                "element": element, "kernel": made.name, "cubin": made.cubin,
                "threads": made.threads, "shared_bytes": made.shared_bytes,
            }  # fmt: skip
            self.function = None

        # What the runtime asks.

        def get_fields_to_serialize(self) -> Any:
            kinds = {**operation.attributes, **_MADE}
            self.fields = [_field(trt, name, kinds[name], self.values[name]) for name in kinds]
            return trt.PluginFieldCollection([field for field, _ in self.fields])

        def on_shape_change(self, inputs: list[Any], outputs: list[Any]) -> None:
            # Comes before a launch, which may be captured into a CUDA graph: loading may not.
            values = self.values
            if self.function is None:
                load = (driver or Driver()).function
                self.function = load(values["cubin"], values["kernel"], values["shared_bytes"])

        def set_tactic(self, tactic: int) -> None:
            return None

        def enqueue(
            self, input_desc: list[Any], output_desc: list[Any], inputs: list[int], outputs: list[int],
            workspace: int, stream: int,
        ) -> None:  # fmt: skip
            values, cuda = self.values, driver or Driver()
            assert self.function is not None
            launched = operation.launched(values, values["element"])
            batch = int(input_desc[0].dims[0])
            arguments: list[ctypes.c_void_p | ctypes.c_int32] = [ctypes.c_void_p(address) for address in inputs]
            scalars = scalar_values(launched.launch, launched.stream, batch, launched.features)
            arguments += [ctypes.c_int32(value) for value in scalars.values()]
            arguments.append(ctypes.c_void_p(outputs[0]))
            grid = launched.launch.grid(launched.stream, batch)
            cuda.start(self.function, grid, values["threads"], values["shared_bytes"], stream, arguments)

    return KernelPlugin


def _field_type(trt: Any, kind: type) -> Any:
    kinds = trt.PluginFieldType
    return {int: kinds.INT32, float: kinds.FLOAT32, str: kinds.CHAR, bytes: kinds.INT8}[kind]


def _field(trt: Any, name: str, kind: type, value: Any) -> tuple[Any, Any]:
    """A field, and the array that it points into."""
    if kind in (str, bytes):
        array: Any = np.frombuffer(value.encode() if kind is str else value, dtype=np.int8)
    else:
        array = np.array([value], dtype=np.int32 if kind is int else np.float32)
    return trt.PluginField(name, array, _field_type(trt, kind)), array


def read_fields(fields: Any, kinds: dict[str, type]) -> dict[str, Any]:
    """Values of a field collection by name: the parser's attributes, or what an engine holds."""
    found: dict[str, Any] = {}
    for field in fields:
        kind = kinds.get(field.name)
        if kind is str:
            # The parser counts the end of a C string in.
            found[field.name] = np.asarray(field.data).tobytes().rstrip(b"\0").decode()
        elif kind is bytes:
            found[field.name] = np.asarray(field.data).tobytes()
        elif kind is not None:
            found[field.name] = kind(np.asarray(field.data).reshape(-1)[0])
    return found
