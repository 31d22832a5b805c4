"""A bundle in a few lines, for ``export``, ``verify``, ``build`` and ``info``: the same words everywhere."""

from __future__ import annotations

from typing import Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Bundle, CheckpointWeights, Manifest, RandomWeights, Weights
from ftsf_export.cli.terminal import Terminal
from ftsf_export.config import Size
from ftsf_export.strict_json import plain

_SHOWN_LABELS = 4


def say_model(terminal: Terminal, manifest: Manifest) -> None:
    """Model, weights and graph, one line each."""
    graph = manifest.graph
    say_architecture(terminal, manifest.model, manifest.weights, manifest.labels)
    for spec in (*manifest.inputs, *manifest.outputs):
        role = "input" if spec in manifest.inputs else "output"
        shape = " x ".join(str(size) for size in spec.shape)
        terminal.say(f"{role:<11}{spec.name}: {spec.dtype} {shape} ({spec.layout}), {spec.values}")
    terminal.say(f"graph      {manifest.precision}, opset {graph.opset}, batch {manifest.batch}")
    if graph.plugins.along:
        along = " and ".join(graph.plugins.along)
        terminal.say(f"plugins    nodes for attention along {along}: {graph.plugins.reason}")
    for reason, islands in graph.islands_by_reason.items():
        nodes = sum(island.nodes for island in islands)
        places = islands[0].scope + (f" and {len(islands) - 1} more" if len(islands) > 1 else "")
        terminal.say(f"in FP32    {nodes} nodes, {places}: {reason}")
    if (said := graph.quantization) is not None:
        seen = said.calibration
        terminal.say(
            f"quantized  {said.products} products in {manifest.precision}, all else in {said.beside}; ranges by "
            f"{seen.method} on {seen.clips} clips of {len(seen.videos) or 'no'} videos"
        )
        if seen.doubt:
            terminal.say(f"           {seen.doubt}", style="yellow")
    if (half := graph.plain_half) is not None:
        terminal.say(f"plain half {half.said}: eager PyTorch wholly in {half.precision}")
    if graph.favor is not None:
        terminal.say(f"FAVOR+     {graph.favor.said}; ftsf finetune --favor-limit shortens them: docs/finetuning.md")


def say_architecture(
    terminal: Terminal, model: TimeSformerConfig, weights: Weights, labels: tuple[str, ...] | None
) -> None:
    """The model, where its weights come from, and the first and last of its classes' names where they are known."""
    terminal.say(
        f"model      {model.attn_mechanism} {model.attn_type}, {model.frames} frames of "
        f"{Size(model.height, model.width)} px, patch {model.patch_size}, dim {model.dim}, depth {model.depth}, "
        f"{model.num_heads} heads, {f'{model.num_classes} classes' if model.num_classes else 'no head'}"
    )
    say_weights(terminal, weights, model)
    if labels:
        shown = ", ".join(labels if len(labels) <= _SHOWN_LABELS else (*labels[: _SHOWN_LABELS - 1], "...", labels[-1]))
        terminal.say(f"labels     {len(labels)}: {shown}")


def say_weights(terminal: Terminal, weights: Weights, model: TimeSformerConfig) -> None:
    """Where the weights come from; random ones are said plainly: their class scores mean nothing. What was assumed of
    them stands out as well."""
    random = isinstance(weights, RandomWeights)
    doubted = random or (isinstance(weights, CheckpointWeights) and bool(weights.assumed))
    warning = ": the class scores mean nothing" if random else ""
    terminal.say(f"weights    {weights.described(model)}{warning}", style="yellow" if doubted else "")


def say_rewrites(terminal: Terminal, manifest: Manifest) -> None:
    """The exact rewrites in the graph, and what each saves of the products beside all others."""
    graph = manifest.graph
    terminal.say(
        f"products   {graph.graph_flops / 1e9:,.2f} GFLOP a clip, {graph.graph_flops / graph.eager_flops:.3f} of eager "
        f"PyTorch's {graph.eager_flops / 1e9:,.2f}"
    )
    saving, others = graph.rewrites_by_saving
    for rewrite in saving:
        terminal.say(f"rewrite    {rewrite.name}: {rewrite.summary}; saves {rewrite.saved_flops / 1e9:,.3f} GFLOP")
    if others:
        names = ", ".join(rewrite.name for rewrite in others)
        terminal.say(f"rewrites   that spare copies and kernels, where they apply: {names}")


def say_files(terminal: Terminal, manifest: Manifest) -> None:
    for name, entry in sorted(manifest.files.items()):
        terminal.say(f"file       {name}  {size_text(entry.size_bytes)}  sha256 {entry.sha256[:12]}")


def size_text(size_bytes: int) -> str:
    """In units of 1,000, as data sheets and plans count."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"


def say_engines(terminal: Terminal, manifest: Manifest) -> None:
    for engine in manifest.engines:
        capabilities = ", ".join(engine.compute_capabilities)
        terminal.say(
            f"engine     {engine.file}  {engine.builder} for {engine.target} (compute capability {capabilities})"
        )
    if not manifest.engines:
        terminal.say("engine     none")


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """The same for ``--json``."""
    manifest = bundle.manifest
    return {
        "bundle": bundle.path,
        "weights": manifest.weights_described,
        "random_weights": manifest.random_weights,
        "needs_fine_tuning": manifest.need_fine_tuning,
        "assumed": list(manifest.assumed),
        "labels": None if manifest.labels is None else list(manifest.labels),
        "inputs": plain(manifest.inputs),
        "outputs": plain(manifest.outputs),
        "preprocessing": plain(manifest.preprocessing),
        "precision": manifest.precision,
        "opset": manifest.graph.opset,
        "batch": str(manifest.batch),
        "engines": plain(manifest.engines),
        "verdicts": plain(bundle.verdicts),
    }
