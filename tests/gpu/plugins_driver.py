"""Run as a script: one kernel at the documented shapes on the GPU. plugins_driver.py OPERATION ALONG ELEMENT.

Prints one JSON object: relative L2 error of the worst head, latency, gigabytes of stream and output a second.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
import triton

from ftsf_plugins.additive_attention.kernel import additive_attention_kernel
from ftsf_plugins.additive_attention.launch import additive_launch
from ftsf_plugins.additive_attention.reference import additive_attention
from ftsf_plugins.favor_attention import kernel as favor
from ftsf_plugins.favor_attention.launch import favor_launch
from ftsf_plugins.favor_attention.reference import favor_attention
from ftsf_plugins.launch import rotation_constants
from ftsf_plugins.prebuild import EPS, FEATURES, FRAMES, HEADS, TOKENS, WIDTH
from ftsf_plugins.rotary import Rotation
from ftsf_plugins.rotary_attention.kernel import rotary_attention_kernel
from ftsf_plugins.rotary_attention.launch import rotary_launch
from ftsf_plugins.rotary_attention.reference import rotary_attention
from ftsf_plugins.run import run
from ftsf_plugins.stream import Stream

BATCH = 4


def main(operation: str, along: str, element: str) -> None:
    rng = np.random.default_rng(0)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[element]
    stream = Stream(FRAMES, TOKENS, HEADS, WIDTH, along)  # type: ignore[arg-type]
    rows = FRAMES * TOKENS
    qkv = torch.tensor(rng.normal(size=(BATCH, rows, 3 * stream.inner))).to(dtype)
    positions = rng.normal(size=(stream.attending, 2)).astype(np.float32)
    frequencies = rng.normal(size=(2, WIDTH // 2)).astype(np.float32)
    rotary = Rotation(positions, frequencies)
    tables = [torch.tensor(positions), torch.tensor(frequencies)]
    double = qkv.double().numpy()
    if operation == "additive":
        weights = [torch.tensor(rng.normal(size=(HEADS, WIDTH)), dtype=torch.float32) for _ in "qk"]
        launch, kernel = additive_launch(stream, rotation_constants(2), element), additive_attention_kernel  # type: ignore[arg-type]
        wanted = additive_attention(double, weights[0].numpy(), weights[1].numpy(), stream, rotary)
    elif operation == "rotary":
        weights = []
        launch, kernel = rotary_launch(stream, rotation_constants(2), element), rotary_attention_kernel  # type: ignore[arg-type]
        wanted = rotary_attention(double, stream, rotary)
    else:
        weights = [torch.tensor(rng.normal(size=(FEATURES, WIDTH))).to(dtype)]
        launch = favor_launch(stream, FEATURES, rotation_constants(2), element, eps=EPS)  # type: ignore[arg-type]
        kernel = getattr(favor, launch.kernel)
        wanted = favor_attention(double, weights[0].double().numpy(), stream, rotary, eps=EPS)
    inputs = [tensor.cuda() for tensor in (qkv, *weights, *tables)]
    out = torch.full((BATCH, rows, stream.inner), float("nan"), dtype=dtype, device="cuda")

    def start() -> None:
        run(kernel, launch, stream, inputs, out, FEATURES)

    start()
    (got,), (expected,) = stream.parts(out.double().cpu().numpy(), 1), stream.parts(wanted, 1)
    error = np.linalg.norm(got - expected, axis=(-2, -1)) / np.linalg.norm(expected, axis=(-2, -1))
    latency_ms = float(triton.testing.do_bench(start, return_mode="median"))
    moved = 4 * BATCH * rows * stream.inner * qkv.element_size()
    measured = {"worst": float(error.max()), "latency_ms": latency_ms, "gigabytes_per_s": moved / latency_ms / 1e6}
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
