"""Adding to a bundle in place, all or nothing.

New content waits, complete and on the disk, under ``.pending/<name>``. Renaming the new manifest over the old one is
the moment that counts. Only then does the content move to its name. A process that dies

- before the rename leaves the old bundle, whole, and a ``.pending`` folder that the next writer removes;
- after the rename leaves a manifest ahead of its files: whoever opens the bundle next moves the waiting content.

So a file that the old manifest lists can be replaced, which "file first, manifest second" cannot do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ftsf_export.bundle.files import disk_refusals_translated, entry_of, files_under, flush, name_problem, write_flushed
from ftsf_export.bundle.lock import locked
from ftsf_export.bundle.manifest import MANIFEST_NAME, Manifest, read_manifest
from ftsf_export.bundle.specs import EngineEntry
from ftsf_export.errors import BundleError
from ftsf_export.verdict import Verdict

PENDING_FOLDER = ".pending"
_READER_WAITS_S = 10.0


def record_in(
    root: Path, verdicts: tuple[Verdict, ...], engine: EngineEntry | None, files: Mapping[str, Path | bytes]
) -> Manifest:
    """See ``record``."""
    for name in files:
        if (problem := name_problem(name)) or name == MANIFEST_NAME or name.split("/")[0] == PENDING_FOLDER:
            raise ValueError(f"{name!r} cannot be a file of a bundle: {problem or 'the name is taken'}")
    with disk_refusals_translated("update the bundle", root), locked(root):
        # Read again under the lock: another command may have recorded since the caller opened the bundle.
        manifest = read_manifest(root)
        _move_pending(root, manifest)
        try:
            manifest = _stage(root, manifest, verdicts, engine, files)
        except BaseException:
            shutil.rmtree(root / PENDING_FOLDER, ignore_errors=True)
            raise
        os.replace(root / PENDING_FOLDER / MANIFEST_NAME, root / MANIFEST_NAME)
        flush(root)
        _move_pending(root, manifest)
    return manifest


def finish_interrupted_update(root: Path) -> None:
    """Completes what a writer that died had begun. Raises BundleError where that cannot be done."""
    try:
        with locked(root, wait_s=_READER_WAITS_S):
            manifest = read_manifest(root)
            _move_pending(root, manifest)
    except OSError as error:
        raise BundleError(
            f"{root}: an update was interrupted and cannot be completed here ({error.strerror or error}); "
            "run any ftsf command on the bundle where it can be written"
        ) from error


def check_references(manifest: Manifest) -> None:
    """What is about to be written must hold together.

    Raises BundleError when an engine's file is not there or is another one, and when a passed verdict is about a
    file that is not there or is another one.
    """
    for engine in manifest.engines:
        for name in (engine.file, engine.sidecar):
            if name not in manifest.files:
                raise BundleError(f"engine {engine.file!r}: {name!r} is not among the bundle's files")
        if manifest.files[engine.file].sha256 != engine.sha256:
            raise BundleError(f"engine {engine.file!r}: its entry holds the hash of another file")


def check_verdicts(verdicts: tuple[Verdict, ...], manifest: Manifest) -> None:
    """Raises BundleError when a passed verdict is about a file that is not in the bundle, or about another version."""
    for verdict in verdicts:
        entry = manifest.files.get(verdict.subject)
        if verdict.passed and (entry is None or entry.sha256 != verdict.subject_sha256):
            state = "is not in the bundle" if entry is None else "has changed since it was judged"
            raise BundleError(f"verdict {verdict.gate!r}: {verdict.subject!r} {state}; judge it again")


def _stage(
    root: Path,
    manifest: Manifest,
    verdicts: tuple[Verdict, ...],
    engine: EngineEntry | None,
    files: Mapping[str, Path | bytes],
) -> Manifest:
    pending = root / PENDING_FOLDER
    pending.mkdir()
    entries = dict(manifest.files)
    for name, content in files.items():
        target = pending / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            write_flushed(target, content)
        else:
            shutil.copyfile(content, target)
            flush(target)
        entries[name] = entry_of(target)
    manifest = replace(manifest, files=entries).with_verdicts(verdicts)
    if engine is not None:
        manifest = manifest.with_engine(engine)
    check_references(manifest)
    check_verdicts(verdicts, manifest)
    write_flushed(pending / MANIFEST_NAME, manifest.to_bytes())
    for folder in (pending, *(path for path in pending.rglob("*") if path.is_dir())):
        flush(folder)
    return manifest


def _move_pending(root: Path, manifest: Manifest) -> None:
    """Moves waiting content that the manifest describes to its place; removes the rest. The lock is held."""
    pending = root / PENDING_FOLDER
    if not pending.is_dir():
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
