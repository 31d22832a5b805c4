"""The manifest: what a bundle holds and what is known about it. Frozen values, and their strict JSON form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftsf_export.bundle.fields import Fields, bytes_from_json, json_from_bytes
from ftsf_export.bundle.specs import EngineEntry, FileEntry, Island, Preprocessing, TapSpec, TensorSpec
from ftsf_export.config import BatchRange
from ftsf_export.errors import BundleError
from ftsf_export.verdict import Bound, Status, Verdict

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
ONNX_NAME = "model.onnx"
GOLDEN_NAME = "golden.npz"
ENGINES_FOLDER = "engines"
PENDING_FOLDER = ".pending"
REQUIRED_FILES = (ONNX_NAME, GOLDEN_NAME)
_UNFINISHED_NAME = re.compile(r"\..+\.partial-\d+-[0-9a-f]{8}")
_NON_FINITE = ("nan", "inf", "-inf")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything a command must know before it opens another file of the bundle.

    No time, no path of a machine, no machine's name: the same export gives the same bytes.

    Attributes:
        created_by: the tool that wrote the bundle, with its version ("ftsf-export 0.1.0").
        config: what was asked, ``ExportConfig.as_dict()``, with the model's own configuration.
        weights: where the weights come from: "random, seed 0", or the checkpoint.
        inputs, outputs: the graph's tensors.
        preprocessing: how a video becomes the first input.
        labels: the classes' names in the order of the logits; None when unknown.
        precision, opset: of ``model.onnx``.
        islands: what stays in FP32 in a half-precision graph, and why.
        taps: the values inside the graph that parity compares.
        batch: clips in one call.
        tools: package -> version.
        files: path in the bundle -> hash and size; the writer fills it in.
        engines, verdicts: as in their classes.
    """

    created_by: str
    config: Mapping[str, Any]
    weights: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    precision: str
    opset: int
    islands: tuple[Island, ...]
    taps: tuple[TapSpec, ...]
    batch: BatchRange
    tools: Mapping[str, str]
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    engines: tuple[EngineEntry, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def random_weights(self) -> bool:
        return self.weights.startswith("random")

    def replaced(self, **changes: Any) -> Manifest:
        return replace(self, **changes)

    def with_verdicts(self, verdicts: tuple[Verdict, ...]) -> Manifest:
        """A new verdict takes the place of the one by the same gate about the same subject."""
        new = {(v.gate, v.subject.file): v for v in verdicts}
        kept = {(v.gate, v.subject.file): v for v in self.verdicts}
        return replace(self, verdicts=tuple({**kept, **new}.values()))

    def with_engine(self, engine: EngineEntry) -> Manifest:
        """A new engine takes the place of the one in the same file; sorted by file."""
        engines = [e for e in self.engines if e.file != engine.file]
        return replace(self, engines=tuple(sorted([*engines, engine], key=lambda e: e.file)))

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "created_by": self.created_by,
            "config": dict(self.config),
            "weights": self.weights,
            "inputs": [spec.as_dict() for spec in self.inputs],
            "outputs": [spec.as_dict() for spec in self.outputs],
            "preprocessing": self.preprocessing.as_dict(),
            "labels": None if self.labels is None else list(self.labels),
            "precision": self.precision,
            "opset": self.opset,
            "islands": [island.as_dict() for island in self.islands],
            "taps": [tap.as_dict() for tap in self.taps],
            "batch": {"min": self.batch.minimum, "opt": self.batch.optimum, "max": self.batch.maximum},
            "tools": dict(sorted(self.tools.items())),
            "files": {name: entry.as_dict() for name, entry in sorted(self.files.items())},
            "engines": [engine.as_dict() for engine in self.engines],
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
        }

    def to_bytes(self) -> bytes:
        """The bytes of ``manifest.json``. Raises BundleError for a field of the wrong type."""
        # Through its own reader: what is written can be read, and 1 and 1.0 give the same bytes.
        read_back = Manifest.from_bytes(bytes_from_json(self.as_dict()), "the manifest to be written")
        return bytes_from_json(read_back.as_dict())

    @classmethod
    def from_bytes(cls, data: bytes, source: str = MANIFEST_NAME) -> Manifest:
        """Raises BundleError naming ``source`` and the field that is missing, unknown or ill-typed."""
        value = json_from_bytes(data, source)
        if isinstance(value, dict) and (version := value.get("schema_version", SCHEMA_VERSION)) != SCHEMA_VERSION:
            raise BundleError(
                f"{source}: schema_version: expected {SCHEMA_VERSION}, got {version!r}; "
                "the bundle was written by another version of ftsf-export: install that one, or write the bundle again"
            )
        return _manifest_from_fields(Fields(value, source))


