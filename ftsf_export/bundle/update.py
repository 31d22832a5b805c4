"""Changing a bundle in place, all or nothing.

New content waits, complete and on the disk, under ``.pending/<name>``. Renaming the new manifest over the old one is
the moment that counts. Only then does the content move to its name. A process that dies

- before the rename leaves the old bundle, whole, and a ``.pending`` folder that the next writer removes;
- after the rename leaves a manifest ahead of its files: whoever opens the bundle next moves the waiting content.

So a file that the old manifest lists can be replaced, which "file first, manifest second" cannot do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftsf_export.bundle.files import (
    disk_refusals_translated,
    entry_of,
    files_under,
    flush,
    flush_folders,
    write_flushed,
)
from ftsf_export.bundle.lock import locked
from ftsf_export.bundle.manifest import MANIFEST_NAME, PENDING_FOLDER, Manifest, read_manifest
from ftsf_export.errors import BundleError
from ftsf_export.verdict import Verdict

_READER_WAITS_S = 10.0
_MEND = "copy the bundle to a place with room that can be written, and run the command there"


def finish_interrupted_update(root: Path) -> None:
    """Completes what a writer that died had begun. Raises BundleError where that cannot be done."""
    try:
        with locked(root, wait_s=_READER_WAITS_S):
            _move_pending(root, read_manifest(root))
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
def updating(root: Path) -> Iterator[Manifest]:
    """Holds the lock, gives the manifest as it is under the lock, and drops what waits when the block fails."""
    read_manifest(root)
    with disk_refusals_translated("update the bundle", root, _MEND), locked(root):
        # Read again: another command may have recorded since.
        manifest = read_manifest(root)
        _move_pending(root, manifest)
        before = (root / MANIFEST_NAME).read_bytes()
        (root / PENDING_FOLDER).mkdir()
        try:
            yield manifest
        except BaseException:
            # Once the new manifest is there, the waiting content is what it describes: kept for the next opening.
            if (root / MANIFEST_NAME).read_bytes() == before:
                shutil.rmtree(root / PENDING_FOLDER, ignore_errors=True)
            raise


def write_pending(root: Path, name: str, content: Path | bytes) -> Path:
    # Before anything takes effect: a folder that is a link must not carry the content out of the bundle.
    if not (root / name).resolve().is_relative_to(root.resolve()):
        raise BundleError(f"{root / name}: a symbolic link there leads out of the bundle; remove it")
    target = root / PENDING_FOLDER / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        write_flushed(target, content)
    else:
        shutil.copyfile(content, target)
        flush(target)
    return target


def publish(root: Path, manifest: Manifest) -> Manifest:
    """The new manifest takes effect, and the waiting content goes to its place. Gives the manifest as written."""
    data = manifest.to_bytes()
    pending = root / PENDING_FOLDER
    write_flushed(pending / MANIFEST_NAME, data)
    flush_folders(pending)
    os.replace(pending / MANIFEST_NAME, root / MANIFEST_NAME)
    flush(root)
    manifest = Manifest.from_bytes(data)
    _move_pending(root, manifest)
    return manifest


def _move_pending(root: Path, manifest: Manifest) -> None:
    """Moves waiting content that the manifest describes to its place; removes the rest. The lock is held."""
    pending = root / PENDING_FOLDER
    if not pending.is_dir() or pending.is_symlink():
        return
    for name in files_under(pending):
        entry = manifest.files.get(name)
        if entry is not None and entry_of(pending / name) == entry:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(pending / name, target)
            flush(target.parent)
    shutil.rmtree(pending)
    flush(root)
