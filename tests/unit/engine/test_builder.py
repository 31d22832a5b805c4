"""A build with stand-ins for the compiler's process: every ending is told apart, none leaves a trace."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ftsf_export.config import BatchRange
from ftsf_export.disk import scratch_folder
from ftsf_export.engine import builder
from ftsf_export.engine.builder import build_engine
from ftsf_export.engine.request import BuildOptions, BuildRequest, GraphFacts
from ftsf_export.engine.targets import target_named
from ftsf_export.errors import BuildError, OutputError, UsageError
from ftsf_export.strict_json import plain, structured

STAND_INS = Path(__file__).parent / "stand_in"


@pytest.fixture
def request_(tmp_path: Path) -> BuildRequest:
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"not read here")
    (tmp_path / "out").mkdir()
    graph = GraphFacts(
        onnx_path=onnx, precision="fp16", batch=BatchRange(1, 2, 4), input_name="clip", clip_shape=(8, 3, 32, 32)
    )
    return BuildRequest(graph=graph, builder="rtx", target=target_named("rtx"), output=tmp_path / "out" / "rtx.engine")


@pytest.fixture
def use_worker(monkeypatch: pytest.MonkeyPatch):
    def use(name: str) -> None:
        monkeypatch.syspath_prepend(STAND_INS)
        monkeypatch.setattr(builder, "_WORKER", f"build_workers:{name}")

    return use


def test_a_compiler_that_aborts_is_a_build_error_with_its_last_words(use_worker, request_: BuildRequest) -> None:
    use_worker("aborts")
    told: list[tuple[str, float | None]] = []
    with pytest.raises(
        BuildError, match=r"died \(SIGABRT\) on model.onnx: CHECK\(def_tactic_desc\) failed second line"
    ) as e:
        build_engine(request_, on_progress=lambda stage, fraction: told.append((stage, fraction)))
    assert "all is well" in e.value.details
    assert "terminate called" in e.value.details
    assert told == [("engine rtx rtx: Building engine", 1 / 6)]
    assert list(request_.output.parent.iterdir()) == []


def test_its_log_is_kept_where_asked(use_worker, request_: BuildRequest, tmp_path: Path) -> None:
    use_worker("aborts")
    with pytest.raises(BuildError):
        build_engine(replace(request_, options=BuildOptions(log_folder=tmp_path)))
    assert "CHECK(def_tactic_desc)" in (tmp_path / "rtx.log").read_text(encoding="utf-8")


def test_a_worker_that_reports_no_engine_is_a_build_error(use_worker, request_: BuildRequest) -> None:
    use_worker("ends")
    with pytest.raises(BuildError, match="exit status 0"):
        build_engine(request_)


def test_a_full_disk_is_an_output_error(use_worker, request_: BuildRequest) -> None:
    use_worker("full_disk")
    with pytest.raises(OutputError, match=r"rtx\.engine: cannot write the engine of 9 bytes: no space left"):
        build_engine(request_)
    assert list(request_.output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("worker", "reason"), [("full_disk", "no space left on the disk"), ("full_log", "the file would be larger")]
)
def test_a_full_disk_of_temporary_files_is_named_with_its_lever(
    use_worker, request_: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: str, reason: str
) -> None:
    """``ftsf build`` and ``ftsf plan`` compile among them: the bundle has nothing to do with it."""
    use_worker(worker)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder("ftsf-build-") as folder:
        with pytest.raises(OutputError) as caught:
            build_engine(replace(request_, output=folder / "rtx.engine"))
        assert list(folder.iterdir()) == []
    assert caught.value.message.startswith(f"{tmp_path}: cannot write temporary files: {reason}")
    assert caught.value.message.endswith("name another place for temporary files: TMPDIR=/path ftsf ...")


def test_a_compiler_that_takes_many_times_what_graphs_take_is_stopped(
    use_worker, request_: BuildRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker("spins")
    monkeypatch.setattr(builder, "_LEAST_S", 0.3)
    said = r"was killed at its limit of 0\.3 s of processor time on model\.onnx: many times .* give --no-limits"
    with pytest.raises(BuildError, match=said):
        build_engine(replace(request_, options=BuildOptions(limited=True)))


def test_a_graph_that_is_not_there(request_: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file, found none"):
        build_engine(replace(request_, graph=replace(request_.graph, onnx_path=tmp_path / "gone.onnx")))


def test_an_output_folder_that_is_not_there(request_: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone: cannot make a folder for the engine"):
        build_engine(replace(request_, output=tmp_path / "gone" / "rtx.engine"))


def test_a_compiler_that_refuses_says_why_and_what_helps(use_worker, request_: BuildRequest) -> None:
    use_worker("refuses")
    says = "builder rtx, target rtx, fp16: refused model.onnx: no node named op: Attention (this parser knows no"
    with pytest.raises(BuildError, match=re.escape(says)) as caught:
        build_engine(request_)
    assert "[ERROR] no node named" in caught.value.details


def test_a_build_that_takes_too_long(use_worker, request_: BuildRequest) -> None:
    use_worker("lingers")
    with pytest.raises(BuildError, match=r"was not done after 2 s and was killed on model\.onnx; give it more") as e:
        build_engine(replace(request_, options=BuildOptions(timeout_s=2.0)))
    assert "slow" in e.value.details
    assert list(request_.output.parent.iterdir()) == []


def test_a_bug_of_the_worker_comes_with_its_traceback(use_worker, request_: BuildRequest) -> None:
    use_worker("breaks")
    with pytest.raises(BuildError, match=r"the compiler failed on model\.onnx: LookupError: a bug") as caught:
        build_engine(request_)
    assert "in breaks" in caught.value.details


def test_the_order_survives_its_journey(request_: BuildRequest, tmp_path: Path) -> None:
    options = BuildOptions(log_folder=tmp_path, workspace_mib=64, timeout_s=0.5)
    for asked in (request_, replace(request_, options=options)):
        assert structured(json.loads(json.dumps(plain(asked))), BuildRequest, "the request") == asked
    assert request_.target.capabilities == ("8.6", "8.9", "12.0")
    assert request_.profile() == ((1, 8, 3, 32, 32), (2, 8, 3, 32, 32), (4, 8, 3, 32, 32))
    assert request_.options.tf32 is False
