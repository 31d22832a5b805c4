"""Writing: whole or not at all, nobody's files deleted, the disk's refusals in one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_export.bundle import Bundle, BundleWriter, EngineEntry, TapSpec, files, place, sha256_of
from ftsf_export.errors import BundleError, OutputError
from tests.unit.manifests import graph_bytes

Write = Callable[..., Bundle]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def export(
    small: SimpleNamespace,
    output: Path,
    before_commit: Callable[[Path], object] = lambda _: None,
    *,
    overwrite: bool = False,
    **changes: Any,
) -> Bundle:
    """Writes a bundle whose manifest has these ``changes``, after something happened to its files."""
    with BundleWriter(output, overwrite=overwrite) as writer:
        small.fill(writer.path)
        before_commit(writer.path)
        return writer.commit(replace(small.manifest(), **changes))


def refused_at_once(output: Path, *, overwrite: bool = False) -> str:
    """The message of the refusal, which must come before any work and leave nothing behind."""
    before = names(output.parent) if output.parent.is_dir() else None
    with pytest.raises(OutputError) as caught, BundleWriter(output, overwrite=overwrite):
        pytest.fail("the work began")
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    assert before is None or names(output.parent) == before
    return caught.value.message


def test_nothing_but_the_bundle_is_left(tmp_path: Path, write_bundle: Write) -> None:
    bundle = write_bundle(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(bundle.path) == ["golden.npz", "manifest.json", "model.onnx"]


def test_the_same_export_gives_the_same_bytes(tmp_path: Path, write_bundle: Write) -> None:
    one, other = write_bundle(tmp_path / "one"), write_bundle(tmp_path / "deep" / "other")
    for name in names(one.path):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
    manifest = (one.path / "manifest.json").read_text()
    assert str(tmp_path) not in manifest
    assert os.uname().nodename not in manifest


def test_the_staging_directory_is_a_hidden_sibling_without_a_manifest(tmp_path: Path, small: SimpleNamespace) -> None:
    with BundleWriter(tmp_path / "out") as writer:
        small.fill(writer.path)
        assert writer.path.parent == tmp_path
        assert writer.path.name.startswith(".out.partial-")
        assert "manifest.json" not in names(writer.path)
        assert not (tmp_path / "out").exists()
        with pytest.raises(BundleError, match="leftover of an export"):
            Bundle.open(writer.path)
    assert names(tmp_path) == []


def test_an_error_inside_leaves_nothing_and_passes_through(tmp_path: Path, small: SimpleNamespace) -> None:
    with pytest.raises(ZeroDivisionError):
        export(small, tmp_path / "new" / "parents" / "out", lambda _: 1 / 0)
    assert names(tmp_path) == []


def test_directories_above_come_with_the_bundle(tmp_path: Path, small: SimpleNamespace, write_bundle: Write) -> None:
    with BundleWriter(tmp_path / "new" / "parents" / "out") as writer:
        small.fill(writer.path)
        assert not (tmp_path / "new").exists()
        # Another command was as fast.
        other = write_bundle(tmp_path / "new" / "parents" / "other")
        bundle = writer.commit(small.manifest())
    assert Bundle.open(tmp_path / "new" / "parents" / "out") == bundle
    assert Bundle.open(tmp_path / "new" / "parents" / "other") == other
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new" / "parents") == ["other", "out"]


def test_an_existing_bundle_needs_overwrite(tmp_path: Path, write_bundle: Write) -> None:
    write_bundle(tmp_path / "out")
    assert "overwrite=True" in refused_at_once(tmp_path / "out")
    new = write_bundle(tmp_path / "out", overwrite=True, model="other", precision="fp32")
    assert Bundle.open(tmp_path / "out") == new
    assert new.onnx_path.read_bytes() == graph_bytes("other", "fp32")
    assert names(tmp_path) == ["out"]


def test_a_failed_overwrite_keeps_the_old_bundle(tmp_path: Path, write_bundle: Write, small: SimpleNamespace) -> None:
    old = write_bundle(tmp_path / "out")
    with pytest.raises(ZeroDivisionError):
        export(small, tmp_path / "out", lambda _: 1 / 0, overwrite=True)
    assert Bundle.open(tmp_path / "out") == old
    assert names(tmp_path) == ["out"]


def test_an_empty_directory_is_free(tmp_path: Path, write_bundle: Write) -> None:
    (tmp_path / "out").mkdir()
    assert Bundle.open(write_bundle(tmp_path / "out").path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_the_user_are_never_deleted(tmp_path: Path, write_bundle: Write, overwrite: bool) -> None:
    output = tmp_path / "home"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    assert "is not a bundle" in refused_at_once(output, overwrite=overwrite)
    # A manifest of another program makes no bundle of it, even one that lists its files.
    (output / "manifest.json").write_text('{"schema_version": 1, "created_by": "npm", "files": ["thesis.txt"]}')
    message = refused_at_once(output, overwrite=overwrite)
    assert ("'thesis.txt'" if overwrite else "overwrite=True") in message
    bundle = write_bundle(tmp_path / "out")
    (bundle.path / "engines").mkdir()
    (bundle.path / "engines" / "notes.md").write_text("mine")
    assert ("'engines/notes.md'" if overwrite else "overwrite=True") in refused_at_once(
        bundle.path, overwrite=overwrite
    )
    assert (output / "thesis.txt").read_text() == "years of work"


def test_a_damaged_bundle_can_be_overwritten(tmp_path: Path, write_bundle: Write) -> None:
    bundle = write_bundle(tmp_path / "out")
    (bundle.path / "manifest.json").write_text("{")
    write_bundle(tmp_path / "out", overwrite=True)
    Bundle.open(tmp_path / "out")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "not a directory" in refused_at_once(tmp_path / "file")
    assert "is a file, not a directory" in refused_at_once(tmp_path / "file" / "out")
    assert "name is too long" in refused_at_once(tmp_path / ("x" * 250))
    assert str(Path("/proc/out")) in refused_at_once(Path("/proc/out"))
    assert "mount point" in refused_at_once(Path("/proc"), overwrite=True)


@contextmanager
def without_root() -> Iterator[None]:
    """Root may write everywhere: become nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_directory_without_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with without_root(), pytest.raises(OutputError) as caught, BundleWriter(closed / "out"):
        pytest.fail("the work began")
    message = caught.value.message
    assert "no permission" in message
    assert "-o" in message


