"""Time over resolution of the three mechanisms, side by side in one run; see ``scripts/bench-attention``.

Every mechanism runs once a round, in turns, so that a busy machine slows all of them; the fastest call counts, for
what else runs here only ever adds time. Limits are held at the largest size, in joint attention, where one group has
all tokens: fastformer at least 1.5 times as fast as regular, performer not slower.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ftsf_export.checkpoint.load import load_model
from ftsf_export.config import ExportConfig
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.mechanisms import MECHANISMS
from ftsf_export.network.scope import CLIP
from ftsf_export.report.charts import Series, line_chart, standalone
from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner
from ftsf_export.sweep_record import Panel

RUNTIMES = ("eager PyTorch", "ONNX Runtime")
# Joint, at the largest size, ONNX Runtime: regular's time over this mechanism's.
LEAST = {"fastformer": 1.5, "performer": 1.0}
Times = dict[str, dict[str, list[tuple[int, float]]]]


def calls(config: ExportConfig, folder: Path, opened: ExitStack) -> dict[str, Callable[[], object]]:
    """One call of one clip in each runtime, on the same weights and values, for as long as ``opened`` is."""
    model = load_model(config).eval()
    shape = (1, config.frames, config.channels, config.size.height, config.size.width)
    clip = np.random.default_rng(0).random(shape, np.float32)
    path = folder / f"{config.attn}.onnx"
    export_onnx(model, GraphOptions()).save(path)
    runner = opened.enter_context(OnnxRuntimeRunner(path, threads=torch.get_num_threads()))
    tensor = torch.from_numpy(clip)

    def eager() -> object:
        with torch.inference_mode():
            return model(tensor)

    return {RUNTIMES[0]: eager, RUNTIMES[1]: lambda: runner.infer({CLIP: clip})}


def measure(attn_type: str, sizes: list[int], rounds: int, model: dict[str, Any]) -> Times:
    """Runtime -> mechanism -> (tokens of a clip, milliseconds of the fastest call)."""
    found: Times = {runtime: {name: [] for name in MECHANISMS} for runtime in RUNTIMES}
    for side in sizes:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
            configs = {name: ExportConfig(attn=name, attn_type=attn_type, size=side, **model) for name in MECHANISMS}
            each = {name: calls(config, Path(folder), opened) for name, config in configs.items()}
            best = {(runtime, name): float("inf") for runtime in RUNTIMES for name in MECHANISMS}
            for _ in range(rounds + 1):  # The first round warms up, and counts where it is the fastest all the same.
                for runtime, name in best:
                    start = time.perf_counter()
                    each[name][runtime]()
                    best[runtime, name] = min(best[runtime, name], 1e3 * (time.perf_counter() - start))
        for (runtime, name), milliseconds in best.items():
            found[runtime][name].append((configs[name].architecture.num_tokens, milliseconds))
        told = "   ".join(f"{name} {best[RUNTIMES[1], name]:,.1f}" for name in MECHANISMS)
        ratios = ", ".join(
            f"{name} {best[RUNTIMES[1], 'regular'] / best[RUNTIMES[1], name]:.2f}"
            for name in MECHANISMS
            if name != "regular"
        )
        eager = "   ".join(f"{name} {best[RUNTIMES[0], name]:,.1f}" for name in MECHANISMS)
        print(
            f"{attn_type:<8}{side:>4} px  ONNX Runtime ms: {told}   regular / {ratios}   eager ms: {eager}", flush=True
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-attention", description=__doc__)
    parser.add_argument("--sizes", default="32,64,128,256,384,512", help="in pixels (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="calls of each (default %(default)s)")
    parser.add_argument("--attn-type", action="append", help="default: divided and joint")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--charts", type=Path, metavar="DIR", help="write a chart (SVG) of each runtime there")
    asked = parser.parse_args()
    sizes = [int(side) for side in asked.sizes.split(",")]
    model = {"frames": 8, "dim": asked.dim, "depth": asked.depth}
    missed = []
    for attn_type in asked.attn_type or ("divided", "joint"):
        found = measure(attn_type, sizes, asked.rounds, model)
        for runtime, lines in found.items():
            title = f"{attn_type}, {runtime} on a CPU, dim {asked.dim}, depth {asked.depth}, 8 frames"
            panel = Panel(title, "measured", {name: tuple(points) for name, points in lines.items()})
            print(f"{title}: {panel.said}")
            if asked.charts:
                asked.charts.mkdir(parents=True, exist_ok=True)
                series = [Series(name, tuple((float(x), y) for x, y in points)) for name, points in lines.items()]
                chart = line_chart(series, title=title, x_name="tokens of a clip", y_name="ms a clip", said=panel.said)
                name = f"{attn_type}-{runtime.split()[0].lower()}.svg"
                (asked.charts / name).write_text(standalone(chart), encoding="utf-8")
        if attn_type == "joint" and sizes[-1] >= 512:
            times = {name: points[-1][1] for name, points in found[RUNTIMES[1]].items()}
            missed += [name for name, least in LEAST.items() if times["regular"] / times[name] < least]
    sys.exit(f"joint, {sizes[-1]} px: not as fast as asked: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
