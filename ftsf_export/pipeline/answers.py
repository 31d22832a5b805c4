"""What is said of each video, as values, as lines of JSON and as rows of CSV; and the files that keep them.

Such a file grows line by line, so that what is finished is kept however the run ends. ``resume`` reads it back.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ftsf_export.class_scores import ClassScore
from ftsf_export.control_characters import shown, shown_in_json
from ftsf_export.disk import disk_refusals_translated
from ftsf_export.errors import OutputError, UsageError
from ftsf_export.strict_json import plain
from ftsf_export.user_file import regular_file


@dataclass(frozen=True, kw_only=True)
class RightClass:
    """The class that a list or a folder says a video is of."""

    index: int  #: Of the class among the logits.
    label: str  #: Its name; "" where it has none.
    rank: int  #: Its place among the model's answers: 1 is the best.


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model says of one video.

    Attributes:
        video: the path, as it was found.
        frames: numbers of the frames that were taken, a list for each view.
        topk: the best classes, the best first.
        runner: what ran the model: "tensorrt", "rtx", "onnxruntime-cuda" or "onnxruntime-cpu".
        decoded: how many frames of the video decode.
        right: the class that it is known to be of; None where that is not known.
        warnings: what is wrong with the file although it was read.
        random_weights: whether the weights were drawn, so that the scores mean nothing.
    """

    video: str
    frames: tuple[tuple[int, ...], ...]
    topk: tuple[ClassScore, ...]
    runner: str
    decoded: int
    right: RightClass | None = None
    warnings: tuple[str, ...] = ()
    random_weights: bool = False

    def json_line(self) -> str:
        """One line of JSON, without its end."""
        return shown_in_json(json.dumps(plain(self), allow_nan=False, ensure_ascii=False))

    def csv_row(self) -> list[str]:
        """The cells of ``csv_head``."""
        best = [cell for one in self.topk for cell in (one.index, one.label, f"{one.score:.6f}")]
        right = ("", "") if self.right is None else (self.right.index, self.right.rank)
        frames = ";".join(" ".join(map(str, view)) for view in self.frames)
        told = (self.runner, self.decoded, frames, "; ".join(self.warnings), int(self.random_weights))
        return [shown(str(cell)) for cell in (self.video, *best, *right, *told)]


@dataclass(frozen=True)
class Failure:
    """A video that could not be classified.

    Attributes:
        video: the path, as it was found.
        error: why, in one line.
    """

    video: str
    error: str


@dataclass(frozen=True)
class Kept:
    """What resuming needs of an answer that a file has."""

    video: str  #: The path.
    best: int  #: Index of the model's best class.
    right: tuple[int, int] | None  #: Index and rank of the right class; None where it is not known.


def csv_head(top_k: int) -> list[str]:
    best = [name for place in range(1, top_k + 1) for name in (f"index_{place}", f"label_{place}", f"score_{place}")]
    return ["video", *best, "right", "rank", "runner", "decoded", "frames", "warnings", "random_weights"]


def csv_line(cells: Sequence[str]) -> str:
    """One line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


class AnswerFile:
    """A file that gets a line for each answer. ``kept``: those that an earlier run wrote, by what ``key`` gives."""

    def __init__(self, path: Path, *, as_csv: bool, top_k: int) -> None:
        self.path, self._as_csv, self._head = path, as_csv, csv_head(top_k)
        self.kept: dict[str, Kept] = {}
        self._file: IO[bytes] | None = None

    def key(self, video: str) -> str:
        """A path as it is written here: a table shows what is invisible in it."""
        return shown(video) if self._as_csv else video

    @contextmanager
    def opened(self, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Open for writing while it lasts. Raises OutputError where it is there already, UsageError where it does not
        hold answers."""
        there = self.path.exists()
        if there and not (resume or overwrite):
            raise OutputError(
                f"{self.path}: is there already; give overwrite=True to replace it, or resume=True to go on with it"
            )
        with disk_refusals_translated("write the answers", self.path):
            file = self.path.open("a+b")
        with file:
            self._lock(file)
            whole = self._read() if resume else 0
            with disk_refusals_translated("write the answers", self.path):
                # What a killed run left of its last line goes, or all of it.
                file.truncate(whole)
                if self._as_csv and not whole:
                    file.write(f"{csv_line(self._head)}\n".encode())
                    file.flush()
            self._file = file
            try:
                yield
            finally:
                self._file = None

    def _lock(self, file: IO[bytes]) -> None:
        """Until it is closed. Raises OutputError where another run writes into it."""
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{self.path}: another run is writing into it; wait for it, or name another") from error
        except OSError:
            # A file system without locks keeps nobody out.
            return

    def write(self, answer: Answer) -> None:
        """One line, at once handed to the system. Raises OutputError."""
        if self._file is None or self.key(answer.video) in self.kept:
            return
        line = csv_line(answer.csv_row()) if self._as_csv else answer.json_line()
        with disk_refusals_translated("write the answers", self.path):
            self._file.write(f"{line}\n".encode())
            self._file.flush()

    def _read(self) -> int:
        """Takes what is there into ``kept``; how many bytes of whole lines there are."""
        whole = 0
        expected = "answers of an earlier run"
        with regular_file(self.path, expected=expected, most=None) as file, io.BufferedReader(file) as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    kept = self._kept(line.decode(), number)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    raise UsageError(
                        f"{self.path}: line {number + 1}: expected an answer as this command writes it, with as many "
                        "classes, got something else; give another file"
                    ) from error
                if kept is not None:
                    self.kept[kept.video] = kept
        return whole

    def _kept(self, line: str, number: int) -> Kept | None:
        if not self._as_csv:
            told: dict[str, Any] = json.loads(line)
            right = told["right"]
            return Kept(told["video"], told["topk"][0]["index"], right and (right["index"], right["rank"]))
        (row,) = csv.reader([line])
        if number == 0:
            if row != self._head:
                raise ValueError(f"another head: {row}")
            return None
        cells = dict(zip(self._head, row, strict=True))
        right = (int(cells["right"]), int(cells["rank"])) if cells["right"] else None
        return Kept(cells["video"], int(cells["index_1"]), right)


@contextmanager
def all_opened(files: Sequence[AnswerFile], *, resume: bool, overwrite: bool) -> Iterator[None]:
    """All of ``files`` open while it lasts. Raises as ``AnswerFile.opened``."""
    with ExitStack() as stack:
        for file in files:
            stack.enter_context(file.opened(resume=resume, overwrite=overwrite))
        yield


def kept_of(files: Sequence[AnswerFile], video: str) -> Kept | None:
    """What is known of a video that every file has already."""
    found = [file.kept.get(file.key(video)) for file in files]
    return found[0] if found and all(found) else None
