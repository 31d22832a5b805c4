"""The manifest: what a bundle holds and what is known about it. Frozen values, and their strict JSON form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, get_args

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.rules import choice
from ftsf_export.bundle.specs import BATCH, GraphRecord, Preprocessing, TensorSpec
from ftsf_export.bundle.weights import CheckpointWeights, GivenWeights, RandomWeights, Weights
from ftsf_export.config import ENGINE_BUILDERS, BatchRange, ExportConfig, Size
from ftsf_export.errors import BundleError, ConfigError
from ftsf_export.json_schema import DIALECT, Schema, schema_of, schema_of_fields, with_constant
from ftsf_export.precision import PrecisionName
from ftsf_export.strict_json import (
    Count,
    Sha256,
    bytes_from_json,
    json_from_bytes,
    new_strict_converter,
    plain,
    structured,
    wrong,
)
from ftsf_export.verdict import RECORDERS, Verdict

if TYPE_CHECKING:
    from cattrs import Converter

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"
ONNX_NAME = "model.onnx"
GOLDEN_NAME = "golden.npz"
# The record, and two readings of it.
REPORT_NAMES = REPORT_RECORD, REPORT_TEXT, REPORT_PAGE = "report.json", "report.md", "report.html"
ENGINES_FOLDER = "engines"
PENDING_FOLDER = ".pending"
REQUIRED_FILES = (ONNX_NAME, GOLDEN_NAME)
# The name of each origin of weights in JSON, under "from".
_ORIGINS: dict[str, type[Any]] = {"random": RandomWeights, "checkpoint": CheckpointWeights, "caller": GivenWeights}
BuilderName = Annotated[str, choice(*ENGINE_BUILDERS)]


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle."""

    sha256: Sha256  #: Of its content, hexadecimal.
    size_bytes: Count  #: Its length.


