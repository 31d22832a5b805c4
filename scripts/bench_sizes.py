"""How exports grow: seconds over depth, bytes and products over resolution (``bench-export --depth``, ``--sweep``)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bench_export import QUICK, planned

from ftsf_export.checkpoint.load import load_model
from ftsf_export.config import ExportConfig, Size
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.mechanisms import MECHANISMS
from ftsf_export.report.charts import Series, line_chart, standalone

SWEEP_PX, QUICK_SWEEP_PX = (112, 160, 224, 320, 448), (32, 64)
# The second depth may take this many times the first one's time.
DEPTHS, QUICK_DEPTHS, MOST_TIMES = (12, 24), (2, 4), 1.5
# In turns; the least counts.
REPEATS = 2


def compare_depths(attns: Sequence[str], sizes: dict[str, Any], *, quick: bool) -> int:
    """Seconds of torch.export and conversion at two depths; exit code 1 where the deeper takes too long."""
    depths = QUICK_DEPTHS if quick else DEPTHS
    slow = 0
    export_onnx(load_model(ExportConfig(**QUICK)), GraphOptions())  # imports and caches
    print(
        f"{'':<12}" + "".join(f"{f'depth {depth}, s':>14}" for depth in depths) + f"{'times':>8} (at most {MOST_TIMES})"
    )
    for attn in attns:
        models = [load_model(ExportConfig(attn=attn, **{**sizes, "depth": depth})) for depth in depths]
        runs = [[_export_seconds(model) for model in models] for _ in range(REPEATS)]
        seconds = [min(column) for column in zip(*runs, strict=True)]
        times = seconds[1] / seconds[0]
        slow |= times > MOST_TIMES
        print(f"{attn:<12}" + "".join(f"{one:>14.1f}" for one in seconds) + f"{times:>8.2f}", flush=True)
    return int(slow)


def _export_seconds(model: Any) -> float:
    """The time of this process alone, so that other work on the machine does not count."""
    started = time.process_time()
    export_onnx(model, GraphOptions())
    return time.process_time() - started


def sweep(folder: Path, attns: Sequence[str], sizes: dict[str, Any], *, quick: bool) -> None:
    """Bytes and work of each mechanism over the frame's side; charts and figures go into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {attn: [] for attn in attns}
    print(f"{'':<12}{'px':>6}{'tokens':>8}{'kernels':>9}{'MB moved':>11}{'GEMM GFLOP':>12}{'bound ms':>10}", flush=True)
    for attn in attns:
        for side in QUICK_SWEEP_PX if quick else SWEEP_PX:
            config = ExportConfig(attn=attn, **{**sizes, "size": Size(side, side)})
            plan = planned(export_onnx(load_model(config), GraphOptions()), config, folder)
            row = {
                "px": side,
                "tokens": config.architecture.num_tokens,
                "kernels": len(plan.kernels),
                "moved_mb": plan.totals.moved_bytes / 1e6,
                "gflop": plan.flops / 1e9,
                "least_ms": plan.totals.least_ms or 0,
            }
            found[attn].append(row)
            line = "{px:>6}{tokens:>8,}{kernels:>9}{moved_mb:>11,.1f}{gflop:>12,.2f}{least_ms:>10.3f}"
            print(f"{attn:<12}" + line.format(**row), flush=True)
    (folder / "sweep.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for figure, words in (("moved_mb", "MB moved a pass"), ("gflop", "GFLOP in products")):
        said = "; ".join(_crossings(found, figure)) or "no softmax attention to compare with"
        print(f"{words}: {said}")
        series = [Series(attn, tuple((row["tokens"], row[figure]) for row in rows)) for attn, rows in found.items()]
        chart = line_chart(series, title=f"{words} over tokens, fp16, SM86", x_name="tokens", y_name=words, said=said)
        (folder / f"sweep-{figure}.svg").write_text(standalone(chart), encoding="utf-8")


def _crossings(found: dict[str, list[dict[str, Any]]], figure: str) -> Iterator[str]:
    """From which of the measured sizes on each other mechanism needs less than one that compilers fuse."""
    for fused, other in product((name for name in found if MECHANISMS[name].fuses), found):
        pairs = list(zip(found[other], found[fused], strict=True))
        less = [all(mine[figure] < theirs[figure] for mine, theirs in pairs[index:]) for index in range(len(pairs))]
        if True in less:
            row = found[other][less.index(True)]
            yield f"{other} needs less than {fused} from {row['px']} px on ({row['tokens']} tokens)"
        elif other != fused:
            yield f"{other} does not need less than {fused} up to {pairs[-1][0]['px']} px"
