"""The child's side of ``video.readers``: one request is one video, its answer the clips."""

from __future__ import annotations

from pathlib import Path

from ftsf_export.bundle import Preprocessing
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.strict_json import structured
from ftsf_export.video.video_clips import VideoClips, clips_from_video

_CLIPS = "clips"


class VideoReader:
    """The first request says how videos become clips, each further one names a video."""

    def __init__(self) -> None:
        self._how: Preprocessing | None = None
        self._options: dict[str, int] = {}

    def __call__(self, request: Message, _tell: Tell) -> Message:
        if self._how is None:
            self._how = structured(request.value["how"], Preprocessing, "the request to read videos")
            self._options = request.value["options"]
            return Message()
        clips = clips_from_video(Path(request.value), self._how, **self._options)
        told = {
            "frames": clips.frames,
            "available": clips.available,
            "decodings": clips.decodings,
            "warnings": clips.warnings,
        }
        return Message(told, {_CLIPS: clips.values})


def clips_of_answer(answer: Message) -> VideoClips:
    """What ``VideoReader`` said of a video."""
    told = answer.value
    return VideoClips(
        values=answer.arrays[_CLIPS],
        frames=tuple(tuple(view) for view in told["frames"]),
        available=told["available"],
        decodings=told["decodings"],
        warnings=tuple(told["warnings"]),
    )