@dataclass(frozen=True, kw_only=True)
class EngineEntry:
    """A compiled engine in the bundle."""

    file: str  #: Path of the engine in the bundle (``engines/rtx-rtx-fp16.engine``).
    sidecar: str  #: Path of what is known of it (``engines/rtx-rtx-fp16.json``).
    builder: BuilderName  #: Whose engine it is.
    target: str  #: A name of the target table.
    precision: PrecisionName  #: Of the graph that it was built from.
    compute_capabilities: tuple[str, ...]  #: Of the GPUs that it runs on ("8.6", "8.9").
    sha256: Sha256  #: Of the engine file.


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything a command must know before it opens another file of the bundle.

    No time, no path of a machine, no machine's name: the same export gives the same bytes.
    """

    created_by: str  #: The tool that wrote the bundle, with its version ("ftsf-export 0.1.0").
    asked: ExportConfig  #: The request: what was written, without the defaults.
    model: TimeSformerConfig  #: The architecture.
    weights: Weights  #: Where the weights come from.
    reference: str  #: Whose outputs the golden values hold.
    inputs: tuple[TensorSpec, ...]  #: The graph's input tensors, at least one.
    outputs: tuple[TensorSpec, ...]  #: The graph's output tensors, at least one.
    preprocessing: Preprocessing  #: How a video becomes the first input.
    labels: tuple[str, ...] | None  #: The classes' names in the order of the logits; None when unknown.
    precision: PrecisionName  #: Of ``model.onnx``.
    batch: BatchRange  #: Clips in one call.
    graph: GraphRecord  #: What ``model.onnx`` is.
    tools: Mapping[str, str]  #: Package -> version.
    #: Path in the bundle -> hash and size; the writer fills it in.
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    engines: tuple[EngineEntry, ...] = ()  #: What was compiled, by file.
    verdicts: tuple[Verdict, ...] = ()  #: What the gates found.

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one tensor, got none")
        if problem := self.batch.problem() or "; ".join(self._contradictions()):
            raise ValueError(problem)

    def _contradictions(self) -> Iterator[str]:
        """What two fields say differently: an engine and the graph, or the request and what was made."""
        yield from self._other_sizes()
        for engine in self.engines:
            if engine.precision != self.precision:
                yield f"engines: {engine.file}: expected {self.precision} as the graph is, got {engine.precision}"
        pairs = self.asked.disagreements(self.model)
        pairs.update({name: (getattr(self.asked, name), getattr(self, name)) for name in ("precision", "batch")})
        pairs["input"] = self.asked.input, self.inputs[0].dtype
        pairs["layout"] = (self.asked.layout or self.inputs[0].layout).upper(), self.inputs[0].layout
        for name, (asked, made) in pairs.items():
            if name in self.asked.given and asked != made:
                yield f"asked: {name}: expected {made} as was made, got {asked}"

    def _other_sizes(self) -> Iterator[str]:
        """Sizes of inputs, outputs and clips that are not those of the architecture and of a call."""
        model, how = self.model, self.preprocessing
        sizes = {"B": self.batch.minimum if self.batch.static else BATCH, "L": model.num_classes}
        sizes |= {"F": model.frames, "C": model.channels, "H": model.height, "W": model.width}
        for spec in (*self.inputs, *self.outputs):
            expected = [sizes.get(letter, size) for letter, size in zip(spec.layout, spec.shape, strict=True)]
            if expected != list(spec.shape):
                yield f"{spec.name}: expected {expected} by batch and model, got {list(spec.shape)}"
        clip = {"frames": (model.frames, how.frames), "crop": ((model.height, model.width), how.crop)}
        for name, (expected_, got) in {**clip, "mean": (model.channels, len(how.mean))}.items():
            if expected_ != got:
                yield f"preprocessing: {name}: expected {expected_} as the model has, got {got}"
        taken = self.inputs[0]
        for name, (input_, clip_) in {
            "dtype": (taken.dtype, how.dtype), "layout": (taken.layout, f"B{how.layout}")
        }.items():  # fmt: skip
            if input_ != clip_:
                yield f"preprocessing: {name}: expected that of {taken.name}, {input_}, got {clip_}"

    @property
    def random_weights(self) -> bool:
        return isinstance(self.weights, RandomWeights)

    @property
    def need_fine_tuning(self) -> bool:
        """Whether the weights were trained in another attention mechanism."""
        return isinstance(self.weights, CheckpointWeights) and self.weights.need_fine_tuning_in(self.model)

    @property
    def assumed(self) -> tuple[str, ...]:
        """What of the network nobody said: see ``CheckpointWeights.assumed``."""
        return self.weights.assumed if isinstance(self.weights, CheckpointWeights) else ()

    @property
    def weights_described(self) -> str:
        """Where the weights come from, in words ("random, seed 0")."""
        return self.weights.described(self.model)

    def with_verdicts(self, verdicts: tuple[Verdict, ...], by: str) -> Manifest:
        """Verdicts that the command ``by`` found. One takes the place of that on the same question: by the same gate,
        about the same file, at the same limits. What failed at a user's own limits is not undone by the usual ones."""
        new = {one.question: replace(one, recorded_by=by) for one in verdicts}
        kept = {one.question: one for one in self.verdicts}
        return replace(self, verdicts=tuple({**kept, **new}.values()))

    def with_engine(self, engine: EngineEntry) -> Manifest:
        """A new engine takes the place of the one in the same file; sorted by file."""
        engines = [e for e in self.engines if e.file != engine.file]
        return replace(self, engines=tuple(sorted([*engines, engine], key=lambda e: e.file)))

    def to_bytes(self) -> bytes:
        """The bytes of ``manifest.json``. Raises BundleError for a field of the wrong type."""
        data = bytes_from_json(json_from_manifest(self))
        # What is written can be read.
        Manifest.from_bytes(data, "the manifest to be written")
        return data

    @classmethod
    def from_bytes(cls, data: bytes, source: str = MANIFEST_NAME) -> Manifest:
        """Raises BundleError naming ``source`` and every field that is missing, unknown or ill-typed."""
        value = json_from_bytes(data, source)
        if not isinstance(value, dict) or "schema_version" not in value:
            raise BundleError(f"{source}: schema_version: missing; this is not a manifest of ftsf-export")
        version, fields = value["schema_version"], {k: v for k, v in value.items() if k != "schema_version"}
        if type(version) is not int or version != SCHEMA_VERSION:
            raise BundleError(
                f"{source}: schema_version: expected {SCHEMA_VERSION}, got {version!r}; "
                "the bundle was written by another version of ftsf-export: install that one, or write the bundle again"
            )
        manifest = structured(fields, cls, source, converter=manifest_converter())
        for index, verdict in enumerate(manifest.verdicts):
            # Without it a verdict would be shown as judged here and now.
            if not verdict.recorded_by:
                expected = f"expected one of {', '.join(RECORDERS)}, got ''"
                raise BundleError(f"{source}: verdicts[{index}].recorded_by: {expected}")
        return manifest


