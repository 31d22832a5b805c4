"""Bundles that somebody forged: nothing outside is read, nothing is written, and what was hashed is what is used."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftsf_export.bundle import Bundle, BundleWriter, FileEntry, copies, record, sha256_of
from ftsf_export.bundle.hashed import HashedReader
from ftsf_export.errors import BundleError, OutputError
from tests.unit.bundle.forged import list_file, refused
from tests.unit.manifests import graph_bytes, note_of, read_manifest

Write = Callable[..., Bundle]
HOSTILE = ["link", "dangling", "fifo", "socket", "folder"]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """Everything below ``folder``: mode, and content or where a link leads."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        held = os.readlink(path) if stat.S_ISLNK(mode) else path.read_bytes() if stat.S_ISREG(mode) else ""
        found[path.relative_to(folder).as_posix()] = (mode, held)
    return found


def put(path: Path, kind: str, outside: Path) -> None:
    """Something that is no regular file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        # A socket's address is short; a relative one is not.
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            with socket.socket(socket.AF_UNIX) as end:
                end.bind(path.name)
        finally:
            os.chdir(here)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user beside the bundle."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "authorized_keys").write_bytes(b"mine")
    return folder


def test_an_update_does_not_leave_the_bundle_through_a_linked_folder(bundle: Bundle, outside: Path) -> None:
    """A forged ``.pending`` and ``engines`` that is a link: opening would write a file of the user."""
    list_file(bundle.path, "engines/authorized_keys", b"theirs")
    waiting = bundle.path / ".pending" / "engines" / "authorized_keys"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"theirs")
    (bundle.path / "engines").symlink_to(outside)
    before = snapshot(bundle.path.parent)
    assert "engines" in refused(bundle.path)
    assert snapshot(bundle.path.parent) == before


def test_nothing_is_moved_before_everything_was_checked(bundle: Bundle) -> None:
    list_file(bundle.path, "engines/x.engine", b"engine")
    (bundle.path / ".pending" / "engines").mkdir(parents=True)
    (bundle.path / ".pending" / "engines" / "x.engine").write_bytes(b"engine")
    bundle.onnx_path.write_bytes(graph_bytes("altered"))
    before = snapshot(bundle.path)
    assert "model.onnx: altered or damaged" in refused(bundle.path)
    assert snapshot(bundle.path) == before
    bundle.onnx_path.write_bytes(graph_bytes())
    Bundle.open(bundle.path)
    assert (bundle.path / "engines" / "x.engine").read_bytes() == b"engine"
    assert not (bundle.path / ".pending").exists()


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "manifest.json", "engines/x.engine", "engines"])
def test_what_is_no_regular_file_is_refused_and_nothing_hangs(
    bundle: Bundle, outside: Path, kind: str, name: str
) -> None:
    list_file(bundle.path, "engines/x.engine", b"engine")
    if name not in ("engines", "engines/x.engine"):
        (bundle.path / "engines").mkdir()
        (bundle.path / "engines" / "x.engine").write_bytes(b"engine")
    path = bundle.path / name
    (outside / "x.engine").write_bytes(b"engine")
    target = {"engines": outside, "engines/x.engine": outside / "x.engine"}.get(name, outside / "copy")
    if path.exists():
        path.rename(outside / "copy")
    put(path, kind, target)
    before = snapshot(bundle.path.parent)
    assert name.split("/")[0] in refused(bundle.path)
    assert snapshot(bundle.path.parent) == before


def test_a_listed_name_that_no_file_system_takes_is_refused(bundle: Bundle) -> None:
    list_file(bundle.path, "a" * 5000, b"x")
    with pytest.raises(BundleError, match="cannot be read: File name too long"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", [".pending", ".pending/engines", ".pending/engines/x.engine", ".pending/junk"])
def test_hostile_things_in_pending_are_left_alone(bundle: Bundle, outside: Path, kind: str, name: str) -> None:
    list_file(bundle.path, "engines/x.engine", b"engine")
    (outside / "engines").mkdir()
    (outside / "engines" / "x.engine").write_bytes(b"engine")
    targets = {".pending": outside, ".pending/engines": outside / "engines"}
    put(bundle.path / name, kind, targets.get(name, outside / "engines" / "x.engine"))
    before = snapshot(bundle.path.parent)
    refused(bundle.path)
    assert snapshot(bundle.path.parent) == before


def test_a_writer_names_what_is_in_its_way(bundle: Bundle, outside: Path, small: SimpleNamespace) -> None:
    (bundle.path / ".pending").symlink_to(outside)
    with pytest.raises(BundleError, match=r"\.pending.*no file of ours"):
        bundle.with_verdicts([small.verdict(bundle.path, gate="one")])
    (bundle.path / ".pending").unlink()
    (bundle.path / ".pending").mkdir()
    (bundle.path / ".pending" / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"mine\.txt: no file of ours"):
        bundle.with_verdicts([small.verdict(bundle.path, gate="one")])
    assert (bundle.path / ".pending" / "mine.txt").read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["authorized_keys"]


def test_a_writer_that_refuses_has_changed_nothing(bundle: Bundle, outside: Path) -> None:
    """Not even what an update that was interrupted left, which a writer removes first."""
    waiting = bundle.path / ".pending" / "engines" / "x.engine"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"half")
    (bundle.path / "engines").symlink_to(outside)
    before = snapshot(bundle.path.parent)
    with pytest.raises(BundleError, match="engines: a symbolic link, or no directory"):
        record(bundle, files={"engines/y.engine": b"engine"})
    assert snapshot(bundle.path.parent) == before


def test_recording_writes_through_no_hard_link(bundle: Bundle, outside: Path, small: SimpleNamespace) -> None:
    """A hard link to a file of the user is replaced by name; the file itself is not written."""
    (bundle.path / "manifest.json").rename(outside / "manifest")
    os.link(outside / "manifest", bundle.path / "manifest.json")
    before = (outside / "manifest").read_bytes()
    bundle.with_verdicts([small.verdict(bundle.path, gate="one")])
    assert (outside / "manifest").read_bytes() == before
    assert len(Bundle.open(bundle.path).verdicts) == 2


@contextmanager
def swapping(path: Path, contents_: tuple[bytes, bytes], *, in_place: bool) -> Iterator[None]:
    """Another process that changes a file for as long as this lasts: by renaming, or by writing into it."""
    ended = threading.Event()
    draft = path.with_name("draft")

    def swap() -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            if in_place:
                with path.open("r+b") as stream:
                    stream.write(contents_[turn % 2])
            else:
                draft.write_bytes(contents_[turn % 2])
                draft.rename(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("in_place", [False, True])
def test_what_is_used_is_what_was_hashed_whoever_swaps_it(bundle: Bundle, in_place: bool) -> None:
    good, bad = graph_bytes("model bytes"), graph_bytes("MODEL BYTES")
    assert len(good) == len(bad)
    used, refusals = 0, 0
    with swapping(bundle.onnx_path, (good, bad), in_place=in_place):
        for _ in range(150):
            try:
                assert bundle.read("model.onnx") == good
                with bundle.graph_copy() as path:
                    assert note_of(path) == "model bytes"
                used += 1
            except BundleError:
                refusals += 1
    assert refusals
    assert used + refusals == 150


def test_a_file_that_changes_between_opening_and_use_is_not_used(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.path)
    bundle.onnx_path.write_bytes(graph_bytes("MODEL BYTES"))
    with pytest.raises(BundleError, match=r"model\.onnx: altered"), opened.graph_copy():
        pytest.fail("used")


def test_a_copy_is_ours_alone_and_gone_afterwards(bundle: Bundle) -> None:
    with bundle.graph_copy() as path:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.parent != bundle.path
    assert not path.parent.exists()


def test_sizes_are_limited_before_anything_is_read(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(bundle.path)
    huge = replace(manifest, files={**manifest.files, "golden.npz": FileEntry("0" * 64, 10**30)})
    (bundle.path / "manifest.json").write_bytes(huge.to_bytes())
    assert "more than an export writes" in refused(bundle.path)
    (bundle.path / "manifest.json").write_bytes(manifest.to_bytes())
    # A file with a hole of a terabyte: its size alone is reason enough.
    os.truncate(bundle.path / "golden.npz", 1 << 40)
    monkeypatch.setattr(HashedReader, "finish", lambda _: pytest.fail("read"))
    assert "altered or damaged" in refused(bundle.path)
    os.truncate(bundle.path / "manifest.json", 1 << 40)
    assert "more than an export writes" in refused(bundle.path)


def test_a_full_disk_for_temporary_files_is_not_blamed_on_the_output(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies, "check_file", full)
    full_disk = pytest.raises(OutputError, match=r"cannot write temporary files: no space left.*TMPDIR")
    with full_disk as caught, bundle.graph_copy():
        pytest.fail("used")
    assert str(bundle.path) not in caught.value.message


def test_overwriting_names_every_file_that_is_not_ours(tmp_path: Path, write_bundle: Write) -> None:
    root = write_bundle(tmp_path / "out").path
    for name in ("engines/notes.json", "report.md", "model.onnx.data", ".pending/mine.txt", "engines/deep/x.engine"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    (root / "golden.link").symlink_to("golden.npz")
    before = snapshot(tmp_path)
    with pytest.raises(OutputError) as caught, BundleWriter(root, overwrite=True):
        pytest.fail("the work began")
    for name in (".pending/mine.txt", "engines/deep/x.engine", "engines/notes.json", "golden.link", "model.onnx.data"):
        assert repr(name) in caught.value.message
    assert "and 1 more" in caught.value.message
    assert snapshot(tmp_path) == before


def test_a_file_that_comes_while_the_bundle_is_replaced_is_kept(
    tmp_path: Path, write_bundle: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsf_export.bundle import place

    root = write_bundle(tmp_path / "out").path
    exchanged = place._exchanged

    def late(one: Path, other: Path) -> bool:
        if note_of(other / "model.onnx") == "model bytes":
            (other / "thesis.txt").write_text("years of work")
        return exchanged(one, other)

    monkeypatch.setattr(place, "_exchanged", late)
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        write_bundle(root, overwrite=True, model="other")
    assert (root / "thesis.txt").read_text() == "years of work"
    assert note_of(root / "model.onnx") == "model bytes"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_typed_pass_outside_its_own_limit_is_refused(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    manifest["verdicts"][0]["measures"][0].update(value=9.0, limit=1e-5)
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    assert "passed against its evidence: logits: relative L2 9, limit at most 1e-05" in refused(bundle.path)


def test_the_listing_of_a_private_copy_is_that_of_the_graph_alone(bundle: Bundle) -> None:
    with bundle.graph_copy() as path:
        assert [one.name for one in path.parent.iterdir()] == ["model.onnx"]
        assert sha256_of(path) == bundle.manifest.files["model.onnx"].sha256
