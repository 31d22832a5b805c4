"""Recording into a bundle in place: atomic, one writer at a time, stale verdicts refused."""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftsf_export.bundle import Bundle, BundleWriter, EngineEntry, record, sha256_of, update
from ftsf_export.bundle.folder import Folder
from ftsf_export.bundle.lock import locked
from ftsf_export.errors import BundleError, OutputError
from ftsf_export.verdict import Status, Subject

Write = Callable[..., Bundle]

ENGINE, SIDECAR = "engines/rtx-rtx-fp16.engine", "engines/rtx-rtx-fp16.json"


def engine_entry(built: Path) -> EngineEntry:
    return EngineEntry(
        file=ENGINE,
        sidecar=SIDECAR,
        builder="rtx",
        target="rtx",
        precision="fp16",
        compute_capabilities=("8.6", "8.9"),
        sha256=sha256_of(built),
    )


def with_engine(bundle: Bundle, built: Path, content: bytes = b"engine") -> Bundle:
    built.write_bytes(content)
    return record(bundle, engine=engine_entry(built), files={ENGINE: built, SIDECAR: b"{}"})


def test_a_verdict_comes_back_with_its_evidence(bundle: Bundle, small: SimpleNamespace) -> None:
    failed = small.verdict(bundle.path, gate="parity.fp32", value=math.nan)
    passed = small.verdict(bundle.path, gate="parity.bf16", value=2e-3)
    recorded = bundle.with_verdicts([failed, passed])
    opened = Bundle.open(bundle.path)
    assert [verdict.gate for verdict in opened.verdicts] == ["parity.fp16-emulated", "parity.fp32", "parity.bf16"]
    assert opened.verdicts[2] == replace(passed, recorded_by="verify")
    assert opened.verdicts[1].status is Status.FAILED
    assert math.isnan(opened.verdicts[1].measures[0].value)
    assert recorded.manifest.to_bytes() == opened.manifest.to_bytes()
    assert not list(bundle.path.glob(".*"))


def test_running_a_gate_again_replaces_its_verdict(bundle: Bundle, small: SimpleNamespace) -> None:
    bundle.with_verdicts([small.verdict(bundle.path, value=3e-3)])
    (verdict,) = Bundle.open(bundle.path).verdicts
    assert verdict.measures[0].value == 3e-3


def test_what_another_command_recorded_since_is_kept(bundle: Bundle, small: SimpleNamespace) -> None:
    # Both start from the same, by now outdated, value.
    bundle.with_verdicts([small.verdict(bundle.path, gate="one")])
    bundle.with_verdicts([small.verdict(bundle.path, gate="two")])
    assert {verdict.gate for verdict in Bundle.open(bundle.path).verdicts} >= {"one", "two"}


def test_an_engine_arrives_with_its_sidecar_and_can_be_replaced(
    bundle: Bundle, tmp_path: Path, small: SimpleNamespace
) -> None:
    with_engine(bundle, tmp_path / "built")
    opened = Bundle.open(bundle.path)
    opened.with_verdicts([small.verdict(bundle.path, ENGINE, gate="engine.types")])
    assert opened.engine_path(opened.engines[0]).read_bytes() == b"engine"
    with_engine(opened, tmp_path / "built", b"engine 2")
    again = Bundle.open(bundle.path)
    assert len(again.engines) == 1
    assert again.engine_path(again.engines[0]).read_bytes() == b"engine 2"
    # Green was said of the engine that is no more.
    assert again.verdicts[-1].status is Status.NOT_RUN


def test_an_engine_without_its_files_or_with_another_hash_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    before = (bundle.path / "manifest.json").read_bytes()
    built = tmp_path / "built"
    built.write_bytes(b"engine")
    entry = engine_entry(built)
    with pytest.raises(BundleError, match="not among the bundle's files"):
        record(bundle, engine=entry, files={ENGINE: built})
    with pytest.raises(BundleError, match="two hashes"):
        record(bundle, engine=replace(entry, sha256="0" * 64), files={ENGINE: built, SIDECAR: b"{}"})
    assert (bundle.path / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in bundle.path.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]


