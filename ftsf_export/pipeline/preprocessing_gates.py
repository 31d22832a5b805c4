"""The gates on preprocessing: the checkpoint's own processor at an export, and the export's own clip at ``verify``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftsf_export.bundle import GOLDEN_NAME, Bundle
from ftsf_export.bundle.golden import Golden
from ftsf_export.bundle.golden_video import GoldenVideo
from ftsf_export.disk import scratch_folder, scratch_refusals_translated
from ftsf_export.doctor.packages import lacking_modules, require_modules
from ftsf_export.errors import UsageError, VideoError, install_command
from ftsf_export.network.gates import PARITY_PREPROCESSING, PREPROCESSING
from ftsf_export.parity.preprocessing import Tensors, judge_processor, judge_remade
from ftsf_export.verdict import Status, Subject, Verdict
from ftsf_export.video.decode import Frame
from ftsf_export.video.preprocess import preprocess
from ftsf_export.video.stages import file_digest, made_in_child

if TYPE_CHECKING:
    from ftsf_export.pipeline.clips import JudgedClips
    from ftsf_export.pipeline.resolve import ResolvedExport


def processor_verdicts(resolved: ResolvedExport, clips: JudgedClips, subject: Subject) -> tuple[Verdict, ...]:
    """Our frames of a checkpoint's model beside those of its own processor; none without a checkpoint of somebody else.

    ``subject``: the reference values. Asked are frames of the first video, else noise, whole and cut to odd sizes.
    """
    from ftsf_export.checkpoint import huggingface_processor

    checkpoint = resolved.checkpoint
    if checkpoint is None or checkpoint.ours:
        return ()
    lacking = huggingface_processor.lacking(checkpoint) or ", ".join(
        f"{module}: not installed; install it with: {install_command('video')}" for module in lacking_modules("video")
    )
    if lacking:
        return (PARITY_PREPROCESSING.not_run(subject, lacking),)
    pairs = []
    for what, frames in _samples(resolved, clips):
        ours = resolved.takes.of_model(preprocess(frames, resolved.preprocessing)[None])[0]
        try:
            theirs = huggingface_processor.their_clip(checkpoint, frames)
        except Exception as error:  # transformers and Pillow raise what they like
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return (PARITY_PREPROCESSING.not_run(subject, f"the checkpoint's own processor fails on {what}: {said}"),)
        pairs.append(Tensors(what, ours, theirs))
    return (judge_processor(pairs, checkpoint.preprocessing.std, subject),)


def _samples(resolved: ResolvedExport, clips: JudgedClips) -> Iterator[tuple[str, list[Frame]]]:
    """Frames to ask about, with what they are: as they come, of odd sides, upright, and smaller than they will be."""
    side = resolved.preprocessing.resize_short_side or max(resolved.preprocessing.crop)
    name, frames = "noise", list(clips.frames[:: max(1, len(clips.frames) // 2)])
    if clips.video is not None:
        name = clips.video.name
    else:
        draw = np.random.default_rng(resolved.config.seed)
        frames = [draw.integers(0, 256, (side * 5 // 4, side * 7 // 4, 3), np.uint8) for _ in range(2)]
    height, width = frames[0].shape[:2]
    odd = ((height - 1) | 1, (2 * width // 3) | 1)
    small = (min(height, (3 * side // 4) | 1), min(width, side | 1))
    yield f"{name}, {height}x{width}", frames
    for rows, columns in (odd, odd[::-1], small):
        cut = [np.ascontiguousarray(frame[:rows, :columns]) for frame in frames]
        if resolved.preprocessing.resize_short_side or min(cut[0].shape[:2]) >= side:
            yield f"{name}, {cut[0].shape[0]}x{cut[0].shape[1]}", cut


def remade_verdict(
    bundle: Bundle, golden: Golden, video: Path | None, graph: Mapping[str, Status], *, limited: bool = True
) -> Verdict:
    """The clip of the reference video, made again here and held against the one that is kept.

    ``video``: the file, where it does not travel in the bundle. ``graph``: what parity says of the graph that is given
    the kept clip. ``limited``: as in ``verify``; a video that the user names has no limit.

    Raises UsageError for another video than the export's, EnvironmentLacks where one was given and cannot be read
    here, RunError where decoding takes too much.
    """
    kept, subject = golden.video, Subject(GOLDEN_NAME, bundle.manifest.files[GOLDEN_NAME].sha256)
    if kept is None:
        if video is not None:
            raise UsageError("video: the bundle was exported without one; export it again with --video")
        return PREPROCESSING.not_run(subject, "the export was given no --video: no frames to make again")
    if video is not None:
        require_modules("video", "to read a video")
    elif lacking := lacking_modules("video"):
        reason = f"{', '.join(lacking)}: not installed; install it with: {install_command('video')}"
        return PREPROCESSING.not_run(subject, reason)
    elif kept.content is None:
        reason = f"{kept.name} is too large to travel in the bundle; give it: ftsf verify --video FILE"
        return PREPROCESSING.not_run(subject, reason)
    how = bundle.manifest.preprocessing
    with _file_of(kept, video) as path:
        try:
            made = made_in_child(path, how, kept.stages.indices, limited=limited and video is None)
        except VideoError as error:
            said = error.message.replace(str(path), kept.name)
            return PREPROCESSING.verdict(subject, Status.FAILED, f"decode is the first stage that departs: {said}")
    return judge_remade((kept.stages, golden.clip[kept.clip]), (made.stages, made.clip), how, subject, graph)


@contextmanager
def _file_of(kept: GoldenVideo, video: Path | None) -> Iterator[Path]:
    """A path to the video that was judged. Raises UsageError where ``video`` is another one."""
    if video is not None:
        if file_digest(video)[0] != kept.sha256:
            raise UsageError(f"video: expected {kept.name} as it was exported (sha256 {kept.sha256[:16]}), got {video}")
        yield video
        return
    assert kept.content is not None
    with scratch_folder("ftsf-video-") as folder:
        path = folder / "video"
        with scratch_refusals_translated():
            path.write_bytes(kept.content.tobytes())
        yield path
