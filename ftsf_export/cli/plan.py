"""``ftsf plan BUNDLE``: what a compiler makes of its graph, kernel by kernel, with no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ftsf_export.cli.options import bundle_argument, ftsf_command, usual_batch_option
from ftsf_export.cli.terminal import Terminal
from ftsf_export.plan_record import VIEWS
from ftsf_export.precision import FP32
from ftsf_export.strict_json import plain

if TYPE_CHECKING:
    from ftsf_export.engine.audit import Audit, KernelFacts
    from ftsf_export.engine.graph_plan import GraphPlan
    from ftsf_export.plan_record import KernelTotals, PlanRecord

_NAME_CHARS = 44


@ftsf_command("plan")
@bundle_argument
@click.option(
    "--target", default="", metavar="NAME", help="Machine to compile for.  [default: the bundle's, or rtx-30]"
)
@usual_batch_option
@click.option("--by", type=click.Choice(VIEWS), default="kind", show_default=True, help="Rows of the table.")
@click.option(
    "--diff",
    "other",
    type=click.Path(path_type=Path),
    metavar="OTHER_BUNDLE",
    help="Compile this one too, and tell the differences.",
)
def command(terminal: Terminal, bundle: Path, target: str, batch: int | None, by: str, other: Path | None) -> None:
    """Compile BUNDLE for a target and say what became of it: kernels, bytes, work, fused attentions, least time.

    Nothing is run and nothing is written. Exits 1 when a gate fails: an attention that did not become one kernel, or
    work in another precision than asked for. With -v every kernel is listed.
    """
    from ftsf_export.engine.graph_plan import difference
    from ftsf_export.pipeline.plan_bundle import plan
    from ftsf_export.verdict import raise_for_failed

    with terminal.progress() as on_progress:
        mine = plan(bundle, target=target, batch=batch, on_progress=on_progress)
        theirs = None
        if other is not None:
            theirs = plan(other, target=mine.record.target, batch=batch, on_progress=on_progress)
    kernels = [one.as_dict() for one in mine.audit.kernels]
    terminal.record(bundle=bundle, plan={**plain(mine.record), "kernel_list": kernels}, verdicts=plain(mine.verdicts))
    _say_plan(terminal, bundle, mine.record, mine.audit)
    if theirs is None:
        _say_table(terminal, mine, by)
    elif other is not None:
        rows = difference(mine.audit, theirs.audit, by)
        terminal.record(other_bundle=other, other_plan=plain(theirs.record), difference=rows)
        _say_difference(terminal, rows, theirs, other, by)
    if terminal.verbose:
        _say_kernels(terminal, mine.audit.kernels)
    for verdict in mine.verdicts:
        terminal.verdict(verdict)
    terminal.say(f"trtexec    inside the bundle, on the target: {mine.record.trtexec}")
    raise_for_failed(mine.verdicts)


def _say_plan(terminal: Terminal, bundle: Path, plan: PlanRecord, read: Audit) -> None:
    terminal.say(
        f"plan       {bundle}, {plan.precision}, batch {plan.batch}; {plan.builder} {plan.builder_version} "
        f"for {plan.target} (compute capability {', '.join(plan.compiled_for)})"
    )
    if plan.proxy:
        terminal.say(
            f"proxy      {plan.proxy}: figures stand in for {plan.target}, whose own may differ", style="yellow"
        )
    kinds = ", ".join(f"{group.kernels} {group.name}" for group in plan.by_kind)
    terminal.say(f"kernels    {plan.kernels}: {kinds}")
    terminal.say(f"moved      {megabytes(plan.moved_bytes)}: inputs, constants and outputs of each kernel as listed")
    by_type = ", ".join(f"{flops / plan.gemm_flops:.1%} in {dtype}" for dtype, flops in read.flops_by_type().items())
    terminal.say(f"products   {plan.gemm_flops / 1e9:,.2f} GFLOP: {by_type or 'none'}")
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


def _say_attentions(terminal: Terminal, plan: PlanRecord) -> None:
    if not plan.attentions_at_batch:
        terminal.say(f"attention  {plan.fused_attentions} fused kernels; none is expected of this graph")
    for one in plan.attentions_at_batch:
        at = f" at batch {one.batch}" if len(plan.attentions_at_batch) > 1 else ""
        terminal.say(f"attention  {one.expected - len(one.unfused)} of {one.expected} became one kernel{at}")
        for module in one.unfused:
            terminal.say(f"           not fused{at}: {module}", style="red")


def _say_plugins(terminal: Terminal, plan: PlanRecord) -> None:
    """Each kind of linear attention: as it was compiled, and as a plugin's kernel would do it."""
    nodes = plan.plugins.nodes_along
    if nodes and plan.builder == "rtx":
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
        terminal.say(f"bound      none: no data sheet for {plan.target} in our table")
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
    terminal.say(f"{by:<{_NAME_CHARS}}{'kernels':>8}{'MB':>11}{'GFLOP':>10}{'bound ms':>10}", style="bold")
    for group in plan.audit.groups(by):
        bound = "" if group.least_ms is None else f"{group.least_ms:.3f}"
        work = f"{group.flops / 1e9:.2f}" if group.flops else ""
        moved = f"{group.moved_bytes / 1e6:,.2f}"
        terminal.say(f"{group.name:<{_NAME_CHARS}}{group.kernels:>8}{moved:>11}{work:>10}{bound:>10}")
    terminal.say()


def _say_difference(
    terminal: Terminal, rows: Sequence[dict[str, Any]], theirs: GraphPlan, other: Path, by: str
) -> None:
    terminal.say()
    terminal.say(f"against    {other}, {theirs.record.precision}, batch {theirs.record.batch}")
    head = f"{'kernels':>8}{'other':>8}{'':>7}{'MB':>11}{'other':>11}{'':>11}{'GFLOP':>9}{'other':>9}"
    terminal.say(f"{by:<{_NAME_CHARS}}{head}", style="bold")
    for row in rows:
        more = row["kernels"] - row["other_kernels"]
        moved, base = row["moved_bytes"] / 1e6, row["other_moved_bytes"] / 1e6
        terminal.say(
            f"{row['name']:<{_NAME_CHARS}}{row['kernels']:>8}{row['other_kernels']:>8}{more:>+7}"
            f"{moved:>11,.2f}{base:>11,.2f}{moved - base:>+11,.2f}"
            f"{row['flops'] / 1e9:>9.2f}{row['other_flops'] / 1e9:>9.2f}"
        )
    terminal.say()


def _say_kernels(terminal: Terminal, kernels: Sequence[KernelFacts]) -> None:
    for index, one in enumerate(kernels):
        work = f", {one.flops / 1e9:.3f} GFLOP in {one.runs_in}" if one.flops else ""
        bound = "" if one.least_s is None else f", at least {one.least_s * 1e6:.1f} us ({one.limited_by})"
        terminal.say(f"{index:>5}  {one.kind:<10} {one.module}: {megabytes(one.moved_bytes)}{work}{bound}")
        terminal.say(f"{'':>18}{one.kernel.name} ({one.kernel.kind}): {', '.join(one.kernel.nodes) or 'no ONNX node'}")
    terminal.say()


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.2f} MB"
