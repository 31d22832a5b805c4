"""Run as a script: ``IPluginV3.enqueue`` on the GPU, without TensorRT. enqueue_driver.py OPERATION ALONG

The plugin's bases are empty classes; its kernel is compiled, loaded and started as in an engine, on addresses of torch
tensors. Prints one JSON object: relative L2 error of the worst head against the float64 reference, and latency.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import triton

from ftsf_plugins import plugin_v3
from ftsf_plugins.additive_attention.reference import additive_attention
from ftsf_plugins.favor_attention.reference import favor_attention
from ftsf_plugins.fields import field
from ftsf_plugins.kernels import compiled_kernel
from ftsf_plugins.prebuild import EPS, FEATURES, FRAMES, HEADS, TOKENS, WIDTH
from ftsf_plugins.register import OPERATIONS
from ftsf_plugins.rotary import Rotation
from ftsf_plugins.rotary_attention.reference import rotary_attention
from ftsf_plugins.stream import Stream

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
    rng = np.random.default_rng(0)
    stream, trt = Stream(FRAMES, TOKENS, HEADS, WIDTH, along), TensorRT()  # type: ignore[arg-type]
    rows = FRAMES * TOKENS
    qkv = torch.tensor(rng.normal(size=(BATCH, rows, 3 * stream.inner))).half()
    positions = rng.normal(size=(stream.attending, 2)).astype(np.float32)
    frequencies = rng.normal(size=(2, WIDTH // 2)).astype(np.float32)
    rotary = Rotation(positions, frequencies)
    attributes: dict[str, Any] = {
        "frames": FRAMES, "tokens": TOKENS, "heads": HEADS, "width": WIDTH, "along": along, "axes": 2,
        "pairs": "neighbours",
    }  # fmt: skip
    if name == "FtsfAdditiveAttention":
        weights = [torch.tensor(rng.normal(size=(HEADS, WIDTH)), dtype=torch.float32) for _ in "qk"]
        wanted = additive_attention(qkv.double().numpy(), weights[0].numpy(), weights[1].numpy(), stream, rotary)
    elif name == "FtsfRotaryAttention":
        weights = []
        wanted = rotary_attention(qkv.double().numpy(), stream, rotary)
    else:
        weights = [torch.tensor(rng.normal(size=(FEATURES, WIDTH))).half()]
        attributes |= {"features": FEATURES, "eps": EPS, "feature": "softmax"}
        wanted = favor_attention(qkv.double().numpy(), weights[0].double().numpy(), stream, rotary, eps=EPS)
    inputs = [tensor.cuda() for tensor in (qkv, *weights, torch.tensor(positions), torch.tensor(frequencies))]
    out = torch.full((BATCH, rows, stream.inner), float("nan"), dtype=torch.float16, device="cuda")

    operation = OPERATIONS[name]
    creator = plugin_v3.creator_of(trt, operation, compiled_kernel, None)
    fields = [field(trt, key, operation.attributes[key], value)[0] for key, value in attributes.items()]
    plugin = creator.create_plugin("node", fields, "BUILD")
    plugin.configure_plugin([SimpleNamespace(desc=SimpleNamespace(type="half"))], [])
    runtime = creator.create_plugin("node", plugin.get_fields_to_serialize(), "RUNTIME").attach_to_context(None)
    described = [SimpleNamespace(dims=tuple(qkv.shape))]
    addresses = [tensor.data_ptr() for tensor in inputs]

    runtime.on_shape_change(described, [])

    def start() -> None:
        stream_now = torch.cuda.current_stream().cuda_stream
        runtime.enqueue(described, [], addresses, [out.data_ptr()], 0, stream_now)

    start()
    torch.cuda.synchronize()
    (got,), (expected,) = stream.parts(out.double().cpu().numpy(), 1), stream.parts(wanted, 1)
    error = np.linalg.norm(got - expected, axis=(-2, -1)) / np.linalg.norm(expected, axis=(-2, -1))
    latency_ms = float(triton.testing.do_bench(start, return_mode="median"))
    print(json.dumps({"worst": float(error.max()), "latency_ms": latency_ms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