def test_a_passed_verdict_about_another_file_is_refused(bundle: Bundle, small: SimpleNamespace) -> None:
    verdict = small.verdict(bundle.path, gate="parity.fp32")
    with pytest.raises(BundleError, match="has changed since it was judged"):
        bundle.with_verdicts([replace(verdict, subject=Subject("model.onnx", "0" * 64))])
    with pytest.raises(BundleError, match="is not in the bundle"):
        bundle.with_verdicts([replace(verdict, subject=Subject("engines/x.engine", "0" * 64))])
    elsewhere = Subject("engines/x.engine", "0" * 64)
    absent = replace(verdict, status=Status.NOT_RUN, reason="no GPU", subject=elsewhere, measures=())
    assert bundle.with_verdicts([absent]).verdicts[-1].reason == "no GPU"


@pytest.mark.parametrize("name", ["../x", "/x", "manifest.json", ".pending/x", "a\\b", ""])
def test_no_content_is_written_outside_or_over_the_manifest(bundle: Bundle, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a file of a bundle"):
        record(bundle, files={name: b""})


def test_content_does_not_follow_a_link_out_of_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (bundle.path / "engines").symlink_to(outside)
    with pytest.raises(BundleError, match="engines: a symbolic link"):
        with_engine(bundle, tmp_path / "built")
    assert not list(outside.iterdir())
    assert Bundle.open(bundle.path) == bundle


def test_a_second_writer_is_told_and_a_bundle_unlocked_by_itself(bundle: Bundle, small: SimpleNamespace) -> None:
    verdict = small.verdict(bundle.path, gate="parity.fp32")
    with locked(bundle.path), pytest.raises(BundleError, match="another command is writing"):
        bundle.with_verdicts([verdict])
    bundle.with_verdicts([verdict])


def test_an_overwrite_waits_for_the_writer_in_the_old_bundle(bundle: Bundle, write_bundle: Write) -> None:
    order = []
    entered = threading.Event()

    def hold() -> None:
        with locked(bundle.path):
            entered.set()
            threading.Event().wait(0.3)
            order.append("recorded")

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    write_bundle(bundle.path, overwrite=True, model="other")
    order.append("overwritten")
    holder.join()
    assert order == ["recorded", "overwritten"]


def test_the_lock_is_that_of_the_directory_now_at_the_path(bundle: Bundle, write_bundle: Write, tmp_path: Path) -> None:
    os.rename(bundle.path, tmp_path / "moved")
    write_bundle(bundle.path)
    with locked(tmp_path / "moved"), locked(bundle.path):
        pass


def test_a_bundle_that_is_gone(bundle: Bundle, tmp_path: Path) -> None:
    os.rename(bundle.path, tmp_path / "moved")
    with pytest.raises(BundleError, match="no such bundle"):
        bundle.with_verdicts([])


def test_a_full_disk_leaves_the_bundle_as_it_was(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(update, "_write_all", full)
    with pytest.raises(OutputError, match="cannot update the bundle: no space left"):
        with_engine(bundle, tmp_path / "built")
    assert Bundle.open(bundle.path) == bundle
    assert not list(bundle.path.glob(".*"))


def test_a_failure_after_the_manifest_changed_is_mended_by_the_next_opening(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Folder, names: Iterable[str]) -> None:
        if list(names):
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(update, "_move_waiting", fails)
        with pytest.raises(OutputError, match="Input/output error"):
            with_engine(bundle, tmp_path / "built")
    assert not (bundle.path / ENGINE).exists()
    opened = Bundle.open(bundle.path)
    assert opened.engine_path(opened.engines[0]).read_bytes() == b"engine"
    assert not list(bundle.path.glob(".*"))


def test_reports_can_be_replaced(tmp_path: Path, small: SimpleNamespace) -> None:
    with BundleWriter(tmp_path / "out") as writer:
        small.fill(writer.path)
        (writer.path / "report.md").write_text("old")
        bundle = writer.commit(small.manifest())
    record(bundle, files={"report.md": b"new"})
    assert (Bundle.open(bundle.path).path / "report.md").read_text() == "new"
