"""What README says is so: options, commands, exit codes, links, and the Python sample, which runs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ftsf_export.cli.main import COMMANDS, ftsf
from ftsf_export.errors import EXIT_BUG, FtsfError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def options_of(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def commands() -> dict[str, click.Command]:
    context = click.Context(ftsf)
    found = {name: ftsf.get_command(context, name) for name in COMMANDS}
    return {name: command for name, command in found.items() if command is not None}


def test_every_option_named_is_one_of_the_commands() -> None:
    known = set.union(*(options_of(command) for command in commands().values()))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known


def test_every_option_of_the_export_is_named() -> None:
    unnamed = {flag for flag in options_of(commands()["export"]) if flag not in README}
    assert unnamed <= {"--quiet", "--verbose"}


def test_every_command_named_exists_and_each_is_named() -> None:
    named = set(re.findall(r"^ftsf ([a-z]+)", README, re.MULTILINE))
    assert named <= set(COMMANDS)
    assert {name for name in COMMANDS if f"ftsf {name}" not in README} == set()


def test_exit_codes_are_the_classes() -> None:
    said = README.split("Exit codes:")[1].split("\n\n")[0]
    codes = {int(code) for code in re.findall(r"(?:^|; )\s*(\d+) ", said.replace("\n", " "))}
    assert codes == {0, EXIT_BUG, *(kind.exit_code for kind in FtsfError.__subclasses__())}


def test_links_and_scripts_are_there() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    texts = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    for script in {name for text in texts for name in re.findall(r"scripts/[a-z-]+", text)}:
        assert (ROOT / script).is_file(), script


def test_the_python_sample_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(found[1], "README.md", "exec"), {})
    assert capsys.readouterr().out == found[2]
