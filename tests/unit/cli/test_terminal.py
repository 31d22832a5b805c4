"""What the user sees, and where."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ftsf_export.cli.terminal import STYLES, Terminal
from ftsf_export.control_characters import shown, shown_in_json
from ftsf_export.verdict import Measure, Status, Subject, Verdict


def verdict(status: Status) -> Verdict:
    good = Measure(output="logits", metric="cosine", value=0.9999)
    kept = Measure(output="logits", metric="rel_l2", value=1e-3, limit=0.01, worst_index=(0, 2))
    bad = Measure(output="blocks.0.mlp", metric="rel_l2", value=0.5, limit=0.01, worst_index=(1, 7))
    return Verdict(
        gate="parity.fp16-emulated",
        status=status,
        subject=Subject("model.onnx", "0" * 64),
        reason="" if status is Status.PASSED else "because",
        proxy_for="fp16 on a GPU",
        measures=(good, kept) if status is Status.PASSED else (good, bad),
    )


def test_only_passed_is_green() -> None:
    assert {status for status, style in STYLES.items() if "green" in style} == {Status.PASSED}
    assert set(STYLES) == set(Status)


def test_a_failed_verdict_shows_the_measure_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().verdict(verdict(Status.FAILED))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "failed  parity.fp16-emulated (a proxy for fp16 on a GPU): because"
    assert [line.strip() for line in lines[1:]] == ["blocks.0.mlp: rel_l2 0.5, limit at most 0.01, worst at [1, 7]"]


def test_a_passed_verdict_shows_the_first_limit_kept(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().verdict(verdict(Status.PASSED))
    said = "logits: rel_l2 0.001, limit at most 0.01, worst at [0, 2]"
    out = capsys.readouterr().out.strip()
    assert out == f"passed  parity.fp16-emulated (a proxy for fp16 on a GPU): {said}"


def test_all_measures_when_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(verbose=True).verdict(verdict(Status.PASSED))
    assert "logits: cosine 1" in capsys.readouterr().out


def test_long_lines_and_brackets_survive_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    line = "/a/path/[red]" + "x" * 300
    Terminal().say(line)
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        ([], (False, False, False)),
        (["--json", "-q"], (True, True, False)),
        (["-vq"], (False, True, True)),
        (["--", "--json", "-v"], (False, False, False)),
    ],
)
def test_flags_from_raw_arguments(args: list[str], flags: tuple[bool, bool, bool]) -> None:
    terminal = Terminal.from_args(args)
    assert (terminal.as_json, terminal.quiet, terminal.verbose) == flags


def test_progress_away_from_a_terminal_is_a_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal().progress() as on_progress:
        for fraction in (0.0, 0.5, 1.0):
            on_progress("tracing", fraction)
            on_progress(f"building: phase {fraction}", fraction)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["tracing", "building"]


def test_progress_is_silent_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(quiet=True).progress() as on_progress:
        on_progress("tracing", 0.5)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_a_bar_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    terminal = Terminal()
    monkeypatch.setattr(terminal, "_err", Console(file=screen, force_terminal=True, width=80))
    with terminal.progress() as on_progress:
        on_progress("tracing [x]", 0.25)
        on_progress("building", None)
    assert "building" in screen.getvalue()
    assert capsys.readouterr() == ("", "")


def test_json_takes_what_the_stages_give(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    terminal.record(
        a=np.float32(0.5), b=(1, np.int64(2)), c=float("-inf"), d=Status.FAILED, e=Path("x/y"), f={1: None}, g="ü"
    )
    terminal.close(0)
    line = capsys.readouterr().out
    assert json.loads(line) == {
        "a": 0.5, "b": [1, 2], "c": "-inf", "d": "failed", "e": "x/y", "f": {"1": None}, "g": "ü", "exit_code": 0,
    }  # fmt: skip
    assert "ü" in line


HOSTILE = "a\x1b[2J\x1b]0;owned\x07\r\n      passed  parity\x9b1m\u202edessap\u2028b"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]")


def test_text_of_a_stranger_is_one_line_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(verbose=True)
    terminal.say(HOSTILE)
    terminal.note(HOSTILE)
    terminal.warn(HOSTILE)
    terminal.error(HOSTILE, details=HOSTILE)
    with terminal.progress() as on_progress:
        on_progress(HOSTILE, None)
    terminal.verdict(replace(verdict(Status.FAILED), gate=HOSTILE, reason=HOSTILE, proxy_for=HOSTILE))
    out, err = capsys.readouterr()
    assert not CONTROL.search(out + err)
    # The verdict has a second line of its own, and the details of an error keep their lines.
    assert [len(out.splitlines()), len(err.splitlines())] == [1 + 3, 4 + 2]
    assert out.splitlines()[0] == (r"a\x1b[2J\x1b]0;owned\x07\r\n      passed  parity\x9b1m\u202edessap\u2028b")


def test_results_come_above_the_bar_and_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bar's line is erased before each of them; rich would send stdout itself to where the bar is."""
    screen, terminal = io.StringIO(), Terminal()
    monkeypatch.setattr(terminal, "_err", Console(file=screen, force_terminal=True, width=80))
    with terminal.progress(above=True) as on_progress:
        for number in range(3):
            before = screen.getvalue()
            terminal.line(f'{{"a": {number}}}')
            assert screen.getvalue() == before + "\r\x1b[2K"
            on_progress("classify", number / 3)
        terminal.warn("one more thing")
    assert "\r\x1b[2K\x1b[1;33mwarning:" in screen.getvalue()
    ended = screen.getvalue()
    terminal.say("done")
    assert screen.getvalue() == ended
    assert capsys.readouterr().out == '{"a": 0}\n{"a": 1}\n{"a": 2}\ndone\n'


def test_a_bar_shows_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Terminal()
    monkeypatch.setattr(terminal, "_err", Console(file=screen, force_terminal=True, width=80))
    with terminal.progress() as on_progress:
        on_progress("a\x1b]0;owned\x07", 0.25)
    assert "\x1b]0" not in screen.getvalue()
    assert r"\x1b]0;owned\x07" in screen.getvalue()


def test_json_is_one_line_that_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    terminal.record(label=HOSTILE, half="\ud800")
    terminal.close(0)
    out = capsys.readouterr().out
    assert not CONTROL.search(out)
    assert len(out.splitlines()) == 1
    assert json.loads(out) == {"label": HOSTILE, "half": "\ud800", "exit_code": 0}


@pytest.mark.parametrize("hidden", ["\u00ad", "\u034f", "\u115f", "\u3164", "\u180e", "\U000e0041", "\ud800", "\x1b"])
def test_what_cannot_be_seen_is_shown_and_means_the_same_in_json(hidden: str) -> None:
    assert hidden not in shown(f"a{hidden}b")
    assert "\\" in shown(f"a{hidden}b")
    line = shown_in_json(json.dumps(f"a{hidden}b", ensure_ascii=False))
    assert line.isascii()
    assert json.loads(line) == f"a{hidden}b"
