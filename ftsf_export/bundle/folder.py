"""A directory by its descriptor. Names below it are opened one part at a time, and never through a link.

A path that was looked at and is then used may lead elsewhere by then. Here nothing is looked at first: each part of a
name is opened from the descriptor of the folder above it, with O_NOFOLLOW, and what was opened is asked what it is
(openat(2) and fstat(2), POSIX.1-2008). O_NONBLOCK keeps a pipe without a writer from holding us up.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from io import FileIO
from operator import or_
from pathlib import Path

from ftsf_export.errors import BundleError, EnvironmentLacks, UsageError


def _flags(*names: str) -> int:
    """Windows lacks some of them; there ``opened`` refuses before any is used."""
    return reduce(or_, (getattr(os, name, 0) for name in names))


_READ = _flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC")
_CREATE = _flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC")
_ROOT = _flags("O_RDONLY", "O_DIRECTORY", "O_CLOEXEC")
_BELOW = _ROOT | _flags("O_NOFOLLOW")
# Deeper than any name of ours: what lies below is not entered.
_DEEPEST = 16


@dataclass(frozen=True)
class Folder:
    """An open directory."""

    descriptor: int  #: Of the directory, for as long as whoever opened it keeps it.
    path: Path  #: Where it was found, for messages; nothing is opened by it.

    def is_at(self, path: Path) -> bool:
        """Whether this directory still lies at ``path``."""
        try:
            there, here = os.stat(path), os.fstat(self.descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    @contextmanager
    def below(self, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """The descriptor of the folder ``parts`` below this one, made where it is missing if ``make``.

        Raises OSError: a part that is missing, or that is a link or a file (ENOTDIR or ELOOP).
        """
        descriptor = os.dup(self.descriptor)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
                inner = os.open(part, _BELOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def file(self, name: str) -> Iterator[FileIO]:
        """The regular file ``name``, open for reading, without a buffer.

        Raises BundleError when it is missing, cannot be read or is no regular file, and for a link on the way.
        """
        *above, leaf = name.split("/")
        try:
            with self.below(above) as parent:
                descriptor = _regular(leaf, parent)
        except OSError as error:
            raise self._refusal(name, error) from error
        with FileIO(descriptor) as stream:
            yield stream

    @contextmanager
    def loose_file(self, leaf: str, shown: str) -> Iterator[FileIO]:
        """The same of a file of this folder that is in no bundle. Raises UsageError, which calls it ``shown``."""
        try:
            descriptor = _regular(leaf, self.descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UsageError(f"{shown}: a symbolic link; put the file itself there") from error
            raise UsageError(f"{shown}: cannot be read: {error.strerror or error}") from error
        with FileIO(descriptor) as stream:
            yield stream

    @contextmanager
    def new_file(self, name: str) -> Iterator[FileIO]:
        """The file ``name``, which must not be there yet, open for writing, and on the disk afterwards (fsync).

        Folders on its way are made. Raises OSError.
        """
        *above, leaf = name.split("/")
        with self.below(above, make=True) as parent:
            with FileIO(os.open(leaf, _CREATE, 0o666, dir_fd=parent), "w") as stream:
                yield stream
                os.fsync(stream.fileno())
            flush_descriptor(parent)

    def move(self, source: str, target: str) -> None:
        """Renames a file; what is at ``target`` gives way, a link there itself and not what it points to.

        The folder of ``target`` is made where it is missing. Raises OSError, also where either folder is a link.
        """
        *above, leaf = source.split("/")
        *place, name = target.split("/")
        with self.below(above) as old, self.below(place, make=True) as new:
            os.rename(leaf, name, src_dir_fd=old, dst_dir_fd=new)
            flush_descriptor(new)

    def remove(self, name: str) -> None:
        """Removes a file, or the link itself. Raises OSError."""
        *above, leaf = name.split("/")
        with self.below(above) as parent:
            os.unlink(leaf, dir_fd=parent)

    def remove_empty(self, name: str) -> None:
        """Removes a directory, and those below it, as far as they are empty."""
        with suppress(OSError):
            for inner, mode in self.entries(name):
                if stat.S_ISDIR(mode):
                    self.remove_empty(f"{name}/{inner}")
            *above, leaf = name.split("/")
            with self.below(above) as parent:
                os.rmdir(leaf, dir_fd=parent)

    def holds_folder(self, name: str) -> bool:
        """Whether ``name`` is a directory here, and no link to one."""
        try:
            with self.below((name,)):
                return True
        except OSError:
            return False

    def entries(self, name: str = "") -> list[tuple[str, int]]:
        """Name and mode (``st_mode``, links not followed) of what is in the folder ``name``, sorted. Raises OSError."""
        with self.below(name.split("/") if name else ()) as folder, os.scandir(folder) as found:
            return sorted((one.name, one.stat(follow_symlinks=False).st_mode) for one in found)

    def walk(self, name: str = "") -> Iterator[tuple[str, int]]:
        """Name and mode of everything below the folder ``name`` that is no directory; links are not followed.

        A directory deeper than any of ours is given as it is and not entered. Raises OSError.
        """
        for leaf, mode in self.entries(name):
            path = f"{name}/{leaf}" if name else leaf
            if stat.S_ISDIR(mode) and path.count("/") < _DEEPEST:
                yield from self.walk(path)
            else:
                yield path, mode

    def _refusal(self, name: str, error: OSError) -> BundleError:
        path = self.path / name
        parts = name.split("/")
        ways = [self.path.joinpath(*parts[: count + 1]) for count in range(len(parts))]
        if link := next((way for way in ways if _is_link(way)), None):
            return BundleError(f"{link}: a symbolic link; a bundle holds the files themselves: put the file there")
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return BundleError(
                f"{path}: missing, though the manifest lists it; copy the whole bundle again, or write it again"
            )
        if error.errno in (errno.ENXIO, errno.EISDIR):
            return BundleError(f"{path}: expected a regular file; write the bundle again")
        return BundleError(f"{path}: cannot be read: {error.strerror or error}")


def _is_link(path: Path) -> bool:
    # A name that is too long for the file system cannot even be asked about.
    try:
        return path.is_symlink()
    except OSError:
        return False


def _regular(leaf: str, parent: int) -> int:
    """The descriptor of a regular file, open for reading. Raises OSError for whatever else is there."""
    descriptor = os.open(leaf, _READ, dir_fd=parent)
    # Asked before anything reads: FileIO takes no directory, and would leave it open.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR, "no regular file")
    return descriptor


def flush_descriptor(descriptor: int) -> None:
    """A directory, or a file that is open for reading, down to the disk (fsync)."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no fsync of a descriptor that is open for reading.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise


@contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """The directory at ``path``, whose own links are the user's to give. Raises OSError, and EnvironmentLacks."""
    if os.open not in os.supports_dir_fd:
        raise EnvironmentLacks(
            f"{path}: a bundle is opened by directory descriptors (openat), which this system lacks; use Linux"
        )
    descriptor = os.open(path, _ROOT)
    try:
        yield Folder(descriptor, path)
    finally:
        os.close(descriptor)
