"""int8 against fp16 as compiled, and against FP32 on this CPU; see ``scripts/bench-precision``.

The bound is ``ftsf plan``'s, for the card of rtx-30. Times are processor time of one thread, the best of the rounds,
both graphs taken in turns. Errors are relative L2 errors of the logits, the worst of clips that the calibration has not
seen: noise and random weights, so they say nothing about accuracy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.precision import to_precision
from ftsf_export.mechanisms import MECHANISMS, mechanism_named
from ftsf_export.pipeline.plan_file import plan
from ftsf_export.quantize.stage import QuantizeOptions, quantize
from ftsf_export.runners.telemetry import import_onnxruntime

SIZES: dict[str, Any] = {"frames": 8, "channels": 3, "height": 224, "width": 224, "num_classes": 400}
BASE = {"dim": 768, "attn_mechanism": "regular", "qkv_bias": True, "rotary_emb": False, "mlp_act": "gelu"}
MODELS = {**{name: {"dim": 512, "attn_mechanism": name} for name in MECHANISMS}, "timesformer-base": BASE}
TARGET = "rtx-30"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS, help="repeatable; all of them otherwise")
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=4, help="of noise, for the ranges")
    parser.add_argument("--skip-gpu", action="store_true")
    asked = parser.parse_args()
    for name in asked.model or MODELS:
        torch.manual_seed(0)
        model = FastTimeSformer(**SIZES, depth=asked.depth, **MODELS[name]).eval()
        options = {
            "algebra": mechanism_named(model.config.attn_mechanism).algebra,
            "heads": model.config.num_heads,
        }
        rng = np.random.default_rng(0)
        shape = (1, *(SIZES[size] for size in ("frames", "channels", "height", "width")))
        clips = [rng.standard_normal(shape, dtype=np.float32) for _ in range(asked.clips)]
        graph = export_onnx(model, GraphOptions())
        del model
        with tempfile.TemporaryDirectory() as folder:
            if not asked.skip_gpu:
                compiled(name, graph, clips, options, Path(folder))
            on_this_cpu(name, graph, clips, options, Path(folder), asked.rounds)


def compiled(name: str, graph: OnnxModel, clips: list[Any], options: dict[str, Any], folder: Path) -> None:
    """What the compiler makes of fp16 and of int8, and the ratios."""
    to_precision(graph, "fp16").save(folder / "fp16.onnx")
    quantize(graph, lambda: clips, QuantizeOptions(**options)).graph.save(folder / "int8.onnx")
    read = {kind: plan(folder / f"{kind}.onnx", target=TARGET).record for kind in ("fp16", "int8")}
    for kind, found in read.items():
        print(
            f"{name}: {kind} for {TARGET}: {found.kernels} kernels, {found.moved_bytes / 1e6:.0f} MB, at least "
            f"{found.least_ms:.3f} ms, {found.fused_attentions} fused attentions, work in "
            f"{ {of: round(flops / 1e9, 1) for of, flops in found.gemm_flops_by_type.items()} } GFLOP",
            flush=True,
        )
    half, small = read["fp16"], read["int8"]
    print(
        f"{name}: int8 / fp16: bytes {small.moved_bytes / half.moved_bytes:.3f}, "
        f"bound {small.least_ms / half.least_ms:.3f}",
        flush=True,
    )


def on_this_cpu(
    name: str, graph: OnnxModel, clips: list[Any], options: dict[str, Any], folder: Path, rounds: int
) -> None:
    """Time and error of integers beside FP32."""
    made = quantize(graph, lambda: clips, QuantizeOptions(**options, for_cpu=True))
    paths = {"fp32": folder / "fp32.onnx", "int8": folder / "int8-cpu.onnx"}
    graph.save(paths["fp32"])
    made.graph.save(paths["int8"])
    ort = import_onnxruntime()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    settings.optimized_model_filepath = str(folder / "optimized.onnx")
    sessions = {
        kind: ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        for kind, path in paths.items()
    }
    # The file is that of the last session.
    operators = Counter(
        node.op_type for node in onnx.load(folder / "optimized.onnx", load_external_data=False).graph.node
    )
    rng = np.random.default_rng(1)
    best, worst = dict.fromkeys(paths, float("inf")), 0.0
    for _ in range(rounds):
        clip, answers = rng.standard_normal(clips[0].shape, dtype=np.float32), {}
        for kind, session in sessions.items():
            start = time.process_time()
            (answers[kind],) = session.run(["logits"], {"clip": clip})
            best[kind] = min(best[kind], time.process_time() - start)
        difference = np.linalg.norm(answers["fp32"] - answers["int8"])
        worst = max(worst, float(difference / np.linalg.norm(answers["fp32"])))
    print(
        f"{name}: ONNX Runtime on this CPU: fp32 {best['fp32']:.2f} s, int8 {best['int8']:.2f} s, "
        f"{best['fp32'] / best['int8']:.2f} times as fast; {operators['MatMulIntegerToFloat']} of "
        f"{len(made.products)} products in integers; relative L2 error {worst:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
