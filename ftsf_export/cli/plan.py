"""``ftsf plan``: what a compiler makes of a bundle or an ONNX file, or made of an engine, kernel by kernel; no GPU."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftsf_export.cli.options import ftsf_command, limits_option, usual_batch_option
from ftsf_export.cli.terminal import Terminal
from ftsf_export.plan_record import VIEWS
from ftsf_export.precision import FP32
from ftsf_export.strict_json import plain

if TYPE_CHECKING:
    from ftsf_export.engine.audit import Audit, KernelFacts
    from ftsf_export.engine.graph_plan import GraphPlan
    from ftsf_export.plan_record import KernelTotals, PlanRecord

_NAME_CHARS = 44


class InputShape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """NAME:1x8x3x224x224, or the shape alone."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        name, _, sizes = str(value).rpartition(":")
        if not re.fullmatch(r"[1-9][0-9]{0,9}(x[1-9][0-9]{0,9})*", sizes):
            self.fail(f"{value!r}: expected NAME:1x8x3x224x224, sizes of at least 1", param, ctx)
        return name, tuple(map(int, sizes.split("x")))


@ftsf_command("plan")
@click.argument("path", type=click.Path(path_type=Path), metavar="BUNDLE|MODEL.onnx|LAYERS.json")
@click.option(
    "--target", default="", metavar="NAME", help="Machine to compile for.  [default: the bundle's, or rtx-30]"
)
@usual_batch_option
@click.option(
    "--shape",
    "shapes",
    type=InputShape(),
    multiple=True,
    metavar="NAME:1x8x3x224x224",
    help="Shape of an input of MODEL.onnx whose sizes are not fixed (repeatable).",
)
@click.option("--by", type=click.Choice(VIEWS), default="kind", show_default=True, help="Rows of the table.")
@click.option(
    "--diff",
    "other",
    type=click.Path(path_type=Path),
    metavar="OTHER",
    help="Another bundle or file: tell the differences.",
)
@limits_option
def command(
    terminal: Terminal,
    path: Path,
    target: str,
    batch: int | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    by: str,
    other: Path | None,
    limited: bool,
) -> None:
    """Compile for a target and say what became of it: kernels, bytes, work, fused attentions, least time.

    What is compiled is a bundle, or any ONNX file. LAYERS.json is what TensorRT tells of an engine that is built
    (trtexec --exportLayerInfo, or the engine inspector), read and shown in the same way.

    Nothing is run and nothing is written. Exits 1 when a gate of a bundle fails: an attention that did not become one
    kernel, or work in another precision than asked for. With -v every kernel is listed.
    """
    from ftsf_export.engine.graph_plan import difference
    from ftsf_export.pipeline.plan_file import fitting, plan
    from ftsf_export.verdict import raise_for_failed

    paths = [path, *([] if other is None else [other])]
    found: list[GraphPlan] = []
    with terminal.progress() as on_progress:
        for one in paths:
            options = fitting(one, paths, batch=batch, shapes=dict(shapes))
            target = found[0].record.target if found else target
            found.append(plan(one, target=target, **options, limited=limited, on_progress=on_progress))
    mine, theirs = found[0], found[1] if other is not None else None
    kernels = [one.as_dict() for one in mine.audit.kernels]
    record = {**plain(mine.record), "kernel_list": kernels}
    terminal.record(**{_source(mine): path}, plan=record, verdicts=plain(mine.verdicts))
    _say_plan(terminal, path, mine.record, mine.audit)
    if theirs is None:
        _say_table(terminal, mine, by)
    elif other is not None:
        rows = difference(mine.audit, theirs.audit, by)
        terminal.record(**{f"other_{_source(theirs)}": other}, other_plan=plain(theirs.record), difference=rows)
        _say_difference(terminal, rows, theirs, other, by)
    if terminal.verbose:
        _say_kernels(terminal, mine.audit.kernels)
    for verdict in mine.verdicts:
        terminal.verdict(verdict)
    if mine.record.trtexec:
        where = "beside the file" if mine.record.batch is None else "inside the bundle"
        terminal.say(f"trtexec    {where}, on the target: {mine.record.trtexec}")
    raise_for_failed(mine.verdicts)


def _source(plan: GraphPlan) -> str:
    return "file" if plan.record.batch is None else "bundle"


