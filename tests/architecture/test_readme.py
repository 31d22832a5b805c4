"""What README and docs/ say is so: options, targets, gates, commands, exit codes, links, and the Python sample."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ftsf_export.cli.main import COMMANDS, ftsf
from ftsf_export.cli.supervised import ENDINGS
from ftsf_export.engine.targets import TARGETS
from ftsf_export.errors import EXIT_BUG, FtsfError
from ftsf_export.network import gates
from ftsf_export.network.gates import Gate
from ftsf_export.precision import PRECISIONS, offered

ROOT = Path(__file__).parents[2]
# Options of others that the pages name: click's own, those of scripts, of Python's venv and build, and of trtexec,
# whose names have capitals.
OTHERS_OPTIONS = {
    "--standalone",
    "--nproc-per-node",
    "--help",
    "--sweep",
    "--bundle",
    "--system-site-packages",
    "--export",
    "--profiling",
    "--shapes",
}
OTHERS_OPTIONS |= {"--wheel", "--count", "--interruptions", "--lengths", "--mechanisms"}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options_of(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def commands() -> dict[str, click.Command]:
    context = click.Context(ftsf)
    found = {name: ftsf.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading of a page in docs/, without its head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    body = re.search(r"^\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert body is not None, f"{page}: no table below {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body[1].splitlines()]


def every_gate() -> list[Gate]:
    here = [gates.PARITY_HUGGINGFACE, gates.PARITY_ORIGINAL, gates.WEIGHTS, gates.LABELS]
    each = [PRECISIONS[name] for name in offered()]
    here += [gate(precision) for precision in each for gate in (gates.parity_graph, gates.agreement_graph)]
    engines = (gates.parity_engine, gates.engine_types, gates.plan_types, gates.plan_work, gates.plan_attentions)
    return here + [gate("BUILDER", "TARGET") for gate in engines]


def test_every_option_named_is_one_of_the_commands() -> None:
    known = set.union(*(options_of(command) for command in commands().values()))
    for text in (README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
        assert named - OTHERS_OPTIONS <= known


def test_the_page_of_options_has_each_of_the_export_once_with_its_default() -> None:
    tables = [
        row
        for heading in ("model", "graph", "engine", "proof", "output")
        for row in rows("options.md", f"The {heading}")
    ]
    flags = [(flag, row[1]) for row in tables for flag in re.findall(r"`(--?[a-z-]+)`", row[0])]
    said = dict(flags)
    export = commands()["export"]
    assert sorted(flag for flag, _ in flags) == sorted(options_of(export))
    for parameter in export.params:
        if isinstance(parameter, click.Option) and parameter.show_default and not parameter.is_flag:
            assert said[parameter.opts[0]] == str(parameter.default), parameter.name


def test_the_page_of_predict_has_each_of_its_options_once_with_its_default() -> None:
    command = commands()["predict"]
    said = {flag: row[1] for row in rows("predict.md", "Options") for flag in re.findall(r"`(--?[a-z-]+)`", row[0])}
    assert sorted(said) == sorted(options_of(command) - {"sources", "bundle"})
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.show_default and not parameter.is_flag:
            assert said[parameter.opts[0]] == str(parameter.default), parameter.name


def test_the_page_of_options_has_every_target() -> None:
    named = [target for target in TARGETS.values() if not target.name.startswith("sm_")]
    assert rows("options.md", "Targets") == [
        [f"`{one.name}`", one.title, ", ".join(one.capabilities), ", ".join(one.builders)] for one in named
    ]


def test_the_page_of_gates_has_the_limits_of_every_precision() -> None:
    said = [(name, float(limit), least) for name, limit, least in rows("gates.md", "Limits by precision")]
    proofs = {name: PRECISIONS[name].judged for name in offered()}
    assert said == [(name, proof.rel_l2, f"{proof.least_top1 * 100:g} %") for name, proof in proofs.items()]


def test_the_page_of_gates_has_every_gate() -> None:
    said = " ".join(row[0] for row in rows("gates.md", "The gates"))
    for gate in every_gate():
        assert f"`{gate.name}`" in said


def test_every_command_named_exists_and_each_is_named() -> None:
    named = set(re.findall(r"^ftsf ([a-z]+)", README, re.MULTILINE))
    assert named <= set(COMMANDS)
    assert {name for name in COMMANDS if f"ftsf {name}" not in README} == set()


def test_exit_codes_are_the_classes() -> None:
    said = README.split("Exit codes:")[1].split("\n\n")[0]
    codes = {int(code) for code in re.findall(r"(?:^|; )\s*(\d+) ", said.replace("\n", " "))}
    assert codes == {0, EXIT_BUG, *ENDINGS, *(kind.exit_code for kind in FtsfError.__subclasses__())}


def test_links_and_scripts_are_there() -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    for page, text in pages.items():
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    for script in {name for text in pages.values() for name in re.findall(r"scripts/[a-z-]+", text)}:
        assert (ROOT / script).is_file(), script


def test_the_python_sample_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(found[1], "README.md", "exec"), {})
    assert capsys.readouterr().out == found[2]


def test_the_page_of_failed_gates_has_every_gate() -> None:
    text = (ROOT / "docs" / "failed-gate.md").read_text(encoding="utf-8")
    headings = ", ".join(re.findall(r"^## (.*)$", text, re.MULTILINE)).split(", ")
    assert {gate.name for gate in every_gate()} <= set(headings)