def test_a_place_taken_meanwhile_is_not_taken_over(tmp_path: Path, small: SimpleNamespace) -> None:
    def take(_: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("")

    with pytest.raises(OutputError, match="is not a bundle"):
        export(small, tmp_path / "out", take)
    assert names(tmp_path) == ["out"]


def test_a_link_to_a_bundle_is_followed(tmp_path: Path, write_bundle: Write) -> None:
    write_bundle(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    write_bundle(tmp_path / "link", overwrite=True, model="other")
    assert (tmp_path / "link").is_symlink()
    assert Bundle.open(tmp_path / "real").onnx_path.read_bytes() == graph_bytes("other")


def test_without_an_atomic_exchange_two_renames_do(
    tmp_path: Path, write_bundle: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "out")
    monkeypatch.setattr(place, "_exchanged", lambda *_: False)
    write_bundle(tmp_path / "out", overwrite=True, model="other")
    assert Bundle.open(tmp_path / "out").onnx_path.read_bytes() == graph_bytes("other")
    assert names(tmp_path) == ["out"]


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(tmp_path: Path, write_bundle: Write) -> None:
    dead = tmp_path / ".out.partial-1-0123abcd"
    dead.mkdir()
    (dead / "model.onnx").write_bytes(b"half")
    foreign = [".out.partial-mine", ".other.partial-1-0123abcd", ".out.partial-1-0123abcd.txt"]
    for name in foreign:
        (tmp_path / name).mkdir()
    with BundleWriter(tmp_path / "out") as living:
        assert not dead.exists()
        write_bundle(tmp_path / "out")
        assert living.path.is_dir()
    assert names(tmp_path) == sorted([*foreign, "out"])


@pytest.mark.parametrize("missing", ["model.onnx", "golden.npz", "engines/x.engine"])
def test_a_file_that_the_manifest_speaks_of_must_be_there(tmp_path: Path, missing: str, small: SimpleNamespace) -> None:
    entry = EngineEntry(
        file="engines/x.engine",
        sidecar="engines/x.json",
        builder="rtx",
        target="rtx",
        precision="fp16",
        compute_capabilities=("8.6",),
        sha256="0" * 64,
    )
    with pytest.raises(BundleError, match=missing):
        export(small, tmp_path / "out", lambda folder: (folder / missing).unlink(missing_ok=True), engines=(entry,))
    assert names(tmp_path) == []


def test_a_verdict_about_another_file_is_not_written(tmp_path: Path, small: SimpleNamespace) -> None:
    (tmp_path / "model.onnx").write_bytes(b"another")
    verdict = small.verdict(tmp_path)
    with pytest.raises(BundleError, match="has changed since it was judged"):
        export(small, tmp_path / "out", verdicts=(verdict,))


def test_taps_without_golden_values_are_not_written(tmp_path: Path, small: SimpleNamespace) -> None:
    with pytest.raises(BundleError, match="no values for 'norm'"):
        export(
            small,
            tmp_path / "out",
            graph=replace(small.manifest().graph, taps=(*small.manifest().graph.taps, TapSpec("norm"))),
        )


def test_external_data_and_reports_are_hashed_too(tmp_path: Path, small: SimpleNamespace) -> None:
    with BundleWriter(tmp_path / "out") as writer:
        small.fill(writer.path)
        (writer.path / "model.onnx.data").write_bytes(b"weights")
        (writer.path / "report.md").write_text("# report")
        bundle = writer.commit(small.manifest())
    assert bundle.manifest.files["model.onnx.data"].sha256 == sha256_of(bundle.path / "model.onnx.data")
    (bundle.path / "report.md").write_text("# other")
    with pytest.raises(BundleError, match=r"report\.md"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_refusal_during_commit_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, small: SimpleNamespace
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(OutputError, match="cannot write the bundle") as caught:
        export(small, tmp_path / "out", lambda _: monkeypatch.setattr(files.os, "fsync", refuse))
    assert os.strerror(code) in caught.value.details
    assert names(tmp_path) == []


def test_a_full_disk_inside_the_block(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="no space left on the disk"),
        BundleWriter(tmp_path / "out"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert names(tmp_path) == []


def test_an_error_about_a_file_elsewhere_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), BundleWriter(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "no", str(tmp_path / "video.mp4"))


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import fill, small_manifest
from ftsf_export.bundle import BundleWriter
from ftsf_export.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    with BundleWriter(sys.argv[2]) as writer:
        fill(writer.path, "x" * 4000)
        writer.commit(small_manifest())
except OutputError as error:
    print(error.message)
"""


@pytest.mark.parametrize("limit_bytes", [1000, 20_000])
def test_a_real_limit_of_the_system(tmp_path: Path, limit_bytes: int) -> None:
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(here.parent), str(tmp_path / "out"), str(limit_bytes)],
        env={**os.environ, "PYTHONPATH": str(here.parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "the file would be larger than the process" in done.stdout, done.stderr
    assert names(tmp_path) == []


def test_a_place_that_libraries_cannot_name_is_refused_at_once(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"out\xff")
    with pytest.raises(OutputError, match="not UTF-8"), BundleWriter(place):
        pass
    assert list(tmp_path.iterdir()) == []