def _say_plan(terminal: Terminal, path: Path, plan: PlanRecord, read: Audit) -> None:
    if plan.compiled_for:
        how = (
            f"{plan.builder} {plan.builder_version} for {plan.target} "
            f"(compute capability {', '.join(plan.compiled_for)})"
        )
    else:
        how = "an engine's layers as TensorRT tells them; nothing was compiled"
    terminal.say(f"plan       {path}, {plan.precision or 'no products'}{_sizes(plan)}; {how}")
    if plan.proxy:
        terminal.say(
            f"proxy      {plan.proxy}: figures stand in for {plan.target}, whose own may differ", style="yellow"
        )
    kinds = ", ".join(f"{group.kernels} {group.name}" for group in plan.by_kind)
    terminal.say(f"kernels    {plan.kernels}: {kinds}")
    terminal.say(f"moved      {megabytes(plan.moved_bytes)}: inputs, constants and outputs of each kernel as listed")
    by_type = ", ".join(f"{flops / plan.gemm_flops:.1%} in {dtype}" for dtype, flops in read.flops_by_type().items())
    if plan.compiled_for:
        terminal.say(f"products   {plan.gemm_flops / 1e9:,.2f} GFLOP: {by_type or 'none'}")
    else:
        counted = Counter(one.runs_in for one in read.kernels if one.runs_in)
        by_type = ", ".join(f"{number} in {dtype}" for dtype, number in counted.most_common())
        terminal.say(f"products   {by_type or 'none'}; layers do not tell how much work they are")
    for node in plan.unplaced_products:
        terminal.say(f"           behind no kernel of its own: {node}")
    said = ", ".join(
        f"{name.removesuffix('_bytes')} {megabytes(size)}"
        for name, size in vars(plan.memory).items()
        if size is not None
    )
    terminal.say(f"memory     {said or 'not told by the compiler'}")
    _say_attentions(terminal, plan)
    _say_plugins(terminal, plan)
    copied = megabytes(plan.copy_bytes)
    terminal.say(f"copies     {plan.copy_kernels} kernels only copy, transpose or convert: {copied}")
    made = plan.compiler_fp32 if plan.precision != FP32.name else ()
    if made:
        where = ", ".join(dict.fromkeys(one.module for one in made))
        terminal.say(f"FP32       {len(made)} kernels write FP32 of the compiler's own choice: {where}")
    _say_bound(terminal, plan, read)
    if read.unread:
        terminal.say(
            f"warning    {len(read.unread)} lines of the plan could not be read: {read.unread[0][:120]}", style="yellow"
        )


def _sizes(plan: PlanRecord) -> str:
    if plan.batch is not None:
        return f", batch {plan.batch}"
    return "".join(f", {name} {'x'.join(map(str, shape)) or 'a number'}" for name, shape in plan.shapes.items())


def _say_attentions(terminal: Terminal, plan: PlanRecord) -> None:
    if plan.batch is None and plan.expected_attentions:
        whole, unfused = len(plan.expected_attentions), plan.unfused_attentions
        terminal.say(f"attention  {whole - len(unfused)} of {whole} became one kernel")
        for node in unfused:
            terminal.say(f"           not fused: {node}", style="yellow")
        if unfused and plan.precision == FP32.name:
            terminal.say("           FP32 has no fused kernel; a graph in half precision has")
    elif plan.batch is None:
        terminal.say(f"attention  {plan.fused_attentions} fused kernels")
    elif not plan.attentions_at_batch:
        terminal.say(f"attention  {plan.fused_attentions} fused kernels; none is expected of this graph")
    for one in plan.attentions_at_batch:
        at = f" at batch {one.batch}" if len(plan.attentions_at_batch) > 1 else ""
        terminal.say(f"attention  {one.expected - len(one.unfused)} of {one.expected} became one kernel{at}")
        for module in one.unfused:
            terminal.say(f"           not fused{at}: {module}", style="red")


def _say_plugins(terminal: Terminal, plan: PlanRecord) -> None:
    """Each kind of attention that has a plugin: as it was compiled, and as a plugin's kernel would do it."""
    nodes, modelled = plan.plugins.nodes_along, plan.plugins.modelled
    if modelled is not None:
        terminal.say(f"plugins    nodes along {' and '.join(nodes)}: the graph around them was compiled; their kernels")
        terminal.say(f"           are modelled: {_kernels(modelled)}")
    elif nodes and plan.builder == "rtx":
        terminal.say(
            f"plugins    nodes along {' and '.join(nodes)}; TensorRT for RTX takes no plugins: what was compiled "
            "is their function of standard operators"
        )
    for cost in plan.plugins.attentions:
        form = "node's function" if cost.along in nodes and plan.builder == "rtx" else "compiled"
        better = "--plugins auto takes the plugin" if cost.plugin_is_better else "--plugins auto leaves it decomposed"
        terminal.say(
            f"plugin     {cost.module}, {cost.attentions} of them, bound {megabytes(cost.bound_bytes)}: {better}"
        )
        terminal.say(f"           {form}: {_kernels(cost.compiled)}")
        terminal.say(f"           plugin, modelled: {_kernels(cost.plugin)}")


