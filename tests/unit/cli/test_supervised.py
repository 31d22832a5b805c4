"""Ctrl-C, SIGTERM and sudden deaths: one line, the exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsf_export.cli.supervised import _STOPS_WITHIN_S
from ftsf_export.disk import remove_abandoned, scratch_folder

# The work of ``ftsf info`` is what the test says, inside folders as an export holds them.
PROGRAM = """
import os, signal, sys, time, click
from ftsf_export.bundle import BundleWriter
from ftsf_export.cli import main as entry
from ftsf_export.disk import scratch_folder

@click.command("info", context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1)
def command(rest):
    with BundleWriter("made") as writer, scratch_folder("ftsf-build-") as folder:
        (writer.path / "model.onnx").write_bytes(b"half")
        (folder / "half.engine").write_bytes(b"half")
        print("at work", file=sys.stderr, flush=True)
        {work}

entry.Commands.get_command = lambda *_: command
entry.main()
"""
# A number of a hundred million digits: native code that holds the interpreter.
NATIVE = "print('loud', flush=True); (10 ** 10 ** 8) ** 7"
SWALLOWED = """
        while True:
            try:
                time.sleep(60)
            except BaseException as error:
                print(f"\\x1b[31mtorch failed to export: {error!r}", file=sys.stderr)
"""
ENDED_BY_ITSELF = "time.sleep(60)"
# Not ended by us, each of these works for a minute and more; a busy machine is given longer than the two seconds.
PATIENCE_S = 10


def test_the_kill_leaves_time_to_clean_up_within_two_seconds() -> None:
    assert _STOPS_WITHIN_S <= 1.5


def started(work: str, folder: Path, *args: str) -> subprocess.Popen[str]:
    (folder / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{work}", work), "info", *args],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A pytest that runs in the background of a script ignores SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "at work\n"
    return process


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path != folder / "temporary")


@pytest.mark.parametrize("work", [NATIVE, SWALLOWED, ENDED_BY_ITSELF], ids=["native", "swallowed", "quiet"])
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_any_work_in_two_seconds_with_one_line(
    tmp_path: Path, work: str, number: signal.Signals, code: int, word: str
) -> None:
    process = started(work, tmp_path, "--json")
    time.sleep(0.2)
    begun = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < PATIENCE_S
    assert process.returncode == code
    assert err == f"error: {word}; nothing half-written was left behind\n"
    assert json.loads(out.splitlines()[-1]) == {"error": word, "exit_code": code}
    assert left(tmp_path) == []


@pytest.mark.parametrize(("name", "says"), [("SIGKILL", "for want of memory"), ("SIGABRT", "a library died (SIGABRT)")])
def test_a_death_of_the_work_is_a_stage_that_broke(tmp_path: Path, name: str, says: str) -> None:
    process = started(f"os.kill(os.getpid(), signal.{name})", tmp_path)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 4
    assert len(err.splitlines()) == 1
    assert says in err


def test_the_work_dies_with_a_killed_program_and_the_next_run_removes_what_it_left(tmp_path: Path) -> None:
    process = started(ENDED_BY_ITSELF, tmp_path)
    process.kill()
    # Its ends of the pipes are closed when the work is gone too.
    process.communicate(timeout=20)
    (abandoned,) = (tmp_path / "temporary").iterdir()
    assert abandoned.name.startswith("ftsf-build-")
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    ftsf = Path(sys.executable).with_name("ftsf")
    subprocess.run([ftsf, "--version"], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_folders_in_use_and_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("ftsf-build-of-mine", "ftsf-build-scratch-of-mine", "other-scratch-abcdefgh"):
        (tmp_path / name).mkdir()
    (tmp_path / "ftsf-build-scratch-abcdefgh").symlink_to(tmp_path / "other-scratch-abcdefgh")
    before = set(tmp_path.iterdir())
    with scratch_folder("ftsf-build-") as mine:
        remove_abandoned()
        assert set(tmp_path.iterdir()) == before | {mine}
    remove_abandoned()
    assert set(tmp_path.iterdir()) == before


def test_an_export_in_torch_is_interrupted(tmp_path: Path, tiny: tuple[str, ...]) -> None:
    ftsf = Path(sys.executable).with_name("ftsf")
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [ftsf, "export", *tiny, "--builder", "none", "-o", tmp_path / "made"],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary"), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    said = ""
    while "trace" not in said:
        said = process.stderr.readline()
        assert said
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < PATIENCE_S
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted; nothing half-written was left behind"
    assert left(tmp_path) == []


# What a command is made of loads for a minute.
LOADING = """
import sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == "ftsf_export.cli.main":
            print("loading", file=sys.stderr, flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from ftsf_export.cli.entry import main
main()
"""


def loading(*args: str, before: Callable[[], object] = lambda: None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.default_int_handler), before()),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "loading\n"
    return process


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_while_the_program_loads_is_one_line(number: signal.Signals, code: int, word: str) -> None:
    process = loading("info", "--json")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err == f"error: {word}; nothing was begun\n"
    assert json.loads(out) == {"error": word, "exit_code": code}


def test_what_is_ignored_stays_ignored_while_the_program_loads() -> None:
    process = loading("info", before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_both_programs_start_where_signals_are_answered() -> None:
    setup = (Path(__file__).parents[3] / "setup.py").read_text(encoding="utf-8")
    assert '"ftsf = ftsf_export.cli.entry:main"' in setup
    assert '"ftsf-export = ftsf_export.cli.entry:export_main"' in setup
