"""What the reference values keep of one real video: which frames make its clip, and what each stage made of them.

The clip itself is one of the reference clips. Letters: F frames, S sampled values of one stage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.strict_json import SHA256

# A video of at most so many bytes travels within the reference values, so that any machine can make its clip again.
MOST_BYTES = 2 << 20
PREFIX = "video/"
_TEXTS = ("name", "sha256", "decoded_sha256")
_STAGES = ("decoded", "resized", "cropped")


@dataclass(frozen=True, kw_only=True)
class ClipStages:
    """What one clip of a video went through.

    Of each stage the values at ``golden.sample_positions`` are kept: grey levels from 0 to 255 of all its frames,
    (F, height, width, 3) flattened.
    """

    available: int  #: How many frames of the video decode.
    indices: tuple[int, ...]  #: Numbers of the F frames that make the clip.
    #: SHA-256 of shape and bytes of these frames, decoded: upright RGB in uint8.
    decoded_sha256: str
    sizes: npt.NDArray[np.int64]  #: (3, 2): height and width of decoded, resized and cropped frames.
    decoded: npt.NDArray[np.float32]  #: (S,)
    resized: npt.NDArray[np.float32]  #: (S,)
    cropped: npt.NDArray[np.float32]  #: (S,)


@dataclass(frozen=True, kw_only=True)
class GoldenVideo:
    """One real video, as the export saw it. Raises ValueError for what cannot be."""

    name: str  #: Of the file, without its folder.
    sha256: str  #: Of the file.
    size_bytes: int  #: Of the file.
    clip: int  #: Which of the reference clips was made of it.
    stages: ClipStages  #: How.
    content: npt.NDArray[np.uint8] | None  #: The file's bytes; None where they are more than ``MOST_BYTES``.

    def __post_init__(self) -> None:
        stages = self.stages
        if not (SHA256.holds(self.sha256) and SHA256.holds(stages.decoded_sha256)):
            raise ValueError("video: expected digests of 64 hexadecimal digits")
        if min(self.size_bytes, stages.available, self.clip + 1, len(stages.indices)) < 1:
            raise ValueError("video: expected at least one byte, one frame and a clip")
        if not all(0 <= number < stages.available for number in stages.indices):
            raise ValueError(f"video: expected frames from 0 to {stages.available - 1}, got {stages.indices}")
        if self.content is not None and self.content.size != self.size_bytes:
            raise ValueError(f"video: expected {self.size_bytes} bytes of {self.name!r}, got {self.content.size}")
        if self.content is not None and hashlib.sha256(self.content.tobytes()).hexdigest() != self.sha256:
            raise ValueError(f"video: the bytes of {self.name!r} are not those that were exported")
        for name in _STAGES:
            values = getattr(stages, name)
            if not values.size or not np.isfinite(values).all():
                raise ValueError(f"video: {name}: expected finite numbers")

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As they stand in the file."""
        stages, numbers = self.stages, (self.size_bytes, self.clip, self.stages.available)
        texts = {"name": self.name, "sha256": self.sha256, "decoded_sha256": stages.decoded_sha256}
        found: dict[str, npt.NDArray[Any]] = {name: np.asarray(text, np.str_) for name, text in texts.items()}
        found["numbers"], found["indices"] = np.asarray(numbers, np.int64), np.asarray(stages.indices, np.int64)
        found["sizes"] = np.asarray(stages.sizes, np.int64)
        found.update({name: getattr(stages, name) for name in _STAGES})
        if self.content is not None:
            found["content"] = self.content
        return {PREFIX + name: values for name, values in found.items()}

    @classmethod
    def taken_from(cls, arrays: dict[str, npt.NDArray[Any]]) -> GoldenVideo | None:
        """Takes its arrays out of ``arrays``; None where there are none. Raises ValueError."""
        there = {key.removeprefix(PREFIX): arrays.pop(key) for key in list(arrays) if key.startswith(PREFIX)}
        if not there:
            return None
        content = there.pop("content", None)
        expected = {
            **dict.fromkeys(_TEXTS, ("U", 0)),
            **dict.fromkeys(("numbers", "indices"), ("i", 1)),
            "sizes": ("i", 2),
            **dict.fromkeys(_STAGES, ("f", 1)),
        }
        found = {name: (values.dtype.kind, values.ndim) for name, values in there.items()}
        bytes_wrong = content is not None and (content.dtype != np.uint8 or content.ndim != 1)
        if found != expected or there["numbers"].shape != (3,) or there["sizes"].shape != (3, 2) or bytes_wrong:
            raise ValueError(f"video: expected {', '.join(expected)}, got {found}")
        size_bytes, clip, available = there["numbers"].tolist()
        stages = ClipStages(
            available=available,
            indices=tuple(there["indices"].tolist()),
            decoded_sha256=there["decoded_sha256"].item(),
            sizes=there["sizes"],
            **{name: there[name] for name in _STAGES},
        )
        name, sha256 = there["name"].item(), there["sha256"].item()
        return cls(name=name, sha256=sha256, size_bytes=size_bytes, clip=clip, stages=stages, content=content)
