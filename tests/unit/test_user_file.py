"""Files that a user names: what is no regular file, or too long, is refused at once, by every reader."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.finetune.state import load_state
from fast_timesformer.model import FastTimeSformer
from fast_timesformer.weights import load_model, save_model
from ftsf_export import user_file
from ftsf_export.bench.table import main as table
from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint, tensors
from ftsf_export.checkpoint.settings import Settings
from ftsf_export.config import ExportConfig
from ftsf_export.engine.worker import _timing_cache
from ftsf_export.errors import UsageError
from ftsf_export.user_file import content_of, path_of, regular_file
from ftsf_export.video.decode import index_frames
from ftsf_plugins.kernels import _content

# No test waits for a pipe's writer: a reader that does ends here.
pytestmark = pytest.mark.timeout(20)


def put(path: Path, kind: str) -> Path:
    """Something at ``path`` that is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(os.path.relpath(path))
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A socket's address is short."""
    with monkeypatch.context() as changed:
        changed.chdir(tmp_path)
        yield


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "socket"])
def test_the_opener_says_what_it_found(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path / "a", kind)
    with pytest.raises(UsageError) as caught, regular_file(path, expected="a video file", most=None, about="video: "):
        pytest.fail("opened")
    assert caught.value.message == f"video: {path}: expected a video file, got a {kind}"


def test_sizes_are_asked_of_the_open_file_and_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345678")
    assert content_of(path, expected="a file", most=8) == b"12345678"
    with pytest.raises(UsageError, match="at most 7 bytes are read, the file has 8"):
        content_of(path, expected="a file", most=7)
    with pytest.raises(UsageError, match="expected a file, found nothing there"):
        content_of(tmp_path / "b", expected="a file", most=7)
    with pytest.raises(UsageError, match="cannot be read: embedded null byte"):
        content_of(tmp_path / "b\0", expected="a file", most=7)
    # A file that grows while it is read gives no more than was allowed.
    opened = os.fstat
    monkeypatch.setattr(user_file.os, "fstat", lambda descriptor: (opened(descriptor), path.write_bytes(b"x" * 99))[0])
    assert content_of(path, expected="a file", most=8) == b"x" * 8


def test_the_path_of_an_open_file_leads_to_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"looked at")
    with regular_file(path, expected="a file", most=99) as file:
        path.unlink()
        path.write_bytes(b"exchanged")
        assert Path(path_of(file, path)).read_bytes() == b"looked at"


def small_model() -> FastTimeSformer:
    return FastTimeSformer.from_config(TimeSformerConfig(2, 3, 16, 16, 5, dim=64, depth=1))


def resumed(path: Path) -> None:
    path.rename(path.with_name("step-00000001.pt"))
    load_state(path.parent, small_model(), {})


READERS: dict[str, Callable[[Path], object]] = {
    "checkpoint": lambda path: describe_checkpoint(path, ExportConfig()),
    "configuration": Settings.of_file,
    "video": index_frames,
    "weights": load_model,
    "training": resumed,
    "kernels": _content,
    "timing cache": _timing_cache,
    "benchmarks": lambda path: table([str(path)]),
}


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "socket"])
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_takes_what_is_no_file(tmp_path: Path, reader: str, kind: str) -> None:
    path = put(tmp_path / "a", kind)
    with pytest.raises(Exception, match=r"expected |Is a directory|No such device|in the way") as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)
    # Nor is anything made beside it.
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize("moment", ["hashed", "read"])
def test_a_checkpoint_that_is_exchanged_while_it_is_in_use_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its hash in the manifest is of the tensors in the graph."""
    path = tmp_path / "w.safetensors"
    save_model(small_model(), path)
    other = tmp_path / "other"
    save_model(small_model(), other)
    method = {"hashed": "sha256", "read": "read"}[moment]
    whole = getattr(tensors.TensorFile, method)

    def late(self: tensors.TensorFile) -> object:
        os.replace(other, path)
        return whole(self)

    monkeypatch.setattr(tensors.TensorFile, method, late)
    with pytest.raises(UsageError, match=r"w\.safetensors: the file changed while it was in use"):
        load_checkpoint(path, ExportConfig())


def test_a_checkpoint_in_a_folder_of_links_is_read(tmp_path: Path) -> None:
    """As the hub's cache lays it out."""
    (tmp_path / "blobs").mkdir()
    save_model(small_model(), tmp_path / "blobs" / "0123")
    (tmp_path / "w.safetensors").symlink_to("blobs/0123")
    model, checkpoint = load_checkpoint(tmp_path / "w.safetensors", ExportConfig())
    assert model.config == checkpoint.model == small_model().config


def test_a_record_of_a_benchmark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"timings": []}))
    with pytest.raises(ValueError, match="expected at least one timing"):
        table([str(tmp_path / "a.json")])
