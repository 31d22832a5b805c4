"""What somebody new types, and what is answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftsf_export import __version__
from ftsf_export.cli.terminal import Terminal
from ftsf_export.engine.targets import TARGETS


def test_a_build_that_builds_nothing_here_exits_3_with_what_to_type(bundle: Path, say: Any) -> None:
    said = say("build", bundle, "--target", "jetson-orin")
    assert said.code == 3
    (line,) = (line for line in said.err.splitlines() if line.startswith("error:"))
    assert "nothing was built: jetson-orin: TensorRT for RTX does not run on Jetson Orin" in line
    assert line.endswith(f"on that machine, run: ftsf build {bundle} --builder tensorrt --target jetson-orin")


def test_a_dry_run_of_a_build_builds_nothing(bundle: Path, say: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    said = say("build", bundle, "--target", "rtx-30", "--target", "jetson-orin", "--dry-run", "--json")
    assert said.code == 0
    assert said.json["engines"] == [{"builder": "rtx", "target": "rtx-30"}]
    assert said.json["deferred"] == [f"ftsf build {bundle} --builder tensorrt --target jetson-orin"]
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_targets_are_listed_with_what_was_tried(say: Any) -> None:
    said = say("targets", "--all", "--json")
    rows = {row["target"]: row for row in said.json["targets"]}
    assert list(rows) == list(TARGETS)
    assert rows["rtx-30"]["tried"] == "compiled, not run"
    assert rows["jetson-orin"]["tried"] == "neither built nor run"
    assert rows["jetson-orin"]["built"] == "on the machine itself"
    assert rows["t4"]["precisions"] == "fp32 fp16"
    listed = say("targets").out.splitlines()
    assert [line.split()[0] for line in listed] == ["target", *(name for name in TARGETS if not name.startswith("sm_"))]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["exprt"], "got 'exprt'; did you mean export?"),
        (["zzz"], "got 'zzz' (see ftsf --help)"),
        (["build", "B", "--target", "orin"], "(see ftsf targets), got 'orin'; did you mean jetson-orin?"),
        (["export", "--dim", "500", "--dry-run"], "got 500; take 448 or 512, or give heads as well"),
        (["export", "--precison", "fp16"], "Did you mean"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(args: list[str], said: str, say: Any, bundle: Path) -> None:
    found = say(*(str(bundle) if arg == "B" else arg for arg in args))
    assert found.code == 2
    (line,) = found.err.splitlines()
    assert said in line
    assert len(line) < 500


def test_a_file_of_a_bundle_leads_to_its_directory(bundle: Path, say: Any) -> None:
    said = say("verify", bundle / "model.onnx")
    assert said.code == 2
    assert said.err.splitlines()[-1].endswith(f"a file, not a bundle directory; give its directory: {bundle}")


def test_help_shows_no_precision_that_is_refused(say: Any) -> None:
    assert "[fp32|fp16|bf16|int8]" in say("export", "--help").out.replace(
        "fp32|fp16|bf16|int8", "[fp32|fp16|bf16|int8]", 1
    )
    assert "fp8" not in say("export", "--help").out


def test_ftsf_export_tells_its_version() -> None:
    program = "import sys; from ftsf_export.cli.main import export_main; sys.argv[1:] = ['--version']; export_main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, f"ftsf-export {__version__}\n")


def test_quiet_json_is_one_line(bundle: Path, say: Any) -> None:
    said = say("info", bundle, "--json", "-q")
    assert said.err == ""
    assert len(said.out.splitlines()) == 1


def test_a_long_error_is_cut_unless_all_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal, shown in ((Terminal(), False), (Terminal(verbose=True), True)):
        terminal.error("names: " + "x" * 600 + " last")
        line = capsys.readouterr().err
        assert line.endswith(" last\n") is shown
        assert shown or (len(line) < 500 and line.endswith("... (-v shows all)\n"))


def test_an_export_ends_with_what_to_do_next(say: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    said = say("export", *tiny, "--builder", "none", "--target", "jetson-orin", "-o", tmp_path / "out")
    done, report, verify, build = said.out.splitlines()[-4:]
    assert done.startswith("done in ")
    assert done.endswith(" s: 2 passed")
    assert report.split() == ["report", str(tmp_path / "out" / "report.html")]
    assert verify.split(None, 1) == ["next", f"ftsf verify {tmp_path / 'out'}"]
    assert build.strip() == (
        f"ftsf build {tmp_path / 'out'} --builder tensorrt --target jetson-orin  (on Jetson Orin (JetPack 6))"
    )
    assert "compile the engines" not in said.err
