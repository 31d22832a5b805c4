"""Writing a bundle whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from ftsf_export.bundle.bundle import Bundle, check_golden
from ftsf_export.bundle.contents import check_file, check_listed
from ftsf_export.bundle.files import entry_of, files_under, flush, flush_folders, write_flushed
from ftsf_export.bundle.folder import opened
from ftsf_export.bundle.manifest import GOLDEN_NAME, MANIFEST_NAME, ONNX_NAME, REQUIRED_FILES, Manifest
from ftsf_export.bundle.place import check_free, clear_leftovers, make_staging, moved_whole, take_place
from ftsf_export.bundle.update import check_engines, check_verdicts
from ftsf_export.disk import DISK_FULL, disk_refusals_translated, output_error
from ftsf_export.errors import BundleError

_WRITING = "write the bundle"


class BundleWriter:
    """A staging directory that becomes the bundle ``output`` on ``commit``, and disappears otherwise.

        with BundleWriter("out", overwrite=True) as writer:
            ...  # fill writer.path
            bundle = writer.commit(manifest)

    Entering raises OutputError, before any long work, when the place is taken or cannot be written. The staging
    directory is a hidden sibling of ``output``, on the same file system, and has no manifest until the end. Where
    directories above ``output`` are missing, they are staged with it, so that a process that is killed leaves none of
    them empty. A refusal of the disk inside the block (no space, no permission) leaves it as OutputError.
    """

    def __init__(self, output: str | Path, *, overwrite: bool = False) -> None:
        self._output = Path(output)
        self._target = self._output.resolve()
        self._overwrite = overwrite
        # What is staged: the target, or the first directory above it that is missing.
        self._top = next((one for one in reversed(self._target.parents) if not os.path.lexists(one)), self._target)
        self._staging: Path | None = None
        self._undo = ExitStack()

    @property
    def path(self) -> Path:
        """The staging directory."""
        if self._staging is None:
            raise RuntimeError("BundleWriter: the staging directory exists inside the `with` block, until commit")
        return self._staging / self._target.relative_to(self._top)

    def __enter__(self) -> BundleWriter:
        # Whatever ends the block, Ctrl-C too, leaves the disk as it was found.
        with disk_refusals_translated(_WRITING, self._output), ExitStack() as undo:
            check_free(self._target, self._overwrite)
            clear_leftovers(self._top)
            self._staging, lock = make_staging(self._top)
            undo.callback(lock.release)
            undo.callback(shutil.rmtree, self._staging, ignore_errors=True)
            self.path.mkdir(parents=True, exist_ok=True)
            self._undo = undo.pop_all()
        return self

    def hashed(self, manifest: Manifest) -> Manifest:
        """The manifest with the hash and size of every file that is in the staging directory by now."""
        return replace(manifest, files={name: entry_of(self.path / name) for name in files_under(self.path)})

    def commit(self, manifest: Manifest) -> Bundle:
        """Hashes the files, writes the manifest, and puts the bundle in its place.

        Raises BundleError when a file that the manifest speaks of is missing or is another one, OutputError when the
        disk refuses or when the place was taken meanwhile.
        """
        from ftsf_export.bundle.golden import read_golden

        staging = self.path
        with disk_refusals_translated(_WRITING, self._output):
            present = files_under(staging)
            for name in (*REQUIRED_FILES, *manifest.files):
                if name not in present:
                    raise BundleError(f"{name}: is to be in the bundle, but was not written")
            manifest = self.hashed(manifest)
            check_listed(staging, manifest)
            check_engines(staging, manifest)
            with opened(staging) as folder:
                check_file(folder, ONNX_NAME, manifest)
            check_verdicts(manifest.verdicts, manifest)
            check_golden(read_golden(staging / GOLDEN_NAME), manifest, GOLDEN_NAME)
            data = manifest.to_bytes()
            for name in manifest.files:
                flush(staging / name)
            write_flushed(staging / MANIFEST_NAME, data)
            assert self._staging is not None
            flush_folders(self._staging)
            if self._top == self._target or not moved_whole(self._staging, self._top):
                self._target.parent.mkdir(parents=True, exist_ok=True)
                take_place(staging, self._target, self._overwrite)
            for above in (self._target.parent, self._top.parent):
                flush(above)
        # What is left to undo finds nothing, or what is left of the directories above.
        self._staging = None
        return Bundle(self._output, Manifest.from_bytes(data))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        refused = isinstance(error, OSError) and self._concerns_output(error)
        self._undo.close()
        self._staging = None
        if refused and isinstance(error, OSError):
            raise output_error(error, _WRITING, self._output) from error

    def _concerns_output(self, error: OSError) -> bool:
        """A video that may not be read is no matter of the output; a full disk, or a file in our directory, is."""
        if error.filename is None:
            return error.errno in DISK_FULL
        return self._staging is not None and str(self._staging) in str(error.filename)
