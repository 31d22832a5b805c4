"""A clip of a video, ready for the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import VideoError
from ftsf_export.video.decode import decode_frames, index_frames
from ftsf_export.video.preprocess import preprocess
from ftsf_export.video.sample import sampling_of


@dataclass(frozen=True)
class Clip:
    """The frames of one video that a model sees."""

    values: npt.NDArray[Any]  #: As the graph takes it: its type, its order of dimensions.
    source: str  #: For people: "bigbuckbunny.mp4 frames 2..128 step 18".


def clip_from_video(path: str | Path, how: Preprocessing) -> Clip:
    """Decodes, samples and preprocesses one clip. Raises VideoError naming the file."""
    path = Path(path)
    index = index_frames(path)
    with naming(path):
        sampling = sampling_of(how, len(index), index.rate)
    frames = decode_frames(index, sampling.indices)
    with naming(path):
        values = preprocess(frames, how)
    return Clip(values, f"{path.name} {sampling}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Sampling and preprocessing know no files: the file's name is put before what they say."""
    try:
        yield
    except VideoError as error:
        raise VideoError(f"{path}: {error.message}", details=error.details) from error
