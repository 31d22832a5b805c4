"""Frames of a video in one pass over it, also where which ones are wanted depends on how many there are.

Packets are read and counted first, which decodes nothing and takes about a hundredth of the time. In a sound file each
gives one frame, so the frames that sampling takes are known before the first is decoded, and each is handed on as it
appears: frames of a video of any length are never held. Whatever the count was, the frames that decode decide. Where
they are not as many, or something is damaged, the file is decoded once more, as PyAV does it when nothing is asked of
it: what a decoder makes of damage depends on its threads (tried with H.264), and frame ``i`` is the i-th that
sequential decoding gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any, Generic, TypeVar

from ftsf_export.errors import VideoError
from ftsf_export.video.container import container_of, video_file
from ftsf_export.video.decode import Frame, Upright, import_av, unreadable

T = TypeVar("T")
# How many frames there are, and how many come in a second where the container says it -> the numbers of those wanted.
Choose = Callable[[int, "Fraction | None"], Collection[int]]
_PASSES = 4
# Packets of a shorter video are kept from counting to decoding; a longer one is read twice.
_KEPT_BYTES = 64 << 20
# Containers without an index or a header: how long they are is taken from their own packets.
_WITHOUT_HEADER = ("mpeg", "mpegts")
# With threads a decoder tells damage of a frame too late to be seen with it, so it is to give up instead.
_GIVE_UP = {"err_detect": "explode"}
# How much shorter than its header says a video may end: timestamps are rounded, and sound may last longer.
_LATE_FRAMES, _LATE_SHARE, _SOUND_SHARE = 3, 0.02, 0.1


@dataclass(frozen=True)
class Taken(Generic[T]):
    """What a pass took of a video."""

    frames: Mapping[int, T]  #: What was made of each wanted frame, by its number.
    available: int  #: How many frames decode.
    rate: Fraction | None  #: Frames a second on average, as the container says it; None where it does not.
    decodings: int  #: How often the file was decoded: 1 where its packets told how many frames it has.
    warnings: tuple[str, ...]  #: What is wrong with the file although it was read.


@dataclass(frozen=True)
class _Promise:
    """What packets and header say, before anything is decoded."""

    frames: int  #: Packets that give a frame.
    broken: bool  #: Whether the container is damaged somewhere.
    complete: bool  #: Whether the header says that there are no more.
    rate: Fraction | None
    header_frames: int  #: How many are to decode by the header; 0 where it does not say.
    header_s: float | None  #: How long the video is by the header.
    tolerance_s: float  #: By how much that may be wrong.


@dataclass
class _Pass(Generic[T]):
    """One pass while it goes on."""

    frames: dict[int, T] = field(default_factory=dict)
    available: int = 0
    damaged: int = 0
    ended_by: str = ""
    end_s: float | None = None

    @property
    def sound(self) -> bool:
        return not self.damaged and not self.ended_by


def take_frames(path: Path, choose: Choose, take: Callable[[Frame], T], *, threads: int = 1) -> Taken[T]:
    """Decodes ``path`` and keeps what ``take`` makes of every frame that ``choose`` wants: upright, RGB, uint8.

    ``choose`` is asked again where fewer or more frames decode than packets promise. ``threads`` decode a sound file
    together. Raises VideoError where no frame can be read, and what ``choose`` and ``take`` raise.
    """
    av = import_av()
    try:
        with video_file(path) as file:
            return _taken(av, file, path, choose, take, threads)
    except (av.FFmpegError, OSError) as error:
        raise unreadable(path, error) from error


def _taken(av: Any, file: FileIO, path: Path, choose: Choose, take: Callable[[Frame], T], threads: int) -> Taken[T]:
    def wanted() -> frozenset[int]:
        return frozenset(choose(expected, promise.rate)) if expected else frozenset()

    done: _Pass[T] | None = None
    with container_of(av, file, path) as container:
        promise, packets = _promise(av, container)
        expected, plainly, doubtful = promise.frames, promise.broken, promise.broken
        if packets is not None and not plainly:
            stream = container.streams.video[0]
            done = _decoded(av, stream, packets, wanted(), take, threads if promise.complete else 1)
    for decodings in range(1, _PASSES + 1):
        if done is None:
            with container_of(av, file, path) as container:
                stream = container.streams.video[0]
                count = None if plainly else threads if promise.complete else 1
                done = _decoded(av, stream, container.demux(stream), wanted(), take, count)
        if plainly and not done.available:
            raise VideoError(f"{path}: expected a video with at least one frame, got none that decodes")
        if done.available == expected > 0 and (plainly or done.sound):
            warnings = tuple(_warnings(promise, done, doubtful))
            return Taken(done.frames, done.available, promise.rate, decodings, warnings)
        expected, plainly, doubtful = done.available or expected, True, doubtful or not done.sound
        done = None
    raise VideoError(f"{path}: decodes to another number of frames each time; the file changes")


def _promise(av: Any, container: Any) -> tuple[_Promise, list[Any] | None]:
    """What a container promises, and its packets; None where they are too many to be kept, or not to be trusted."""
    stream, packets = container.streams.video[0], []
    count = unseen = kept = end = 0
    broken = False
    try:
        for packet in container.demux(stream):
            # The last one is empty; those outside an edit list are decoded and not shown.
            count += packet.size > 0 and not packet.is_discard
            unseen += bool(packet.is_discard)
            broken = broken or packet.is_corrupt
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
            kept += packet.size
            if kept <= _KEPT_BYTES:
                packets.append(packet)
            else:
                packets.clear()
    except av.FFmpegError:
        broken = True
    rate = Fraction(stream.average_rate) if stream.average_rate else None
    header_s, whole = _header_s(container, stream)
    share = _SOUND_SHARE if whole and len(container.streams) > 1 else _LATE_SHARE
    tolerance_s = max(float(_LATE_FRAMES / rate) if rate else 0.0, share * (header_s or 0.0))
    told = max(0, stream.frames - unseen)
    end_s = float((end - (stream.start_time or 0)) * stream.time_base)
    complete = told == count if told else header_s is not None and end_s >= header_s - tolerance_s
    complete = complete and container.format.name not in _WITHOUT_HEADER
    promise = _Promise(count, broken, complete, rate, told, header_s, tolerance_s)
    return promise, packets if kept <= _KEPT_BYTES else None


def _header_s(container: Any, stream: Any) -> tuple[float | None, bool]:
    """How long the video is by the header, and whether that is said of the file as a whole."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base), False
    # As FFmpeg writes it into Matroska, a track's own: "00:00:02.400000000".
    told = stream.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in told)
        return 3600 * hours + 60 * minutes + seconds, False
    except ValueError:
        return (container.duration / 1_000_000 if container.duration else None), True


