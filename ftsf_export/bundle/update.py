"""Changing a bundle in place, all or nothing.

New content waits, complete and on the disk, under ``.pending/<name>``. Renaming the new manifest over the old one is
the moment that counts. Only then does the content move to its name. A process that dies

- before the rename leaves the old bundle, whole, and a ``.pending`` folder that the next writer removes;
- after the rename leaves a manifest ahead of its files: whoever opens the bundle next moves the waiting content, once
  every file of the bundle was found in one of the two places.

So a file that the old manifest lists can be replaced, which "file first, manifest second" cannot do. Every step goes by
the descriptor of the directory that is locked, and through no link (``bundle.folder``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ftsf_export.bundle.contents import check_files, manifest_bytes, opened_bundle, read_manifest, waiting_files
from ftsf_export.bundle.files import is_usual
from ftsf_export.bundle.folder import Folder, flush_descriptor
from ftsf_export.bundle.hashed import HashedReader
from ftsf_export.bundle.lock import locked
from ftsf_export.bundle.manifest import MANIFEST_NAME, PENDING_FOLDER, FileEntry, Manifest
from ftsf_export.disk import disk_refusals_translated
from ftsf_export.errors import BundleError
from ftsf_export.verdict import Verdict

_READER_WAITS_S = 10.0
_MEND = "copy the bundle to a place with room that can be written, and run the command there"


def finish_interrupted_update(root: Path) -> None:
    """Completes what a writer that died had begun. Raises BundleError where that cannot be done.

    Nothing is moved before all files of the bundle were checked, under the lock.
    """
    try:
        with locked(root, wait_s=_READER_WAITS_S) as folder:
            manifest = read_manifest(folder)
            waiting = check_files(folder, manifest)
            for name in waiting:
                _check_way(folder, name)
            _move_waiting(folder, waiting)
            _clear_pending(folder, manifest.files)
    except OSError as error:
        raise BundleError(
            f"{root}: an update was interrupted and cannot be completed here ({error.strerror or error}); "
            "run any ftsf command on the bundle where it can be written"
        ) from error


def check_engines(root: Path, manifest: Manifest) -> None:
    """Raises BundleError when an engine's file or sidecar is not among the files, or is another one."""
    for engine in manifest.engines:
        for name in (engine.file, engine.sidecar):
            if name not in manifest.files:
                raise BundleError(
                    f"{root / engine.file}: the engine's {name!r} is not among the bundle's files; build it again"
                )
        if (found := manifest.files[engine.file].sha256) != engine.sha256:
            raise BundleError(
                f"{root / engine.file}: two hashes, {engine.sha256} as an engine, {found} as a file; build it again"
            )


def check_verdicts(verdicts: tuple[Verdict, ...], manifest: Manifest) -> None:
    """Raises BundleError when a passed verdict is about a file that is not in the bundle, or about another version."""
    for verdict in verdicts:
        entry = manifest.files.get(verdict.subject.file)
        if verdict.passed and (entry is None or entry.sha256 != verdict.subject.sha256):
            state = "is not in the bundle" if entry is None else "has changed since it was judged"
            raise BundleError(f"verdict {verdict.gate!r}: {verdict.subject.file!r} {state}; judge it again")


@contextmanager
def updating(root: Path, names: Iterable[str]) -> Iterator[tuple[Folder, Manifest]]:
    """Holds the lock, gives the directory and its manifest as they are under it, and drops what waits when the block
    fails. ``names``: what is to be written. Raises BundleError for a link on its way, before anything changes."""
    with opened_bundle(root) as folder:
        read_manifest(folder)
    with disk_refusals_translated("update the bundle", root, _MEND), locked(root) as folder:
        # Read again: another command may have recorded since.
        manifest = read_manifest(folder)
        waiting = waiting_files(folder, manifest)
        for name in (*waiting, *names):
            _check_way(folder, name)
        _move_waiting(folder, waiting)
        _make_pending(folder, manifest)
        before = manifest_bytes(folder)
        try:
            yield folder, manifest
        except BaseException:
            # Once the new manifest is there, the waiting content is what it describes: kept for the next opening.
            if manifest_bytes(folder) == before:
                _clear_pending(folder, _all_in_pending(folder))
            raise


def write_pending(folder: Folder, name: str, content: Path | bytes) -> FileEntry:
    """The content, complete and on the disk, under ``.pending``. Raises OSError."""
    with folder.new_file(f"{PENDING_FOLDER}/{name}") as stream:
        if isinstance(content, bytes):
            _write_all(stream.fileno(), content)
        else:
            with open(content, "rb") as source:
                while chunk := source.read(1 << 20):
                    _write_all(stream.fileno(), chunk)
    return entry_in(folder, f"{PENDING_FOLDER}/{name}")


def entry_in(folder: Folder, name: str) -> FileEntry:
    """Hash and size of a file. Raises BundleError as ``Folder.file``."""
    with folder.file(name) as stream:
        size = os.fstat(stream.fileno()).st_size
        return FileEntry(HashedReader(stream, size).finish(), size)


def publish(folder: Folder, manifest: Manifest, names: Iterable[str]) -> Manifest:
    """The new manifest takes effect, and the content of ``names`` goes to its place. Gives the manifest as written."""
    data = manifest.to_bytes()
    with folder.new_file(f"{PENDING_FOLDER}/{MANIFEST_NAME}") as stream:
        _write_all(stream.fileno(), data)
    folder.move(f"{PENDING_FOLDER}/{MANIFEST_NAME}", MANIFEST_NAME)
    _move_waiting(folder, names)
    _clear_pending(folder, ())
    return Manifest.from_bytes(data)


def _move_waiting(folder: Folder, names: Iterable[str]) -> None:
    """Moves waiting content to its place. The lock is held."""
    for name in names:
        folder.move(f"{PENDING_FOLDER}/{name}", name)


def _make_pending(folder: Folder, manifest: Manifest) -> None:
    """An empty ``.pending``: what a writer that died left there goes. Raises BundleError for what is not ours."""
    ours = [name for name in _all_in_pending(folder) if name in manifest.files or is_usual(name)]
    _clear_pending(folder, ours)
    try:
        os.mkdir(PENDING_FOLDER, dir_fd=folder.descriptor)
    except FileExistsError as error:
        found = next(iter(_all_in_pending(folder)), "")
        what = folder.path / PENDING_FOLDER / found
        raise BundleError(f"{what}: no file of ours, and in the way of an update; move it away") from error


def _all_in_pending(folder: Folder) -> list[str]:
    """What lies in ``.pending``: regular files by name, anything else by a name with a "/" at its end."""
    try:
        found = list(folder.walk(PENDING_FOLDER))
    except OSError:
        # It is not there, or it is no directory.
        return []
    cut = len(PENDING_FOLDER) + 1
    return [name[cut:] if stat.S_ISREG(mode) else f"{name[cut:]}/" for name, mode in found]


def _clear_pending(folder: Folder, names: Iterable[str]) -> None:
    """Removes these files from ``.pending``, and the folder where nothing else is in it."""
    for name in names:
        try:
            folder.remove(f"{PENDING_FOLDER}/{name}")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
    folder.remove_empty(PENDING_FOLDER)
    flush_descriptor(folder.descriptor)


def _check_way(folder: Folder, name: str) -> None:
    """Before anything takes effect: a folder that is a link must not carry the content out of the bundle."""
    *above, _ = name.split("/")
    try:
        with folder.below(above):
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BundleError(
            f"{folder.path.joinpath(*above)}: a symbolic link, or no directory; it would lead out of the bundle: "
            "remove it"
        ) from error


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
