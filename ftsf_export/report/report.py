"""What a report says, as plain values: JSON in, JSON out. Nothing here is measured; it is gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ftsf_export.bundle import ONNX_NAME, Manifest
from ftsf_export.errors import BundleError

SCHEMA_VERSION = 1
NO_GPU = "not run: no GPU"
CPU = "CPU"
_OWN_FILES = ("report.json", "report.md", "report.html")

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class GraphFigures:
    """What the manifest does not hold of ``model.onnx``: nodes, weights (a count of numbers), rewrites applied."""

    nodes: int
    parameters: int
    rewrites: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something to type: what for, the command, and why it was not done already (empty when it can be done again)."""

    title: str
    command: str
    reason: str = ""


VERIFY_AGAIN = Command(
    title="Verify this bundle again, with or without a GPU, without PyTorch", command="ftsf verify ."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Every section as JSON values; ``as_dict`` is ``report.json``.

    Attributes:
        title: the model in one line.
        weights, random_weights: where the weights come from; random ones are said first.
        model: the configuration that was asked for, and under "pretrained" what is known of the checkpoint.
        preprocessing: how a video becomes the model's input, ``Preprocessing.as_dict()``.
        labels: names of the classes in the order of the logits; None when unknown.
        graph: precision, opset, batch, nodes, parameters, size_bytes, rewrites, inputs, outputs.
        islands: scope, reason, nodes of what stays in FP32.
        verdicts: ``Verdict.as_dict()``, in the order in which the gates ran.
        engines: the manifest's entry, size_bytes, build_seconds (None: not known), and the sidecar as ``built``.
        plans: what the compiler made of the graph, ``GraphPlan.as_dict()``, one an engine.
        timings: ``Timing.as_dict()``; each is shown under its own heading.
        gpu_benchmark: why there are no figures of a GPU; shown unless ``timings`` holds some.
        stages: stage, seconds, peak_rss_bytes of the export.
        files: name -> sha256, size_bytes.
        tools: package -> version.
        commands: title, command, reason; to be typed inside the bundle.
    """

    created_by: str
    title: str
    weights: str
    random_weights: bool
    model: Values
    preprocessing: Values
    labels: tuple[str, ...] | None
    graph: Values
    islands: tuple[Values, ...]
    verdicts: tuple[Values, ...]
    engines: tuple[Values, ...]
    plans: tuple[Values, ...]
    timings: tuple[Values, ...]
    gpu_benchmark: str
    stages: tuple[Values, ...]
    files: Mapping[str, Values]
    tools: Mapping[str, str]
    commands: tuple[Values, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"report_schema": SCHEMA_VERSION, **{field.name: getattr(self, field.name) for field in fields(self)}}

    @classmethod
    def from_dict(cls, data: Values) -> Report:
        """Inverse of ``as_dict``. Raises BundleError naming the field that is missing or unknown."""
        values = dict(data)
        if (version := values.pop("report_schema", None)) != SCHEMA_VERSION:
            raise BundleError(f"report.json: report_schema: expected {SCHEMA_VERSION}, got {version!r}; export again")
        names = {field.name for field in fields(cls)}
        if wrong := sorted(names ^ set(values)):
            raise BundleError(f"report.json: {wrong[0]}: missing, or not a field of this schema; export again")
        sections: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**sections)

    def refreshed(
        self,
        manifest: Manifest,
        *,
        sidecars: Mapping[str, Values] | None = None,
        build_seconds: Mapping[str, float] | None = None,
        timings: Sequence[Values] | None = None,
    ) -> Report:
        """The same export after more was recorded in its bundle: other verdicts, engines, files, new timings.

        What is not given stays as it was: the sidecars and build times of engines that are still the same.
        """
        same = {engine["file"]: engine for engine in self.engines}
        kept = {e.file: same[e.file] for e in manifest.engines if same.get(e.file, {}).get("sha256") == e.sha256}
        seconds = {file: engine["build_seconds"] for file, engine in kept.items()}
        built = {file: engine["built"] for file, engine in kept.items()}
        graph = self.graph
        return report_from_manifest(
            manifest,
            graph=GraphFigures(nodes=graph["nodes"], parameters=graph["parameters"], rewrites=tuple(graph["rewrites"])),
            sidecars={**built, **(sidecars or {})},
            build_seconds={**seconds, **(build_seconds or {})},
            plans=self.plans,
            timings=self.timings if timings is None else timings,
            gpu_benchmark=self.gpu_benchmark,
            stages=self.stages,
            commands=[Command(**command) for command in self.commands[1:]],
        )


def report_from_manifest(
    manifest: Manifest,
    *,
    graph: GraphFigures,
    sidecars: Mapping[str, Values] | None = None,
    build_seconds: Mapping[str, float | None] | None = None,
    plans: Sequence[Values] = (),
    timings: Sequence[Values] = (),
    gpu_benchmark: str = NO_GPU,
    stages: Sequence[Values] = (),
    commands: Sequence[Command] = (),
) -> Report:
    """Gathers a report. ``manifest`` has its files hashed (``BundleWriter.hashed``).

    ``sidecars`` and ``build_seconds`` go by engine file; ``timings`` are ``Timing.as_dict()``, ``stages`` have
    "stage", "seconds" and "peak_rss_bytes"; ``commands`` are to be typed inside the bundle. Raises ValueError when
    the manifest has no hash of the graph: a report says what it is about.
    """
    if ONNX_NAME not in manifest.files:
        raise ValueError(f"the manifest has no hash of {ONNX_NAME}; hash the files first (BundleWriter.hashed)")
    return Report(
        created_by=manifest.created_by,
        title=_title(manifest),
        weights=manifest.weights,
        random_weights=manifest.random_weights,
        model=dict(manifest.config),
        preprocessing=manifest.preprocessing.as_dict(),
        labels=manifest.labels,
        graph=_graph(manifest, graph),
        islands=tuple(island.as_dict() for island in manifest.islands),
        verdicts=tuple(verdict.as_dict() for verdict in manifest.verdicts),
        engines=_engines(manifest, sidecars or {}, build_seconds or {}),
        plans=tuple(plans),
        timings=tuple(timings),
        gpu_benchmark=gpu_benchmark,
        stages=tuple(stages),
        files={name: entry.as_dict() for name, entry in sorted(manifest.files.items()) if name not in _OWN_FILES},
        tools=dict(sorted(manifest.tools.items())),
        commands=tuple(asdict(command) for command in (VERIFY_AGAIN, *commands)),
    )


def _title(manifest: Manifest) -> str:
    config = manifest.config
    parts = [str(config[name]) for name in ("attn", "attn_type") if name in config]
    if "frames" in config and "size" in config:
        parts.append(f"{config['frames']} frames of {config['size']} px")
    return ", ".join([*parts, manifest.precision])


def _graph(manifest: Manifest, figures: GraphFigures) -> dict[str, Any]:
    # The weights may lie beside the graph, as external data.
    own = [entry.size_bytes for name, entry in manifest.files.items() if name.startswith(ONNX_NAME)]
    return {
        "precision": manifest.precision,
        "opset": manifest.opset,
        "batch": str(manifest.batch),
        "nodes": figures.nodes,
        "parameters": figures.parameters,
        "size_bytes": sum(own),
        "rewrites": list(figures.rewrites),
        "inputs": [spec.as_dict() for spec in manifest.inputs],
        "outputs": [spec.as_dict() for spec in manifest.outputs],
    }


def _engines(
    manifest: Manifest, sidecars: Mapping[str, Values], build_seconds: Mapping[str, float | None]
) -> tuple[Values, ...]:
    return tuple(
        {
            **engine.as_dict(),
            "size_bytes": manifest.files[engine.file].size_bytes,
            "build_seconds": build_seconds.get(engine.file),
            "built": dict(sidecars.get(engine.file, {})),
        }
        for engine in manifest.engines
    )