def json_from_manifest(manifest: Manifest) -> dict[str, Any]:
    """The JSON form of ``manifest``."""
    return {"schema_version": SCHEMA_VERSION, **plain(manifest, converter=manifest_converter())}


@lru_cache(maxsize=1)
def manifest_converter() -> Converter:
    """Strict JSON of a manifest: of the request what was written, of the weights also which of the origins it is."""
    converter = new_strict_converter()
    converter.register_unstructure_hook(ExportConfig, lambda asked: asked.written())
    converter.register_structure_hook(ExportConfig, lambda value, _: _asked_from_json(value))
    converter.register_structure_hook_func(
        lambda kind: get_args(kind) == get_args(Weights), lambda value, _: _weights_from_json(value, converter)
    )
    names = {kind: name for name, kind in _ORIGINS.items()}
    converter.register_unstructure_hook_func(
        lambda kind: get_args(kind) == get_args(Weights),
        lambda value: {"from": names[type(value)], **converter.unstructure(value)},
    )
    return converter


def manifest_schema() -> Schema:
    """The JSON Schema of ``manifest.json``."""
    written = {Size: {"type": "string"}, BatchRange: {"type": "string"}}
    origins = [with_constant(schema_of(kind, {}), "from", name) for name, kind in _ORIGINS.items()]
    forms = {ExportConfig: schema_of_fields(ExportConfig, written, required=False), Weights: {"oneOf": origins}}
    schema = with_constant(schema_of(Manifest, forms), "schema_version", SCHEMA_VERSION)
    return {"$schema": DIALECT, "title": MANIFEST_NAME, **schema}


def _asked_from_json(value: object) -> ExportConfig:
    if not isinstance(value, dict):
        raise wrong("an object", value)
    known = {one.name: one for one in fields(ExportConfig)}
    problems = [f"{name}: not a field of a request" for name in value if name not in known]
    texts, lists = ("size", "batch"), ("targets", "rewrites", "videos", "calibration_data")
    for kind, names, expected in ((str, texts, "a string"), (list, lists, "a list")):
        problems += [f"{name}: {wrong(expected, value[name])}" for name in names if not _is(kind, value.get(name))]
    try:
        asked = ExportConfig(**{name: one for name, one in value.items() if name in known})
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ValueError(f"not a request: {'; '.join(problems)}")
    return asked


def _is(kind: type, value: object) -> bool:
    return value is None or isinstance(value, kind)


def _weights_from_json(value: object, converter: Converter) -> Weights:
    if not isinstance(value, dict):
        raise wrong("an object", value)
    rest = dict(value)
    origin = rest.pop("from")
    if not isinstance(origin, str) or origin not in _ORIGINS:
        known = ", ".join(_ORIGINS)
        raise ValueError(f"from: {wrong(f'one of {known}', origin)}")
    found: Weights = converter.structure(rest, _ORIGINS[origin])
    return found