def read_manifest(root: Path) -> Manifest:
    """The manifest of the bundle ``root``; its files are not looked at. Raises BundleError."""
    if _UNFINISHED_NAME.fullmatch(root.absolute().name):
        raise BundleError(f"{root}: the leftover of an export that did not end; delete it and export again")
    if not root.is_dir():
        what = "a file, not a bundle directory" if root.exists() else "no such bundle"
        raise BundleError(f"{root}: {what}; make one with: ftsf-export -o {root}")
    path = root / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{root}: not a bundle: it holds no {MANIFEST_NAME}") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    return Manifest.from_bytes(data, str(path))


def _manifest_from_fields(top: Fields) -> Manifest:
    top.whole("schema_version", SCHEMA_VERSION)
    manifest = Manifest(
        created_by=top.text("created_by"),
        config=top.mapping("config"),
        weights=top.text("weights"),
        inputs=tuple(TensorSpec.from_fields(item) for item in top.list_of("inputs")),
        outputs=tuple(TensorSpec.from_fields(item) for item in top.list_of("outputs")),
        preprocessing=Preprocessing.from_fields(top.object_of("preprocessing")),
        labels=None if top.raw("labels") is None else top.texts("labels"),
        precision=top.text("precision"),
        opset=top.whole("opset", 1),
        islands=tuple(Island.from_fields(item) for item in top.list_of("islands")),
        taps=tuple(TapSpec.from_fields(item) for item in top.list_of("taps")),
        batch=_batch_from_fields(top.object_of("batch")),
        tools=_tools_from_fields(top.object_of("tools")),
        files=_files_from_fields(top.object_of("files")),
        engines=tuple(EngineEntry.from_fields(item) for item in top.list_of("engines")),
        verdicts=tuple(_verdict_from_fields(item) for item in top.list_of("verdicts")),
    )
    top.finish()
    for name in ("inputs", "outputs"):
        if not getattr(manifest, name):
            raise top.wrong(name, "at least one tensor", [])
    if not manifest.weights:
        raise top.wrong("weights", "where the weights come from", "")
    return manifest


def _batch_from_fields(fields: Fields) -> BatchRange:
    batch = BatchRange(fields.whole("min", 1), fields.whole("opt", 1), fields.whole("max", 1))
    fields.finish()
    if batch.problem():
        raise fields.wrong("", "1 <= min <= opt <= max", str(batch))
    return batch


def _tools_from_fields(fields: Fields) -> dict[str, str]:
    return {name: fields.text(name) for name in fields.names()}


def _files_from_fields(fields: Fields) -> dict[str, FileEntry]:
    return {name: FileEntry.from_fields(fields.object_of(name)) for name in fields.names()}


def _verdict_from_fields(fields: Fields) -> Verdict:
    fields.choice("status", [status.value for status in Status])
    for name in ("gate", "reason", "proxy_for"):
        fields.text(name)
    subject = fields.object_of("subject")
    subject.text("file")
    subject.text("sha256")
    subject.finish()
    for measure in fields.list_of("measures"):
        measure.text("output")
        measure.text("metric")
        if measure.raw("value") not in _NON_FINITE:
            measure.number("value")
        if measure.raw("limit") is not None:
            measure.number("limit")
        measure.text("unit")
        measure.choice("bound", [bound.value for bound in Bound])
        if measure.raw("worst_index") is not None:
            measure.wholes("worst_index", 0)
        measure.finish()
    fields.finish()
    try:
        return Verdict.from_dict({name: fields.raw(name) for name in fields.names()})
    except ValueError as error:
        raise fields.wrong("", "a verdict with its evidence", str(error)) from error
