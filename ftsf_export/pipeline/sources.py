"""What a user names as sources of videos: files, folders, patterns and lists, each video once, with its class if told.

Names alone: no video is opened here. Lists are read by ``user_file``.
"""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.errors import UsageError
from ftsf_export.user_file import content_of
from ftsf_export.video.class_folder import SUFFIXES

_LIST_BYTES = 256 << 20
# What the column of paths, and that of classes, is called where a list has a head.
_PATH_NAMES = ("path", "video", "video_path", "file", "filename", "filepath")
_CLASS_NAMES = ("label", "class", "class_name", "category")
KnownClass = Callable[[str], "int | None"]


@dataclass(frozen=True)
class Video:
    """A video to be classified."""

    path: Path  #: As it was found; it need not be there.
    label: str | None = None  #: The class that a list or its folder says, by name or number; None where nothing does.


@dataclass(frozen=True)
class Videos:
    """All videos of the sources."""

    found: tuple[Video, ...]  #: Each once, in the order of the sources, within a folder by name.
    remarks: tuple[str, ...] = ()  #: What a user may have meant otherwise.


def videos_of(sources: Sequence[str], known_class: KnownClass) -> Videos:
    """The videos of ``sources``: see ``docs/predict.md``. ``known_class`` gives the number of a class of the model.

    Raises UsageError for a list that does not read, a folder without videos, a pattern that nothing fits, and where no
    source is given.
    """
    found: dict[str, Video] = {}
    remarks: list[str] = []
    for source in sources:
        for video in _videos(source, known_class, remarks):
            key = os.path.abspath(video.path)
            first = found.setdefault(key, video)
            if first.label is None:
                found[key] = video
            elif video.label not in (None, first.label):
                remarks.append(f"{video.path}: is named as {first.label!r} and as {video.label!r}; the first counts")
    if not found:
        raise UsageError("expected a video, a folder, a pattern or a list of videos, got none")
    return Videos(tuple(found.values()), tuple(remarks))


def _videos(source: str, known_class: KnownClass, remarks: list[str]) -> Iterable[Video]:
    path = Path(source)
    if source.startswith("@") and not path.exists():
        return _of_list(Path(source[1:]))
    if path.is_dir():
        return _of_folder(path, known_class, remarks)
    if path.suffix.lower() == ".csv":
        return _of_list(path)
    if glob.has_magic(source) and not os.path.lexists(source):
        return _of_pattern(source, known_class, remarks)
    return [Video(path)]


def _of_pattern(pattern: str, known_class: KnownClass, remarks: list[str]) -> Iterator[Video]:
    """What fits: files that are videos by their name, or all files where none is, and the videos of folders."""
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    files = [path for path in paths if not path.is_dir()]
    named = [path for path in files if path.suffix.lower() in SUFFIXES]
    # Folders that "**" finds hold nothing but the files that it finds as well.
    folders = [path for path in paths if path.is_dir() and "**" not in pattern]
    found = [
        video for folder in folders if any(_files_below(folder)) for video in _of_folder(folder, known_class, remarks)
    ]
    if not (files or found):
        raise UsageError(f"{pattern}: no video fits this pattern")
    yield from sorted([*map(Video, named or ([] if found else files)), *found], key=lambda video: video.path)


def _of_folder(folder: Path, known_class: KnownClass, remarks: list[str]) -> list[Video]:
    """All videos below a folder, hidden ones left alone. Folders named as classes of the model say the class."""
    files = list(_files_below(folder))
    if not files:
        raise UsageError(f"{folder}: expected a folder with videos ({', '.join(SUFFIXES)}), got none in it")
    names = {file.parent.name for file in files if file.parent != folder}
    strangers = sorted(name for name in names if known_class(name) is None)
    by_class = bool(names) and not strangers and all(file.parent != folder for file in files)
    if names and strangers and len(strangers) < len(names):
        remarks.append(f"{folder}: its folders are not taken for classes: {strangers[0]!r} is not one of the model's")
    return [Video(file, file.parent.name if by_class else None) for file in files]


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(root, name)


def _of_list(path: Path) -> Iterator[Video]:
    """One video a line: its path, and for a CSV its class behind it. A relative path is looked for beside the list,
    then here."""
    text = content_of(path, expected="a list of videos", most=_LIST_BYTES).decode("utf-8-sig", errors="surrogateescape")
    lines = [line for line in text.splitlines() if line.strip()]
    rows = _rows(path, lines) if path.suffix.lower() == ".csv" else ((line.strip(), None) for line in lines)
    for name, label in rows:
        yield Video(_located(path.parent, name), label)


def _rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Path and class of each line. Without a comma the class is behind the last blank, as in TimeSformer's lists."""
    table = list(csv.reader(lines)) if any("," in line for line in lines) else [line.rsplit(None, 1) for line in lines]
    head = [cell.strip().lower() for cell in table[0]] if table else []
    place = next((head.index(name) for name in _PATH_NAMES if name in head), None)
    kind = next((head.index(name) for name in _CLASS_NAMES if name in head), None)
    if place is None:
        place, kind, body = 0, 1, table
        if head and not set(head).isdisjoint((*_CLASS_NAMES, "youtube_id")):
            raise UsageError(f"{path}: line 1: expected a column called path, got {', '.join(head)}")
    else:
        body = table[1:]
    for number, row in enumerate(body, len(table) - len(body) + 1):
        if body is table and len(row) > 2:
            raise UsageError(
                f"{path}: line {number}: expected a path and a class, got {len(row)} columns; name them in a first "
                "line: path,label"
            )
        if len(row) <= place or not row[place].strip():
            raise UsageError(f"{path}: line {number}: expected the path of a video, got none")
        label = row[kind].strip() if kind is not None and kind < len(row) else ""
        yield row[place].strip(), label or None


def _located(folder: Path, name: str) -> Path:
    beside = folder / name
    return Path(name) if not beside.exists() and Path(name).exists() else beside
