"""From a command line to an exit code, one line, and JSON."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from ftsf_export.cli.main import COMMANDS, ftsf, run
from ftsf_export.cli.options import ftsf_command
from ftsf_export.cli.terminal import Terminal
from ftsf_export.errors import BuildError, ConfigError, EnvironmentLacks, FtsfError, GateFailed, OutOfMemory, VideoError

Command = Callable[[Callable[[Terminal], None]], click.Command]


@pytest.fixture
def command() -> Command:
    def make(body: Callable[[Terminal], None]) -> click.Command:
        @ftsf_command("try")
        @click.option("--number", type=int)
        def tried(terminal: Terminal, number: int | None) -> None:
            del number
            body(terminal)

        return tried

    return make


def raising(error: BaseException) -> Callable[[Terminal], None]:
    def body(_terminal: Terminal) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (GateFailed("logits: rel_l2 0.3, limit 0.01"), 1, "error: logits: rel_l2 0.3, limit 0.01"),
        (VideoError("a.mp4: too short"), 2, "error: a.mp4: too short"),
        (EnvironmentLacks("no PyAV", install="pip install av"), 3, "error: no PyAV; install it with: pip install av"),
        (BuildError("first\n  second"), 4, "error: first second"),
        (OSError(errno.ENOSPC, "disk full", "/x"), 2, "error: /x: cannot be written or read: disk full"),
        (KeyboardInterrupt(), 130, "error: interrupted; nothing half-written was left behind"),
    ],
)  # fmt: skip
def test_each_error_is_one_line_and_its_code(
    command: Command, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert run(command(raising(error)), [], "try") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == line


def test_memory_is_for_who_has_some_to_say(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OutOfMemory):
        run(command(raising(MemoryError())), [], "try")
    assert capsys.readouterr().err == ""


def test_what_a_library_logs_is_a_remark(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Python's own handler would print it as it is: onnx-ir warns of names that a graph has."""

    def body(_terminal: Terminal) -> None:
        library = logging.getLogger("a library")
        # Past the handler with which pytest listens.
        library.propagate = False
        library.warning("Input '%s' cannot be found", "\u202e\x1b[2J")

    assert run(command(body), [], "try") == 0
    assert capsys.readouterr().err == "Input '\\u202e\\x1b[2J' cannot be found\n"
    assert run(command(body), ["-q"], "try") == 0
    assert capsys.readouterr().err == ""


def test_every_wrong_field_has_its_line(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(raising(ConfigError(["frames: got 0", "size: got 225"]))), [], "try") == 2
    assert capsys.readouterr().err.splitlines() == ["error: frames: got 0", "error: size: got 225"]


def test_a_bug_keeps_its_traceback_and_exits_70(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(raising(ZeroDivisionError("x"))), ["--json"], "try") == 70
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "please report it" in captured.err
    assert json.loads(captured.out) == {"error": "ZeroDivisionError: x", "exit_code": 70}


@pytest.mark.parametrize(("flags", "shown"), [([], False), (["-v"], True), (["--verbose"], True), (["-qv"], True)])
def test_details_are_for_verbose(
    command: Command, capsys: pytest.CaptureFixture[str], flags: list[str], shown: bool
) -> None:
    body = raising(BuildError("refused", details="line 1\nline 2 of the log"))
    assert run(command(body), flags, "try") == 4
    assert ("line 2 of the log" in capsys.readouterr().err) is shown


def test_json_is_the_last_line_and_alone_on_stdout(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    def body(terminal: Terminal) -> None:
        terminal.record(path=Path("a"), worst=float("nan"))
        terminal.say("a result")
        terminal.note("a remark")

    assert run(command(body), ["--json"], "try") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert json.loads(captured.out) == {"path": "a", "worst": "nan", "exit_code": 0}
    assert captured.err.splitlines() == ["a result", "a remark"]


def test_json_keeps_the_facts_when_an_error_follows(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    def body(terminal: Terminal) -> None:
        terminal.record(bundle="out")
        raise GateFailed("no")

    assert run(command(body), ["--json"], "try") == 1
    assert json.loads(capsys.readouterr().out) == {"bundle": "out", "error": "no", "exit_code": 1}


@pytest.mark.parametrize("args", [["--nmber", "3"], ["--number", "three"], ["--number"], ["extra"]])
def test_wrong_usage_is_2_and_one_line_also_in_json(
    command: Command, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    tried = command(lambda _terminal: None)
    assert run(tried, args, "try") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert run(tried, ["--json", *args], "try") == 2
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)) == {"error", "exit_code"}
    assert json.loads(captured.out)["exit_code"] == 2


def test_no_command_and_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ftsf, [], "ftsf") == 2
    listed = capsys.readouterr().err
    assert all(name in listed for name in COMMANDS)
    assert run(ftsf, ["serve"], "ftsf") == 2
    assert "got 'serve'" in capsys.readouterr().err


def test_help_lists_every_command_and_each_has_the_terminal_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ftsf, ["--help"], "ftsf") == 0
    listing = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in listing
        assert run(ftsf, [name, "--help"], "ftsf") == 0
        text = capsys.readouterr().out
        assert all(option in text for option in ("--json", "-q, --quiet", "-v, --verbose"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from ftsf_export import __version__

    assert run(ftsf, ["--version"], "ftsf") == 0
    assert capsys.readouterr().out == f"ftsf-export {__version__}\n"


def test_ftsf_export_is_ftsf_export() -> None:
    said: list[str] = []
    for program in (["ftsf", "export"], ["ftsf-export"]):
        found = Path(sys.executable).with_name(program[0])
        ended = subprocess.run(
            [found, *program[1:], "--frames", "0", "--size", "225"], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        said.append(ended.stderr)
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 2


def test_a_reader_that_went_away_is_no_bug(tmp_path: Path) -> None:
    """``ftsf doctor --json | true``: the pipe is closed before the line is written."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "ftsf_export.cli", "info", str(tmp_path / "nothing"), "--json"],
            stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert ended.returncode == 141
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


def test_every_class_of_error_has_an_exit_code_of_the_product() -> None:
    def tree(kind: type[FtsfError]) -> set[type[FtsfError]]:
        return {kind}.union(*(tree(child) for child in kind.__subclasses__()))

    codes: dict[str, Any] = {kind.__name__: kind.exit_code for kind in tree(FtsfError) - {FtsfError}}
    assert set(codes.values()) == {1, 2, 3, 4}
