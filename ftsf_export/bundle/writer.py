"""Writing a bundle whole or not at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from ftsf_export.bundle.bundle import Bundle, check_golden
from ftsf_export.bundle.files import (
    disk_refusals_translated,
    entry_of,
    files_under,
    flush,
    is_disk_refusal,
    output_error,
    write_flushed,
)
from ftsf_export.bundle.golden import read_golden
from ftsf_export.bundle.manifest import GOLDEN_NAME, MANIFEST_NAME, REQUIRED_FILES, Manifest
from ftsf_export.bundle.place import check_free, clear_leftovers, make_staging, take_place
from ftsf_export.bundle.update import check_references, check_verdicts
from ftsf_export.errors import BundleError


class BundleWriter:
    """A staging directory that becomes the bundle ``output`` on ``commit``, and disappears otherwise.

        with BundleWriter("out", overwrite=True) as writer:
            ...  # fill writer.path
            bundle = writer.commit(manifest)

    Entering raises OutputError, before any long work, when the place is taken or cannot be written. The staging
    directory is a hidden sibling of ``output``, on the same file system, and has no manifest until the end. A refusal
    of the disk inside the block (no space, no permission) leaves it as OutputError.
    """

    def __init__(self, output: str | Path, *, overwrite: bool = False) -> None:
        self._output = Path(output)
        self._target = self._output.resolve()
        self._overwrite = overwrite
        self._staging: Path | None = None
        self._lock = -1
        self._made: list[Path] = []

    @property
    def path(self) -> Path:
        """The staging directory."""
        if self._staging is None:
            raise RuntimeError("BundleWriter: enter the context first, and write before commit")
        return self._staging

    def __enter__(self) -> BundleWriter:
        if os.path.ismount(self._target):
            raise output_error(OSError(16, "mount point"), "replace the directory", self._output)
        check_free(self._target, self._overwrite)
        with disk_refusals_translated("write the bundle", self._output):
            try:
                self._make_parents()
                clear_leftovers(self._target)
                self._staging, self._lock = make_staging(self._target)
            except BaseException:
                self._remove()
                raise
        return self

    def commit(self, manifest: Manifest) -> Bundle:
        """Hashes the files, writes the manifest, and puts the bundle in its place.

        Raises BundleError when a file that the manifest speaks of is missing or is another one, OutputError when the
        disk refuses or when the place was taken meanwhile.
        """
        staging = self.path
        with disk_refusals_translated("write the bundle", self._output):
            manifest = _completed(staging, manifest)
            for name in manifest.files:
                flush(staging / name)
            write_flushed(staging / MANIFEST_NAME, manifest.to_bytes())
            for folder in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
                flush(folder)
            take_place(staging, self._target, self._overwrite)
            flush(self._target.parent)
        self._staging = None
        self._made = []
        return Bundle(self._output, manifest)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        if isinstance(error, OSError) and is_disk_refusal(error) and self._is_ours(error):
            raise output_error(error, "write the bundle", self._output) from error

    def _is_ours(self, error: OSError) -> bool:
        """True unless the error names a file elsewhere: a video that may not be read is no matter of the output."""
        return error.filename is None or str(self._target.parent) in str(error.filename)

    def _make_parents(self) -> None:
        missing = [folder for folder in self._target.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.append(folder)

    def _remove(self) -> None:
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        while self._made:
            try:
                self._made.pop().rmdir()
            except OSError:
                return


def _completed(staging: Path, manifest: Manifest) -> Manifest:
    """The manifest with the hashes of all files in ``staging``."""
    present = files_under(staging)
    for name in (*REQUIRED_FILES, *manifest.files):
        if name not in present:
            raise BundleError(f"{name}: is to be in the bundle, but was not written")
    manifest = replace(manifest, files={name: entry_of(staging / name) for name in present})
    check_references(manifest)
    check_verdicts(manifest.verdicts, manifest)
    check_golden(read_golden(staging / GOLDEN_NAME), manifest, GOLDEN_NAME)
    return manifest
