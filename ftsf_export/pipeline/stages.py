"""How long each stage took and how much memory the process had needed by its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ftsf_export.bench.memory import peak_rss_bytes
from ftsf_export.progress import OnProgress, silent
from ftsf_export.report import StageTime


class Stages:
    """Announces each stage and keeps its time, in order."""

    def __init__(self, on_progress: OnProgress = silent) -> None:
        self._on_progress = on_progress
        self._times: list[StageTime] = []

    @property
    def times(self) -> tuple[StageTime, ...]:
        return tuple(self._times)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._on_progress(name, None)
        start = time.perf_counter()
        yield
        self._times.append(StageTime(name, round(time.perf_counter() - start, 3), peak_rss_bytes()))
