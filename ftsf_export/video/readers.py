"""Videos read by several processes at once, in a bounded queue.

A process a reader: decoders hold Python's lock between frames, and one that a damaged file brings down takes only its
own process with it, which is then started anew. A thread here waits for each process; what it read waits in a queue
until it is asked for, and while that is full nothing more is decoded.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import EnvironmentLacks, FtsfError, RunError, VideoError
from ftsf_export.process.parent import Child, Ending
from ftsf_export.strict_json import plain
from ftsf_export.video.reader import clips_of_answer
from ftsf_export.video.video_clips import VideoClips

_POLL_S, _END_S = 0.1, 1.0
# Clips that wait for the model: thirty views of a video, 8 x 224 px in float32, take 145 MB.
_QUEUE_BYTES = 512 << 20


@dataclass(frozen=True)
class Read:
    """One video that was read, or was not."""

    place: int  #: Of the video among those that were asked for.
    path: Path  #: As it was given.
    outcome: VideoClips | VideoError  #: Its clips, or why there are none.


class VideoReaders:
    """A context manager that reads ``paths`` while it lasts, with ``processes``; ``options`` as ``clips_from_video``.

    Iterating, once, gives every video once, in the order in which they are done. It raises EnvironmentLacks without
    PyAV or Pillow, RunError where no process for reading starts.
    """

    def __init__(
        self, paths: Iterable[Path], how: Preprocessing, *, processes: int, options: Mapping[str, int] | None = None
    ) -> None:
        self._request = {"how": plain(how), "options": dict(options or {})}
        self._jobs = enumerate(paths)
        self._jobs_lock = threading.Lock()
        # Beside what waits here, each thread holds one video that was read.
        waiting = max(1, min(processes, _QUEUE_BYTES // _bytes_of(how, options or {})))
        self._done: queue.Queue[Read | BaseException | None] = queue.Queue(maxsize=waiting)
        self._stop = threading.Event()
        self._children: set[Child] = set()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(processes)]

    def __enter__(self) -> VideoReaders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        for child in tuple(self._children):
            child.kill()
        for thread in self._threads:
            thread.join(_END_S)

    def __iter__(self) -> Iterator[Read]:
        running = len(self._threads)
        while running:
            item = self._done.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item

    def waiting(self) -> bool:
        """Whether something was read already that iterating has not given yet."""
        return not self._done.empty()

    def _work(self) -> None:
        try:
            with _Reader(self._request, self._children) as reader:
                while not self._stop.is_set() and (job := self._next_job()) is not None:
                    place, path = job
                    self._put(Read(place, path, reader.outcome(path)))
            self._put(None)
        except BaseException as error:
            # Whatever it is, the thread that waits for us has to know.
            self._put(error)

    def _next_job(self) -> tuple[int, Path] | None:
        with self._jobs_lock:
            return next(self._jobs, None)

    def _put(self, item: Read | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._done.put(item, timeout=_POLL_S)
                return
            except queue.Full:
                continue


def _bytes_of(how: Preprocessing, options: Mapping[str, int]) -> int:
    """Of the clips of one video."""
    views = options.get("clips", 1) * options.get("crops", 1)
    return views * math.prod(how.clip_shape) * np.dtype(how.dtype).itemsize


class _Died(VideoError):
    """The process is gone."""


class _Reader:
    """One process, started when it is needed and again after it died."""

    def __init__(self, request: object, children: set[Child]) -> None:
        self._request, self._children = request, children
        self._child: Child | None = None
        self._path: Path | None = None  # Of the video that is read; none while the process starts.

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._end()

    def outcome(self, path: Path) -> VideoClips | VideoError:
        """The clips of ``path``, or what is wrong with it. Raises EnvironmentLacks, and RunError where no process
        starts."""
        child = self._child or self._started()
        self._path = path
        try:
            return clips_of_answer(child.call(str(path)))
        except _Died as error:
            self._end()
            return error
        except VideoError as error:
            return error
        except EnvironmentLacks:
            raise
        except FtsfError as error:
            return VideoError(f"{path}: {error.message}", details=error.details)

    def _started(self) -> Child:
        self._path = None
        self._child = Child("ftsf_export.video.reader:VideoReader", failed=self._failed)
        self._children.add(self._child)
        self._child.call(self._request)
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._children.discard(self._child)
            self._child.close()
            self._child = None

    def _failed(self, ending: Ending) -> FtsfError:
        if self._path is None:
            return RunError(f"the process that reads videos {ending.how}: {ending.said}", details=ending.details)
        kind = VideoError if ending.how == "failed" else _Died
        return kind(f"{self._path}: reading it {ending.how}: {ending.said}", details=ending.details)
