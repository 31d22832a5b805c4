"""The bundle: one directory that travels. Opening it proves that every file is the one the manifest describes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ftsf_export.bundle.contents import check_file, check_files, check_listed, opened_bundle, read_manifest
from ftsf_export.bundle.copies import copied, copied_graph
from ftsf_export.bundle.files import name_problem
from ftsf_export.bundle.folder import Folder
from ftsf_export.bundle.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    ONNX_NAME,
    PENDING_FOLDER,
    EngineEntry,
    Manifest,
)
from ftsf_export.bundle.update import (
    check_engines,
    check_verdicts,
    finish_interrupted_update,
    publish,
    updating,
    write_pending,
)
from ftsf_export.errors import BundleError
from ftsf_export.network.scope import CLIP
from ftsf_export.verdict import Status, Verdict, failing, outcome, raise_for_failed

if TYPE_CHECKING:
    from ftsf_export.bundle.golden import Golden

_ATTEMPTS = 10


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files were found to match its manifest.

    Attributes:
        path: its directory.
        manifest: what it holds.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Reads the manifest and checks every file that it lists.

        Raises BundleError: no directory, no manifest, another schema, a file that is missing, altered or outside.
        """
        root = Path(path)
        failed = b""
        for _ in range(_ATTEMPTS):
            with opened_bundle(root) as folder:
                try:
                    manifest = read_manifest(folder)
                except BundleError:
                    # An export may have put another bundle in its place, and be removing this one.
                    if folder.is_at(root):
                        raise
                    continue
                try:
                    waiting = _checked(folder, manifest)
                except BundleError:
                    # A command may be replacing files. Under its lock there is one truth; without ".pending" it may
                    # have ended between two looks, and then a second one finds all well.
                    if not folder.holds_folder(PENDING_FOLDER):
                        if failed == (failed := manifest.to_bytes()):
                            raise
                        continue
                    waiting = (PENDING_FOLDER,)
            if not waiting:
                return cls(root, manifest)
            finish_interrupted_update(root)
        raise BundleError(f"{root}: another command keeps changing this bundle; run this one again when it is done")

    @property
    def onnx_path(self) -> Path:
        """Where the graph lies. What is read there later is not known to be what was checked: see ``graph_copy``."""
        return self.path / ONNX_NAME

    @property
    def engines(self) -> tuple[EngineEntry, ...]:
        return self.manifest.engines

    def engine_path(self, engine: EngineEntry) -> Path:
        """Where the engine lies. What is read there later is not known to be what was checked: see ``engine_copy``."""
        return self.path / engine.file

    def read(self, name: str) -> bytes:
        """The content of a file that the manifest lists, hashed as it was read. Raises BundleError."""
        taken = BytesIO()
        with opened_bundle(self.path) as folder:
            check_file(folder, name, self.manifest, sink=taken)
        return taken.getvalue()

    @contextmanager
    def graph_copy(self) -> Iterator[Path]:
        """``model.onnx`` in a folder of our own, its external data beside it, hashed as they were copied.

        For libraries that open a path. Raises BundleError, and OutputError where temporary files cannot be written.
        """
        with copied_graph(self.path, self.manifest) as path:
            yield path

    @contextmanager
    def engine_copy(self, engine: EngineEntry) -> Iterator[Path]:
        """The same of an engine."""
        with copied(self.path, engine.file, self.manifest) as path:
            yield path

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts; one about a file that has changed since counts as not run."""
        return tuple(_current(verdict, self.manifest) for verdict in self.manifest.verdicts)

    def __repr__(self) -> str:
        of = f"{self.manifest.model.attn_mechanism}, {self.manifest.precision}"
        return f"<Bundle {self.path}: {of}, gates: {outcome(self.verdicts)}>"

    @property
    def passed(self) -> bool:
        """Whether no gate failed or was inconclusive; one that was not run (no GPU here) is not counted."""
        return not failing(self.verdicts)

    def raise_for_failed(self) -> None:
        """Raises GateFailed, naming the gate that failed first, unless the bundle ``passed``."""
        raise_for_failed(self.verdicts)

    def golden(self) -> Golden:
        """Reference inputs and outputs. Raises BundleError unless they fit the manifest."""
        from ftsf_export.bundle.golden import read_golden

        source = str(self.path / GOLDEN_NAME)
        golden = read_golden(BytesIO(self.read(GOLDEN_NAME)), source)
        check_golden(golden, self.manifest, source)
        return golden

    def with_verdicts(self, verdicts: Iterable[Verdict], by: str = "verify") -> Bundle:
        """Writes verdicts of the command ``by`` into the bundle; each takes the place of that on the same question."""
        return record(self, verdicts=verdicts, by=by)


def record(
    bundle: Bundle,
    *,
    verdicts: Iterable[Verdict] = (),
    by: str = "verify",
    engine: EngineEntry | None = None,
    files: dict[str, Path | bytes] | None = None,
) -> Bundle:
    """Adds to a bundle in place, all or nothing, one writer at a time; gives the bundle as it is then.

    ``by``: the command that judged (``verdict.RECORDERS``). ``files`` holds the new content by name in the bundle (a
    file to copy, or bytes): for an engine, the engine file and its sidecar. What another command recorded since
    ``bundle`` was opened is kept. Raises BundleError when another command is writing or when a verdict is about another
    file than the one in the bundle, and OutputError when the disk refuses. A process that dies on the way leaves the
    bundle as it was or as it should be.
    """
    root, files, verdicts = bundle.path, files or {}, tuple(verdicts)
    for name in files:
        if (problem := name_problem(name)) or name == MANIFEST_NAME or name.split("/")[0] == PENDING_FOLDER:
            raise ValueError(f"{name!r} cannot be a file of a bundle: {problem or 'the name is taken'}")
    with updating(root, files) as (folder, manifest):
        entries = {name: write_pending(folder, name, content) for name, content in files.items()}
        manifest = replace(manifest, files={**manifest.files, **entries}).with_verdicts(verdicts, by)
        if engine is not None:
            manifest = manifest.with_engine(engine)
        check_engines(root, manifest)
        check_verdicts(verdicts, manifest)
        return Bundle(root, publish(folder, manifest, files))


def check_golden(golden: Golden, manifest: Manifest, source: str) -> None:
    """Raises BundleError when the golden values do not have the manifest's shapes and taps."""
    specs, values = {spec.name: spec for spec in manifest.outputs}, golden.outputs
    if specs.keys() != values.keys():
        raise BundleError(
            f"{source}: expected values of {', '.join(specs)} as the graph gives, got {', '.join(values)}"
        )
    pairs = {CLIP: (manifest.inputs[0], golden.clip), **{name: (specs[name], values[name]) for name in specs}}
    for name, (spec, got) in pairs.items():
        if (tuple(spec.shape[1:]), spec.dtype, len(spec.shape)) != (got.shape[1:], str(got.dtype), got.ndim):
            raise BundleError(
                f"{source}: {name}: expected clips of shape {spec.shape[1:]}, {spec.dtype}, got {got.shape[1:]}, "
                f"{got.dtype}"
            )
    expected, found = {tap.name for tap in manifest.graph.taps}, set(golden.taps)
    if expected != found:
        missing, unknown = sorted(expected - found), sorted(found - expected)
        what = f"no values for {missing[0]!r}" if missing else f"values for {unknown[0]!r}, which the manifest lacks"
        raise BundleError(f"{source}: taps: {what}; write the bundle again")


def _checked(folder: Folder, manifest: Manifest) -> tuple[str, ...]:
    check_listed(folder.path, manifest)
    check_engines(folder.path, manifest)
    return check_files(folder, manifest)


def _current(verdict: Verdict, manifest: Manifest) -> Verdict:
    entry = manifest.files.get(verdict.subject.file)
    if not verdict.passed or (entry is not None and entry.sha256 == verdict.subject.sha256):
        return verdict
    return replace(
        verdict,
        status=Status.NOT_RUN,
        reason=f"{verdict.subject.file} has changed since this gate judged it; run: ftsf verify",
        measures=(),
    )
