"""A clip of a video stage by stage, so that a later run on another machine can say which stage departs.

Letters: F frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.golden import sample_tap
from ftsf_export.bundle.golden_video import MOST_BYTES, ClipStages, GoldenVideo
from ftsf_export.errors import RunError
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.process.parent import Ending, run_in_child
from ftsf_export.process.quota import Quota
from ftsf_export.strict_json import plain, structured
from ftsf_export.video.clip import naming
from ftsf_export.video.container import video_file
from ftsf_export.video.decode import Frame, decode_frames, index_frames
from ftsf_export.video.preprocess import centre, clip_of_cropped, resized
from ftsf_export.video.sample import sampling_of

# Of a stranger's 2 MiB: ten minutes of 360 lines take 30 s of one core of a 2.5 GHz Xeon, 96 frames in full HD 1.5 GB.
_QUOTA = Quota(processor_s=120, memory_bytes=3 << 30)
_CLIP = "clip"


@dataclass(frozen=True)
class Made:
    """A clip with its stages."""

    stages: ClipStages  #: With the frames that sampling takes, whichever were decoded.
    clip: npt.NDArray[Any]  #: As the graph takes it.
    source: str = ""  #: For people, as ``Clip.source``.
    frames: tuple[Frame, ...] = ()  #: The decoded frames; none where it was made in another process.


def made_of(path: Path, how: Preprocessing, indices: Sequence[int] | None = None) -> Made:
    """Decodes the frames ``indices`` (None: those that sampling takes), and preprocesses them.

    Raises VideoError.
    """
    index = index_frames(path)
    with naming(path):
        sampling = sampling_of(how, len(index), index.rate)
    frames = decode_frames(index, sampling.indices if indices is None else indices)
    with naming(path):
        small = [resized(frame, how) for frame in frames]
        parts = [centre(frame, how) for frame in small]
        clip = clip_of_cropped(parts, how)
    stages = ClipStages(
        available=len(index),
        indices=sampling.indices,
        decoded_sha256=_digest(frames),
        sizes=np.asarray([each[0].shape[:2] for each in (frames, small, parts)], np.int64),
        decoded=_sampled(frames),
        resized=_sampled(small),
        cropped=_sampled(parts),
    )
    return Made(stages, clip, f"{path.name} {sampling}", tuple(frames))


def made_in_child(path: Path, how: Preprocessing, indices: Sequence[int], *, limited: bool) -> Made:
    """The same in a process of its own. ``limited``: it may take no more than a small video does, for the video is
    somebody else's. Raises RunError where it takes more."""
    request = {"path": str(path), "how": plain(how), "indices": list(indices)}
    answer = run_in_child(f"{__name__}:serve", request, failed=_failed, quota=_QUOTA if limited else None)
    told, arrays = answer.value, dict(answer.arrays)
    clip = arrays.pop(_CLIP)
    parts: dict[str, Any] = {**told, "indices": tuple(told["indices"]), **arrays}
    return Made(ClipStages(**parts), clip)


def serve(request: Message, _tell: Tell) -> Message:
    """The child's side of ``made_in_child``."""
    how = structured(request.value["how"], Preprocessing, "the request to make a clip")
    made = made_of(Path(request.value["path"]), how, request.value["indices"])
    parts = vars(made.stages)
    arrays = {name: value for name, value in parts.items() if isinstance(value, np.ndarray)}
    return Message({name: parts[name] for name in parts if name not in arrays}, {**arrays, _CLIP: made.clip})


def golden_video(path: Path, stages: ClipStages, clip: int) -> GoldenVideo:
    """What the reference values keep of the video of their clip number ``clip``. Raises VideoError."""
    sha256, size, content = file_digest(path)
    return GoldenVideo(
        name=path.name, sha256=sha256, size_bytes=size, clip=clip, stages=stages,
        content=None if content is None else np.frombuffer(content, np.uint8),
    )  # fmt: skip


def file_digest(path: Path) -> tuple[str, int, bytes | None]:
    """SHA-256 and size of a video, and its bytes where they are at most ``MOST_BYTES``. Raises VideoError."""
    digest, size = hashlib.sha256(), 0
    parts: list[bytes] = []
    with video_file(path) as file:
        while part := file.read(MOST_BYTES):
            digest.update(part)
            size += len(part)
            parts = [*parts, part] if size <= MOST_BYTES else []
    return digest.hexdigest(), size, b"".join(parts) if size <= MOST_BYTES else None


def _sampled(frames: Sequence[Any]) -> npt.NDArray[np.float32]:
    sampled: npt.NDArray[np.float32] = sample_tap(np.stack(frames)[None])[0]
    return sampled


def _digest(frames: Sequence[Frame]) -> str:
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(repr(frame.shape).encode() + frame.tobytes())
    return digest.hexdigest()


def _failed(ending: Ending) -> RunError:
    said = f"the reference video: the process that decodes it {ending.how}: {ending.said}"
    return RunError(said, details=ending.details)