def _kernels(one: KernelTotals) -> str:
    least = "" if one.least_ms is None else f", at least {one.least_ms:.3f} ms"
    return f"{one.kernels} kernels, {megabytes(one.moved_bytes)}, {one.flops / 1e9:.2f} GFLOP{least}"


def _say_bound(terminal: Terminal, plan: PlanRecord, read: Audit) -> None:
    card = read.card
    if card is None or plan.least_ms is None:
        why = f"no data sheet for {plan.target} in our table" if plan.target else "give the GPU with --target"
        terminal.say(f"bound      none: {why}")
        return
    limited = sum(one.limited_by == "memory" for one in read.kernels)
    rate = card.flops_per_s.get(plan.precision, 0.0)
    terminal.say(
        f"bound      at least {plan.least_ms:.3f} ms on a {card.name}, were each kernel as fast as the data sheet "
        f"({card.bytes_per_s / 1e9:,.0f} GB/s, {rate / 1e12:,.0f} TFLOPS {plan.precision}) and no tensor kept in a "
        f"cache: a bound, not a measurement; memory limits {limited} of {plan.kernels} kernels"
    )


def _say_table(terminal: Terminal, plan: GraphPlan, by: str) -> None:
    terminal.say()
    groups = plan.audit.groups(by)
    width = _width(group.name for group in groups)
    terminal.say(f"{by:<{width}}{'kernels':>8}{'MB':>11}{'GFLOP':>10}{'bound ms':>10}", style="bold")
    for group in groups:
        bound = "" if group.least_ms is None else f"{group.least_ms:.3f}"
        work = f"{group.flops / 1e9:.2f}" if group.flops else ""
        moved = f"{group.moved_bytes / 1e6:,.2f}"
        terminal.say(f"{group.name:<{width}}{group.kernels:>8}{moved:>11}{work:>10}{bound:>10}")
    terminal.say()


def _say_difference(
    terminal: Terminal, rows: Sequence[dict[str, Any]], theirs: GraphPlan, other: Path, by: str
) -> None:
    terminal.say()
    terminal.say(f"against    {other}, {theirs.record.precision or 'no products'}{_sizes(theirs.record)}")
    head = f"{'kernels':>8}{'other':>8}{'':>7}{'MB':>11}{'other':>11}{'':>11}{'GFLOP':>9}{'other':>9}"
    width = _width(row["name"] for row in rows)
    terminal.say(f"{by:<{width}}{head}", style="bold")
    for row in rows:
        more = row["kernels"] - row["other_kernels"]
        moved, base = row["moved_bytes"] / 1e6, row["other_moved_bytes"] / 1e6
        terminal.say(
            f"{row['name']:<{width}}{row['kernels']:>8}{row['other_kernels']:>8}{more:>+7}"
            f"{moved:>11,.2f}{base:>11,.2f}{moved - base:>+11,.2f}"
            f"{row['flops'] / 1e9:>9.2f}{row['other_flops'] / 1e9:>9.2f}"
        )
    terminal.say()


def _width(names: Iterable[str]) -> int:
    return max(_NAME_CHARS, *(len(name) + 1 for name in names))


def _say_kernels(terminal: Terminal, kernels: Sequence[KernelFacts]) -> None:
    for index, one in enumerate(kernels):
        work = f", {one.flops / 1e9:.3f} GFLOP in {one.runs_in}" if one.flops else ""
        bound = "" if one.least_s is None else f", at least {one.least_s * 1e6:.1f} us ({one.limited_by})"
        terminal.say(f"{index:>5}  {one.kind:<10} {one.module}: {megabytes(one.moved_bytes)}{work}{bound}")
        terminal.say(f"{'':>18}{one.kernel.name} ({one.kernel.kind}): {', '.join(one.kernel.nodes) or 'no ONNX node'}")
    terminal.say()


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f} MB"
