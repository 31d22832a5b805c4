"""A folder of videos by class: ``DIR/CLASS/*.mp4``. Names alone; no video is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftsf_export.errors import VideoError

# By names alone; what a file is, its content says.
SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"),
    *(".ts", ".webm", ".wmv"),
)


@dataclass(frozen=True)
class ClassFolder:
    """The videos of a folder, and their classes."""

    path: Path  #: The folder.
    names: tuple[str, ...]  #: Of the class folders, sorted.
    files: tuple[tuple[Path, str], ...]  #: Each video and the name of its class, sorted by class and name.

    def indexed(self, labels: Sequence[str]) -> tuple[tuple[Path, int], ...]:
        """Each video and its class's place in ``labels``. Raises VideoError for a class that is not among them."""
        if strangers := [name for name in self.names if name not in labels]:
            known = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
            raise VideoError(f"{self.path}: class {strangers[0]!r} is not one of the model's: {known}")
        places = {label: place for place, label in enumerate(labels)}
        return tuple((file, places[name]) for file, name in self.files)


def class_folder(path: str | Path) -> ClassFolder:
    """What lies in ``path``. Hidden files, and files that are no videos by their name, are left alone.

    Raises VideoError where there is no folder, no class in it, or a class without a video.
    """
    path = Path(path)
    if not path.is_dir():
        raise VideoError(f"{path}: expected a folder of videos by class (CLASS/*.mp4), found none there")
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise VideoError(f"{path}: expected a folder for each class with its videos, got no folder")
    files = [(video, folder.name) for folder in folders for video in _videos(folder)]
    filled = {name for _, name in files}
    if empty := [folder.name for folder in folders if folder.name not in filled]:
        raise VideoError(f"{path / empty[0]}: expected videos ({', '.join(SUFFIXES)}), got none; remove the folder")
    return ClassFolder(path, tuple(folder.name for folder in folders), tuple(files))


def _videos(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and entry.is_file() and not entry.name.startswith(".")
    )
