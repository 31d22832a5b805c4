"""A small bundle, exported once, and small videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ftsf_export import ExportConfig, export

CLASSES = 12


SMALL: dict[str, Any] = {
    "attn": "regular", "frames": 2, "size": 32, "dim": 64, "depth": 1, "num_classes": CLASSES, "precision": "fp32",
    "builder": "none",
}  # fmt: skip


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Softmax attention in FP32, two frames of 32 px, one to four clips in a call, without names of classes."""
    return export(ExportConfig(**SMALL, batch="1:2:4"), output=tmp_path_factory.mktemp("exported") / "bundle").path


@pytest.fixture(scope="session")
def grey_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a graph that takes decoded frames, four clips in every call."""
    config = ExportConfig(**SMALL, batch=4, input="uint8")
    return export(config, output=tmp_path_factory.mktemp("exported") / "grey").path


WriteVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def write_video() -> WriteVideo:
    """Writes noise of a seed: ``write_video(path, seed, frames=6)``."""

    def write(path: Path, seed: int = 0, *, frames: int = 6) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width, stream.pix_fmt = 40, 48, "yuv420p"
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(noise.integers(0, 256, (40, 48, 3), np.uint8), format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory, write_video: WriteVideo) -> Path:
    """A folder of five good videos and two that are none. Not to be changed."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(5):
        write_video(folder / f"good-{number}.mp4", number)
    (folder / "bad-text.mp4").write_text("no video\n")
    (folder / "bad-empty.avi").write_bytes(b"")
    return folder


def lines_of(text: str) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]
