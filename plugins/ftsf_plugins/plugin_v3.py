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

from collections.abc import Sequence
from typing import Any

from ftsf_plugins.cuda import Driver, PreparedLaunch, driver
from ftsf_plugins.deploy import NAMESPACE, element_of, types_of
from ftsf_plugins.fields import field, field_type, read_fields
from ftsf_plugins.kernels import KernelSource, compiled_kernel
from ftsf_plugins.launch import scalar_values
from ftsf_plugins.operation import Operation

VERSION = "1"
# What the engine holds beside the node's attributes.
_MADE = {"element": str, "kernel": str, "cubin": bytes, "threads": int, "shared_bytes": int}


def register(
    trt: Any, operations: Sequence[Operation], *, kernels: KernelSource = compiled_kernel, cuda: Driver | None = None
) -> list[Any]:
    """Enter creators into TensorRT's registry; the caller keeps what is returned as long as TensorRT is used.

    ``kernels``: where machine code comes from while an engine is built; ``cuda``: the machine's driver where none is
    given.
    """
    creators = [creator_of(trt, operation, kernels, cuda) for operation in operations]
    for creator in creators:
        trt.get_plugin_registry().register_creator(creator, NAMESPACE)
    return creators


def creator_of(trt: Any, operation: Operation, kernels: KernelSource, cuda: Driver | None) -> Any:
    """An IPluginCreatorV3One of ``operation``."""
    plugin_class = _plugin_class(trt, operation, kernels, cuda)

    class Creator(trt.IPluginCreatorV3One):
        def __init__(self) -> None:
            trt.IPluginCreatorV3One.__init__(self)
            self.name, self.plugin_namespace, self.plugin_version = operation.name, NAMESPACE, VERSION
            self.field_names = trt.PluginFieldCollection(
                [trt.PluginField(name, b"", field_type(trt, kind)) for name, kind in operation.attributes.items()]
            )

        def create_plugin(self, name: str, fields: Any, phase: Any) -> Any:
            return plugin_class(read_fields(trt, fields, {**operation.attributes, **_MADE}))

    return Creator()


def _plugin_class(trt: Any, operation: Operation, kernels: KernelSource, cuda: Driver | None) -> Any:
    class KernelPlugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
        """One attention. ``values``: attributes of the node, and once it is configured the kernel."""

        def __init__(self, values: dict[str, Any]) -> None:
            for base in (trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
                base.__init__(self)
            self.plugin_name, self.plugin_namespace, self.plugin_version = operation.name, NAMESPACE, VERSION
            self.num_outputs = 1
            self.values = values
            self.launch: PreparedLaunch | None = None
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
            made = kernels(launched.launch, element, launched.stream, (cuda or driver()).capability())
            self.values |= {
                "element": element, "kernel": made.name, "cubin": made.cubin,
                "threads": made.threads, "shared_bytes": made.shared_bytes,
            }  # fmt: skip

        # What the runtime asks.

        def get_fields_to_serialize(self) -> Any:
            kinds = {**operation.attributes, **_MADE}
            self.fields = [field(trt, name, kinds[name], self.values[name]) for name in kinds]
            return trt.PluginFieldCollection([one for one, _ in self.fields])

        def on_shape_change(self, inputs: list[Any], outputs: list[Any]) -> None:
            # Comes before a launch, which may be captured into a CUDA graph: loading may not.
            values, gpu = self.values, cuda or driver()
            launched = operation.launched(values, values["element"])
            launch, batch = launched.launch, int(inputs[0].dims[0])
            kernel = gpu.kernel(values["cubin"], values["kernel"], values["shared_bytes"])
            scalars = scalar_values(launch, launched.stream, batch, launched.features)
            self.launch = gpu.prepare(
                kernel, launch.grid(launched.stream, batch), values["threads"], values["shared_bytes"],
                list(scalars.values()), len(operation.inputs),
            )  # fmt: skip

        def set_tactic(self, tactic: int) -> None:
            return None

        def enqueue(
            self, input_desc: list[Any], output_desc: list[Any], inputs: list[int], outputs: list[int],
            workspace: int, stream: int,
        ) -> None:  # fmt: skip
            # Called for each attention of each clip: all but the addresses was prepared.
            assert self.launch is not None
            self.launch.start(inputs, outputs[0], stream)

    return KernelPlugin
