"""Run as a script: ``IPluginV3.enqueue`` on the GPU, without TensorRT. enqueue_driver.py OPERATION ALONG

The plugin's bases are empty classes; its kernel is compiled, loaded and started as in an engine, on addresses of torch
tensors. Prints one JSON object: relative L2 error of the worst head against the float64 reference, and latency.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import torch
import triton

from ftsf_plugins import plugin_v3
from ftsf_plugins.example import example, node_attributes
from ftsf_plugins.fields import field
from ftsf_plugins.kernels import compiled_kernel
from ftsf_plugins.register import OPERATIONS

BATCH = 4
BASES = ("IPluginV3", "IPluginV3OneCore", "IPluginV3OneBuild", "IPluginV3OneRuntime")


class TensorRT(SimpleNamespace):
    """What ``plugin_v3`` asks of the module where no engine is built."""

    def __init__(self) -> None:
        super().__init__(DataType=SimpleNamespace(HALF="half", BF16="bf16", FLOAT="float"))
        self.IPluginCreatorV3One = type("IPluginCreatorV3One", (), {})
        for name in BASES:
            setattr(self, name, type(name, (), {}))
        self.PluginFieldType = SimpleNamespace(INT32=0, FLOAT32=1, CHAR=2, INT8=3)
        self.PluginField = lambda name, data, kind: SimpleNamespace(name=name, data=data, type=kind)
        self.PluginFieldCollection = list


def main(name: str, along: str) -> None:
    operation, trt = OPERATIONS[name], TensorRT()
    case = example(operation, node_attributes(operation, along), "fp16", BATCH)  # type: ignore[arg-type]
    inputs = [torch.tensor(array).cuda() for array in case.encoded()]
    out = torch.full(case.out_shape, float("nan"), dtype=torch.float16, device="cuda")

    creator = plugin_v3.creator_of(trt, operation, compiled_kernel, None)
    fields = [field(trt, key, operation.attributes[key], value)[0] for key, value in case.attributes.items()]
    plugin = creator.create_plugin("node", fields, "BUILD")
    plugin.configure_plugin([SimpleNamespace(desc=SimpleNamespace(type="half"))], [])
    runtime = creator.create_plugin("node", plugin.get_fields_to_serialize(), "RUNTIME").attach_to_context(None)
    described = [SimpleNamespace(dims=case.inputs[0].shape)]
    addresses = [tensor.data_ptr() for tensor in inputs]

    runtime.on_shape_change(described, [])

    def start() -> None:
        stream_now = torch.cuda.current_stream().cuda_stream
        runtime.enqueue(described, [], addresses, [out.data_ptr()], 0, stream_now)

    start()
    torch.cuda.synchronize()
    latency_ms = float(triton.testing.do_bench(start, return_mode="median"))
    print(json.dumps({"worst": case.worst(out.cpu().numpy()), "latency_ms": latency_ms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
