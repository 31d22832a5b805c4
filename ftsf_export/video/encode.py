"""Frames into a small video file, with PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ftsf_export.video.decode import import_av

# Near to lossless (x264: 0 is, 23 the default), and the same bytes in every run: one thread, no clock.
_OPTIONS = {"crf": "6", "preset": "ultrafast", "threads": "1"}


def write_video(path: Path, frames: Iterable[npt.NDArray[np.uint8]], *, fps: int = 25) -> None:
    """Grey frames (height, width) uint8 of even sides -> H.264. Raises EnvironmentLacks without PyAV."""
    av = import_av()
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = None
        for pixels in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options=_OPTIONS)
                stream.height, stream.width = pixels.shape
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray")
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