def _decoded(
    av: Any,
    stream: Any,
    packets: Iterable[Any],
    wanted: Collection[int],
    take: Callable[[Frame], T],
    threads: int | None,
) -> _Pass[T]:
    """One pass; without ``threads`` all is left to PyAV. A decoder's error ends it; left to PyAV alone, one that comes
    before any frame is raised."""
    done: _Pass[T] = _Pass()
    if threads is not None:
        stream.codec_context.thread_count = threads
        if threads > 1:
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.options = dict(_GIVE_UP)
    upright, last = Upright(), None
    for frame in _frames(av, packets, done, threads is None):
        if done.available in wanted:
            done.frames[done.available] = take(upright(frame))
        done.available += 1
        done.damaged += bool(frame.is_corrupt)
        last = (frame.pts, frame.duration)
    if last is not None and last[0] is not None:
        start = stream.start_time or 0
        done.end_s = float((last[0] - start + (last[1] or 0)) * stream.time_base)
    return done


def _frames(av: Any, packets: Iterable[Any], done: _Pass[Any], plainly: bool) -> Iterator[Any]:
    """What PyAV's ``container.decode`` gives; the last packet is empty, and has the decoder give what it holds back."""
    try:
        for packet in packets:
            yield from packet.decode()
    except av.FFmpegError as error:
        if plainly and not done.available:
            raise
        done.ended_by = error.strerror or str(error)


def _warnings(promise: _Promise, done: _Pass[Any], doubtful: bool) -> Iterator[str]:
    if done.ended_by:
        yield f"damaged after {done.available} frames ({done.ended_by}); these were taken for the whole video"
    if done.damaged:
        yield f"{done.damaged} of {done.available} frames are damaged"
    elif doubtful and not done.ended_by:
        yield "damaged: some frames may not be as they were recorded"
    if promise.header_frames not in (0, done.available):
        yield f"its header says {promise.header_frames} frames, {done.available} decode"
    elif promise.header_s and done.end_s is not None and done.end_s < promise.header_s - promise.tolerance_s:
        yield f"cut short: its header says {promise.header_s:.1f} s, it ends after {done.end_s:.1f} s"
    elif done.sound and _lost(promise.frames, done.available):
        yield f"{done.available} of {promise.frames} packets give a frame: it may be cut short"


def _lost(packets: int, frames: int) -> bool:
    """Whether frames are missing. Interlaced video may have two packets a frame."""
    return frames < packets and abs(packets - 2 * frames) > 1
