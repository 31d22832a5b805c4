"""Our exports against the peers', on the same weights and input, in one run; see ``scripts/bench-export --help``.

Peers: plain ``torch.onnx.export(dynamo=True)`` of the same eager model, and of Hugging Face's TimeSformer-base made
from its configuration (random weights, nothing downloaded). The half-precision graph behind kernels and bytes is, for
everyone, the FP32 export through our own precision pass; plain graphs have no FP32 islands in it, to their advantage.
Latencies are of the FP32 graphs, on this CPU, taken in turns: every file runs once a round, the median counts.

``--plugins`` adds a row a mechanism: its attentions as nodes for plugins, whose kernels are modelled
(``ftsf_plugins.cost``) while the graph around them is compiled; ONNX Runtime runs the nodes' functions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ftsf_export.config import BatchRange, ExportConfig, Size
from ftsf_export.engine.audit import Audit, audit
from ftsf_export.engine.cards import card_of
from ftsf_export.engine.plugin_costs import plugin_alongs, with_plugins
from ftsf_export.engine.request import GraphFacts
from ftsf_export.engine.targets import target_named
from ftsf_export.mechanisms import MECHANISMS
from ftsf_export.network.scope import CLIP, LOGITS
from ftsf_export.pipeline.plan_bundle import compile_at
from ftsf_export.precision import FP16, FP32
from ftsf_export.strict_json import plain

TARGET = "rtx-30"
FULL: dict[str, Any] = {"frames": 8, "size": "224", "dim": 512, "depth": 12}
QUICK: dict[str, Any] = {"frames": 4, "size": "64", "dim": 128, "depth": 2, "num_classes": 10}


@dataclass
class Row:
    """One export."""

    name: str  #: For people.
    path: Path  #: Its FP32 graph, whose input is the clip.
    export_s: float  #: How long the export took, in seconds.
    nodes: int  #: Of the FP32 graph.
    plan: Audit  #: What TensorRT for RTX makes of the graph in fp16.
    #: Median milliseconds of a call of the FP32 graph, by runtime; None where that is not installed.
    latency_ms: dict[str, float | None] = field(default_factory=dict)

    def line(self) -> str:
        plan = self.plan
        figures = (f"{self.export_s:.1f}", f"{self.nodes:,}", f"{plan.flops / 1e9:,.2f}", f"{len(plan.kernels):,}")
        moved = (f"{plan.totals.moved_bytes / 1e6:,.1f}", str(len(plan.fused_attentions)))
        times = ("not installed" if ms is None else f"{ms:,.1f}" for ms in self.latency_ms.values())
        return _table_line((self.name, *figures, *moved, *times))

    def as_dict(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name != "path"}
        return {**kept, "plan": plain(self.plan.figures())}


HEAD = ("export", "s", "nodes", "GEMM GFLOP", "kernels", "MB moved", "fused", "ORT CPU ms", "OpenVINO f32 ms")


def main() -> None:
    arguments = _arguments()
    warnings.simplefilter("ignore")
    import bench_sizes
    import torch

    torch.set_grad_enabled(False)
    sizes = QUICK if arguments.quick else FULL
    if arguments.depth:
        sys.exit(bench_sizes.compare_depths(arguments.attn, sizes, quick=arguments.quick))
    if arguments.sweep is not None:
        bench_sizes.sweep(arguments.sweep, arguments.attn, sizes, quick=arguments.quick)
        return
    exports: list[Callable[[Path], list[Row]]] = [
        partial(_fast_timesformer, attn, sizes, plugins=arguments.plugins) for attn in arguments.attn
    ]
    if not arguments.no_hugging_face:
        exports.append(partial(_hugging_face, sizes))
    rows = compare(exports, sizes, arguments.rounds)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([row.as_dict() for row in rows], indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench-export", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, its figures mean nothing"
    )
    parser.add_argument("--attn", nargs="+", choices=MECHANISMS, default=list(reversed(MECHANISMS)))
    parser.add_argument("--no-hugging-face", action="store_true", help="leave out TimeSformer-base")
    parser.add_argument("--plugins", action="store_true", help="also with nodes for plugins, as modelled")
    parser.add_argument("--rounds", type=int, default=5, help="measured calls of each file (default 5)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--depth", action="store_true", help="only: seconds to export at depth 12 and at depth 24")
    parser.add_argument(
        "--sweep", type=Path, metavar="DIR", help="only: bytes and work from 112 to 448 px, with charts"
    )
    return parser.parse_args()


def compare(exports: Sequence[Callable[[Path], list[Row]]], sizes: dict[str, Any], rounds: int) -> list[Row]:
    """Exports, compiles and times everything, and prints the table row by row."""
    print(f"FP32 exports; plans in fp16 for {TARGET} (SM86), batch 1; {sizes}", flush=True)
    print(_table_line(HEAD), flush=True)
    config, rows = ExportConfig(**sizes), []
    clip = np.random.default_rng(0).standard_normal((1, *_clip_shape(config)), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="ftsf-bench-") as folder:
        for export in exports:
            made = export(Path(folder))
            _time_in_turns(made, clip, rounds)
            for row in made:
                print(row.line(), flush=True)
                row.path.unlink()
            rows += made
    return rows


def _table_line(cells: Sequence[str]) -> str:
    name, *figures = cells
    return f"{name:<28}" + "".join(f"{cell:>16}" if i > 5 else f"{cell:>11}" for i, cell in enumerate(figures))


def _clip_shape(config: ExportConfig) -> tuple[int, ...]:
    """(F, C, H, W)."""
    return config.frames, config.channels, config.size.height, config.size.width


def _fast_timesformer(attn: str, sizes: dict[str, Any], folder: Path, *, plugins: bool) -> list[Row]:
    from ftsf_export.checkpoint.load import load_model

    config = ExportConfig(attn=attn, **sizes)
    model = load_model(config)
    nodes = frozenset(plugin_alongs(config.attn_type)) if plugins else frozenset()
    with_nodes = [_ours(f"{attn}, ours, plugins", model, config, folder, nodes)] if plugins else []
    ours, plain = _ours(f"{attn}, ours", model, config, folder), _plain(f"{attn}, plain", model, config, folder)
    return [ours, *with_nodes, plain]


def _hugging_face(sizes: dict[str, Any], folder: Path) -> list[Row]:
    """TimeSformer-base at full size; ours takes over its weights through a checkpoint directory."""
    import torch
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    from ftsf_export.checkpoint.load import load_model

    small = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    side = int(sizes["size"])
    their_config = TimesformerConfig(image_size=side, num_frames=sizes["frames"], **(small if sizes is QUICK else {}))
    torch.manual_seed(0)
    theirs = TimesformerForVideoClassification(their_config).eval()
    weights = folder / "hugging-face"
    theirs.save_pretrained(weights)
    theirs.config.return_dict = False  # a tuple of the logits alone, which torch.onnx.export takes as it is
    config = ExportConfig(checkpoint=weights, frames=sizes["frames"], size=Size(side, side))
    ours = _ours("HF TimeSformer, ours", load_model(config), config, folder)
    return [ours, _plain("HF TimeSformer, plain", theirs, config, folder)]


def _ours(name: str, model: Any, config: ExportConfig, folder: Path, nodes: frozenset[str] = frozenset()) -> Row:
    from ftsf_export.graph.export import GraphOptions, export_onnx

    started = time.monotonic()
    graph = export_onnx(model, GraphOptions(plugins=nodes))
    return _row(name, graph, config, folder, time.monotonic() - started, nodes)


def _plain(name: str, module: Any, config: ExportConfig, folder: Path) -> Row:
    import torch

    from ftsf_export.graph.node_scopes import put_scope
    from ftsf_export.graph.onnx_model import OnnxModel
    from ftsf_export.graph.trace import converted
    from ftsf_export.network.scope import WHOLE

    started = time.monotonic()
    model = converted(module, (torch.zeros(1, *_clip_shape(config)),), 20, None, inputs=[CLIP], outputs=[LOGITS])
    seconds = time.monotonic() - started
    for node in model.graph:
        # There are no islands to look for, but the precision pass asks each node for its module.
        put_scope(node, WHOLE)
    graph = OnnxModel(model=model, precision=FP32.name, opset=20, taps=(), islands=(), rewrites=())
    return _row(name, graph, config, folder, seconds)


def _row(
    name: str,
    graph: Any,
    config: ExportConfig,
    folder: Path,
    seconds: float,
    nodes: frozenset[str] = frozenset(),
) -> Row:
    path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.onnx"
    graph.save(path)
    return Row(name, path, seconds, graph.node_count, planned(graph, config, folder, nodes))


def planned(graph: Any, config: ExportConfig, folder: Path, nodes: frozenset[str] = frozenset()) -> Audit:
    """What TensorRT for RTX makes of the graph in fp16; of one with ``nodes``, around these."""
    from ftsf_export.graph.nodes_for_plugins import without_nodes
    from ftsf_export.graph.precision import to_precision

    target, half, around = target_named(TARGET), folder / "half.onnx", folder / "around.onnx"
    to_precision(graph, FP16.name).save(half)
    facts = GraphFacts(
        onnx_path=half,
        precision=FP16.name,
        batch=BatchRange(1, 1, 1),
        input_name=CLIP,
        clip_shape=_clip_shape(config),
    )
    if nodes:
        facts = replace(facts, onnx_path=around, shapes=without_nodes(half, around, 1))
    engine = compile_at(facts, "rtx", target)
    half.unlink()
    read = audit(engine.plan, engine.products, card=card_of(target))
    return with_plugins(read, config.architecture, FP16.name, 1, nodes, class_tail=True)[0] if nodes else read


def _time_in_turns(rows: Sequence[Row], clip: np.ndarray, rounds: int) -> None:
    """Median milliseconds of each row's FP32 graph, by runtime; None where the runtime is not installed."""
    for runtime, load in (("onnxruntime", _onnxruntime), ("openvino", _openvino)):
        try:
            calls = [load(row.path) for row in rows]
        except ImportError:
            calls = []
        times: list[list[float]] = [[] for _ in calls]
        for index in range(rounds + 1 if calls else 0):
            for call, found in zip(calls, times, strict=True):
                started = time.perf_counter()
                call(clip)
                if index:  # the first round warms up
                    found.append(time.perf_counter() - started)
        for number, row in enumerate(rows):
            row.latency_ms[runtime] = statistics.median(times[number]) * 1e3 if calls else None


def _onnxruntime(path: Path) -> Callable[[np.ndarray], Any]:
    from ftsf_export.runners.telemetry import import_onnxruntime

    session = import_onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda clip: session.run(None, {CLIP: clip})


def _openvino(path: Path) -> Callable[[np.ndarray], Any]:
    import openvino
    from onnx import inliner, load

    # It knows no functions of a model, such as those of nodes for plugins.
    plain = inliner.inline_local_functions(load(path)).SerializeToString()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(plain), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda clip: compiled({CLIP: clip})


if __name__ == "__main__":
    main()
