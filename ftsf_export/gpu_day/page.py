"""A day as one Markdown page. It shows what was told and nothing else: what was not run has a reason and no figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ftsf_export.gpu_day.day import DONE, NOT_RUN, Day, Outcome, Row

_MOST_LAYERS = 15


def page(day: Day) -> str:
    """The whole page, as far as the day has come."""
    machine = next(iter(day.rows("machine")), {})
    lines = [f"# {_title(day, machine)}", ""]
    if day.rehearsal:
        lines += ["This is a rehearsal at small sizes. No figure below is a measurement.", ""]
    if day.gpu_problem:
        lines += [
            f"There is no GPU: {day.gpu_problem}. Nothing below was run on one, and no figure below is of one.",
            "",
        ]
    for section, outcomes in day.sections.values():
        lines += [f"## {section.title}", ""]
        if section.needs_gpu and day.gpu_problem:
            lines += [f"Not run. A GPU would have added: {section.adds}", ""]
            lines += [*(f"- {outcome.title}" for outcome in outcomes), ""]
            continue
        lines += [*_TABLES[section.name]([row for outcome in outcomes for row in outcome.rows], machine), ""]
        if said := [_sentence(outcome) for outcome in outcomes if outcome.status != DONE]:
            lines += [*said, ""]
    return "\n".join(lines)


def _title(day: Day, machine: Row) -> str:
    gpu = machine.get("gpu")
    if day.rehearsal:
        return "Rehearsal of the first hour on a GPU"
    return "The first hour on a GPU, without one" if gpu is None else f"The first hour on {gpu['name']}"


def _sentence(outcome: Outcome) -> str:
    how = outcome.status if outcome.status == NOT_RUN else f"{outcome.status} after {outcome.seconds:g} s"
    return f"- {outcome.title}: {how}: {' '.join(outcome.reason.split())}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """None where there is no row."""
    written = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return [*head, *(f"| {row} |" for row in written)] if written else []


def _figure(value: float | None, form: str = ".4g") -> str:
    return "-" if value is None else format(value, form)


def _share(bound_ms: float | None, ms: float | None) -> str:
    """How much of what the data sheet allows was reached."""
    return "-" if bound_ms is None or not ms else f"{bound_ms / ms:.0%}"


def _right(row: Row) -> str:
    return {True: "yes", False: "**no**"}.get(row.get("right", True), "-")


def _machine(rows: Sequence[Row], _: Row) -> list[str]:
    lines = []
    for row in rows:
        gpu, card = row["gpu"], row["card"]
        if gpu is not None:
            memory = f"{gpu['memory_bytes'] / 2**30:.1f} GiB"
            lines.append(f"- GPU: {gpu['name']}, compute capability {gpu['capability']}, {memory}")
            lines.append(
                f"- driver {gpu['driver_version'] or 'of unknown version'}, CUDA {gpu['cuda_version']} at most"
            )
            lines.append(
                f"- bounds: those of the data sheet of {card['name']}, {card['bytes_per_s'] / 1e9:,.0f} GB/s"
                if card is not None
                else f"- bounds: none. {gpu['name']} is not in the table of data sheets (`ftsf_export/engine/cards.py`)"
            )
        packages = ", ".join(f"{name} {version}" for name, version in row["packages"].items())
        lines += [f"- Python {row['python']}, {row['system']}", f"- packages: {packages or 'none'}"]
    return lines


def _doctor(rows: Sequence[Row], _: Row) -> list[str]:
    lines: list[str] = []
    for row in rows:
        lines += [f"- {problem}" for problem in (*row["problems"], *row["warnings"])]
        lacking = [command["command"] for command in row["commands"] if not command["ready"]]
        lines.append(f"- commands that lack something here: {', '.join(lacking) or 'none'}")
    return lines


def _kernels(rows: Sequence[Row], machine: Row) -> list[str]:
    card = machine.get("card")

    def bound_ms(row: Row) -> float | None:
        if card is None or row["worst"] is None:
            return None
        memory, work = row["bound_bytes"] / card["bytes_per_s"], row["flops"] / card["flops_per_s"][row["element"]]
        return float(max(memory, work) * 1e3)

    return _table(
        ("operation", "along", "type", "code", "error", "at most", "right", "ms", "bound", "share", "GB/s", ""),
        (
            (row["operation"], row["along"], row["element"], row["code"], _figure(row["worst"], ".1e"), row["limit"],
             _right(row), _figure(row["ms"]), _figure(bound_ms(row)), _share(bound_ms(row), row["ms"]),
             _figure(row["bound_bytes"] / row["ms"] / 1e6 if row["ms"] else None, ",.0f"), row["problem"])
            for row in rows
        ),
    )  # fmt: skip


def _models(rows: Sequence[Row], _: Row) -> list[str]:
    return _table(
        ("attention", "precision", "how", "error", "right", "ms", "kernels that take most of it (ms)"),
        (
            (row["attn"], row["precision"], row["how"], _figure(row["error"], ".1e"), _right(row), _figure(row["ms"]),
             ", ".join(f"{one['name'][:40]} {one['ms']:.3f}" for one in row["kernels"][:3]))
            for row in rows
        ),
    )  # fmt: skip


def _engines(rows: Sequence[Row], _: Row) -> list[str]:
    lines = _table(
        ("bundle", "gate", "file", "status", "reason"),
        ((row["bundle"], row["gate"], row["file"], row["status"], row["reason"]) for row in rows if "gate" in row),
    )
    lines += ["", *_table(
        ("bundle", "measured on", "p50 ms", "GPU p50 ms", "clips/s", ""),
        (
            (row["bundle"], row["heading"], _figure(row["p50_ms"]), _figure(row["gpu_p50_ms"]),
             _figure(row["clips_per_s"]), "; ".join(row["notes"]))
            for row in rows if "heading" in row
        ),
    )]  # fmt: skip
    for row in rows:
        if "layers" in row:
            lines += ["", *_layers(row)]
    return lines


def _layers(row: Row) -> list[str]:
    table = _table(
        ("layer", "module", "ms", "bound ms", "bound/measured", "limited by"),
        (
            (one["layer"][:60], one["module"], _figure(one["ms"]), _figure(one["bound_ms"]),
             _share(one["bound_ms"], one["ms"]), one["limited_by"])
            for one in row["layers"][:_MOST_LAYERS]
        ),
    )  # fmt: skip
    lost = f"{row['not in the plan']} of {len(row['layers'])} have no kernel of their name in the plan."
    return [f"{row['bundle']}: its slowest layers, beside what {row['planned by']} plans. {lost}", "", *table]


_TABLES: dict[str, Callable[[Sequence[Row], Row], list[str]]] = {
    "machine": _machine, "doctor": _doctor, "kernels": _kernels, "models": _models, "engines": _engines,
}  # fmt: skip
