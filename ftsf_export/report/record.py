"""What a report is made of: one record, stored as ``report.json``. Nothing here is measured; it is gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from ftsf_export.bundle import ONNX_NAME, Manifest
from ftsf_export.bundle.manifest import REPORT_NAMES, manifest_converter
from ftsf_export.class_scores import ClassScore
from ftsf_export.errors import BundleError
from ftsf_export.plan_record import PlanRecord, Sidecar
from ftsf_export.strict_json import Count, Sha256, json_from_bytes, matching, plain, structured
from ftsf_export.timing import Timing

SCHEMA_VERSION = 3
NO_GPU = "not run: no GPU"
_BASE64 = matching("[A-Za-z0-9+/]+={0,2}", "base64")


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something to type."""

    title: str  #: What it is for.
    command: str  #: The line to be typed inside the bundle.
    reason: str = ""  #: Why it was not done already; "" where it can be done again.


@dataclass(frozen=True, kw_only=True)
class EngineFigures:
    """What the manifest does not hold of an engine."""

    sha256: Sha256  #: Of the engine that the figures are about.
    build_seconds: float  #: How long its build took.
    built: Sidecar  #: What stands beside it.


@dataclass(frozen=True)
class StageTime:
    """How long a stage of the export took."""

    stage: str  #: Its name.
    seconds: float  #: Of wall time.
    peak_rss_bytes: Count | None  #: Of this process up to the stage's end, without children; None where unknown.


@dataclass(frozen=True, kw_only=True)
class ShownFrame:
    """One frame of a clip, as the model saw it."""

    index: Count  #: Its place in the clip.
    jpeg: Annotated[str, _BASE64]  #: A small picture of it.


@dataclass(frozen=True, kw_only=True)
class ShownClip:
    """A clip of a video, and the classes that are best for it: for the reference and for the graph."""

    source: str  #: The video and its frames, in words.
    frames: tuple[ShownFrame, ...]  #: From the first to the last; not every frame of a long clip.
    clip_frames: Count  #: How many the clip has.
    reference: tuple[ClassScore, ...]  #: The best classes, the best first.
    graph: tuple[ClassScore, ...]  #: The same of ``model.onnx``; in half precision of its emulated form.

    def __post_init__(self) -> None:
        if len(self.reference) != len(self.graph):
            raise ValueError(f"graph: expected {len(self.reference)} classes, as many as the reference's")


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything that a report shows."""

    manifest: Manifest  #: The bundle's, without the report's own files.
    engines: Mapping[str, EngineFigures] = field(default_factory=dict)  #: Engine file -> its figures.
    plans: tuple[PlanRecord, ...] = ()  #: What the compiler made of the graph, one an engine.
    timings: tuple[Timing, ...] = ()  #: Each is shown under its own heading.
    gpu_benchmark: str = NO_GPU  #: Why there are no figures of a GPU; shown unless ``timings`` holds some.
    stages: tuple[StageTime, ...] = ()  #: Of the export, in order.
    commands: tuple[Command, ...] = ()  #: What can be done with the bundle, beside verifying it.
    clips: tuple[ShownClip, ...] = ()  #: The clips of videos that the graph was judged on.

    def __post_init__(self) -> None:
        if ONNX_NAME not in self.manifest.files:
            raise ValueError(f"the manifest has no hash of {ONNX_NAME}; hash the files first (BundleWriter.hashed)")
        files = {name: entry for name, entry in self.manifest.files.items() if name not in REPORT_NAMES}
        object.__setattr__(self, "manifest", replace(self.manifest, files=files))
        sha256 = {engine.file: engine.sha256 for engine in self.manifest.engines}
        known = {file: one for file, one in self.engines.items() if sha256.get(file) == one.sha256}
        object.__setattr__(self, "engines", known)

    def refreshed(
        self,
        manifest: Manifest,
        *,
        engines: Mapping[str, EngineFigures] | None = None,
        timings: tuple[Timing, ...] = (),
    ) -> Record:
        """The same export after more was recorded in its bundle.

        Figures of an engine that was replaced are dropped; a new timing takes the place of the one of the same file
        under the same heading.
        """
        return replace(
            self,
            manifest=manifest,
            engines={**self.engines, **(engines or {})},
            timings=(*(one for one in self.timings if _measured(one) not in map(_measured, timings)), *timings),
        )

    def as_json(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return {"report_schema": SCHEMA_VERSION, **plain(self, converter=manifest_converter())}


def _measured(timing: Timing) -> tuple[str, str]:
    """What a timing is of."""
    return timing.heading, timing.subject.file


def record_from_bytes(data: bytes, source: str) -> Record:
    """The record in ``report.json``. Raises BundleError naming ``source`` and every field that is wrong."""
    value = json_from_bytes(data, source)
    fields = dict(value) if isinstance(value, dict) else {}
    if (version := fields.pop("report_schema", None)) != SCHEMA_VERSION:
        raise BundleError(f"{source}: report_schema: expected {SCHEMA_VERSION}, got {version!r}; export again")
    return structured(fields, Record, source, converter=manifest_converter())
