"""The bundle: one directory that travels. Opening it proves that every file is the one the manifest describes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ftsf_export.bundle.files import entry_of, member, name_problem, sha256_of
from ftsf_export.bundle.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    ONNX_NAME,
    PENDING_FOLDER,
    REQUIRED_FILES,
    EngineEntry,
    Manifest,
    read_manifest,
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
from ftsf_export.network.scope import CLIP, LOGITS
from ftsf_export.verdict import Status, Verdict

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
        for _ in range(_ATTEMPTS):
            manifest = read_manifest(root)
            try:
                _check_files(root, manifest)
            except BundleError:
                # A command may be replacing files, or have died while it did: then there is a new manifest to go by.
                if (root / PENDING_FOLDER).is_dir():
                    finish_interrupted_update(root)
                elif read_manifest(root).to_bytes() == manifest.to_bytes():
                    raise
            else:
                return cls(root, manifest)
        raise BundleError(f"{root}: another command keeps changing this bundle; run this one again when it is done")

    @property
    def onnx_path(self) -> Path:
        return self.path / ONNX_NAME

    @property
    def engines(self) -> tuple[EngineEntry, ...]:
        return self.manifest.engines

    def engine_path(self, engine: EngineEntry) -> Path:
        return member(self.path, engine.file)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts; one about a file that has changed since counts as not run."""
        return tuple(_current(verdict, self.manifest) for verdict in self.manifest.verdicts)

    def golden(self) -> Golden:
        """Reference inputs and outputs. Raises BundleError unless they fit the manifest."""
        from ftsf_export.bundle.golden import read_golden

        path = member(self.path, GOLDEN_NAME)
        golden = read_golden(path, str(path))
        check_golden(golden, self.manifest, str(path))
        return golden

    def with_verdicts(self, verdicts: Iterable[Verdict]) -> Bundle:
        """Writes the verdicts into the bundle; each takes the place of the one by the same gate on the same file."""
        return record(self, verdicts=verdicts)


def record(
    bundle: Bundle,
    *,
    verdicts: Iterable[Verdict] = (),
    engine: EngineEntry | None = None,
    files: dict[str, Path | bytes] | None = None,
) -> Bundle:
    """Adds to a bundle in place, all or nothing, one writer at a time; gives the bundle as it is then.

    ``files`` holds the new content by name in the bundle (a file to copy, or bytes): for an engine, the engine file
    and its sidecar. What another command recorded since ``bundle`` was opened is kept. Raises BundleError when
    another command is writing or when a verdict is about another file than the one in the bundle, and OutputError
    when the disk refuses. A process that dies on the way leaves the bundle as it was or as it should be.
    """
    root, files, verdicts = bundle.path, files or {}, tuple(verdicts)
    for name in files:
        if (problem := name_problem(name)) or name == MANIFEST_NAME or name.split("/")[0] == PENDING_FOLDER:
            raise ValueError(f"{name!r} cannot be a file of a bundle: {problem or 'the name is taken'}")
    with updating(root) as manifest:
        entries = {name: entry_of(write_pending(root, name, content)) for name, content in files.items()}
        manifest = replace(manifest, files={**manifest.files, **entries}).with_verdicts(verdicts)
        if engine is not None:
            manifest = manifest.with_engine(engine)
        check_engines(root, manifest)
        check_verdicts(verdicts, manifest)
        return Bundle(root, publish(root, manifest))


def check_golden(golden: Golden, manifest: Manifest, source: str) -> None:
    """Raises BundleError when the golden values do not have the manifest's shapes and taps."""
    for name, spec, got in (
        (CLIP, manifest.inputs[0], golden.clip.shape),
        (LOGITS, manifest.outputs[0], golden.logits.shape),
    ):
        if tuple(spec.shape[1:]) != got[1:] or len(spec.shape) != len(got):
            raise BundleError(f"{source}: {name}: expected clips of shape {spec.shape[1:]}, got {got[1:]}")
    expected, found = {tap.name for tap in manifest.graph.taps}, set(golden.taps)
    if expected != found:
        missing, unknown = sorted(expected - found), sorted(found - expected)
        what = f"no values for {missing[0]!r}" if missing else f"values for {unknown[0]!r}, which the manifest lacks"
        raise BundleError(f"{source}: taps: {what}; write the bundle again")


def _check_files(root: Path, manifest: Manifest) -> None:
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            raise BundleError(f"{root / MANIFEST_NAME}: files: {name!r} is not listed; write the bundle again")
    check_engines(root, manifest)
    for name in manifest.files:
        _check_file(root, name, manifest)


def _check_file(root: Path, name: str, manifest: Manifest) -> None:
    path, entry = member(root, name), manifest.files[name]
    try:
        # The hash decides; the size is there for people, and to say more about a file that was cut short.
        found, size = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found != entry.sha256:
        raise BundleError(
            f"{path}: altered or damaged: expected sha256 {entry.sha256} ({entry.size_bytes} bytes), "
            f"got {found} ({size} bytes); copy the bundle again, or write it again"
        )


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
