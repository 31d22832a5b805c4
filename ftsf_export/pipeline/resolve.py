"""What an export will do, decided before any long work: everything that can be refused is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    ONNX_NAME,
    GraphInput,
    Preprocessing,
    RandomWeights,
    Weights,
)
from ftsf_export.bundle.place import check_free
from ftsf_export.bundle.specs import TORCH, UINT8, UNCALIBRATED
from ftsf_export.config import OPSET_ATTENTION, OPSET_DECOMPOSED, ExportConfig
from ftsf_export.doctor.packages import require_modules
from ftsf_export.engine.choice import BuildPlanChoice, resolve
from ftsf_export.engine.plan_gates import attentions_to_fuse
from ftsf_export.engine.plugin_costs import plugin_alongs, plugin_problem
from ftsf_export.engine.targets import default_opset
from ftsf_export.errors import UsageError
from ftsf_export.mechanisms import mechanism_named
from ftsf_export.network import gates
from ftsf_export.network.scope import FEATURES, LOGITS, OUTPUTS
from ftsf_export.pipeline.calibration import calibration_videos
from ftsf_export.pipeline.plugin_choice import require_compiler, takes_plugins
from ftsf_export.pipeline.rewrites import known_rewrites
from ftsf_export.pipeline.room import require_room
from ftsf_export.precision import FP32, offered, precision_named
from ftsf_export.progress import OnProgress, silent
from ftsf_export.report import REPORT_NAMES
from ftsf_export.strict_json import plain
from ftsf_export.video.class_folder import class_folder

if TYPE_CHECKING:
    from ftsf_export.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class ResolvedExport:
    """An export as it will be done: what was asked, and what follows from it and from this machine."""

    asked: ExportConfig  #: The request as it was written.
    config: ExportConfig  #: The same with the model's fields of the checkpoint, where it brings its architecture.
    output: Path  #: Where the bundle goes.
    opset: int  #: Of the standard domain.
    attention_operator: bool  #: Softmax attention is one ``Attention`` node.
    choice: BuildPlanChoice  #: What is built here, and what is left for another machine.
    preprocessing: Preprocessing  #: How a video becomes the graph's input.
    rewrites: tuple[str, ...]  #: Names of the exact rewrites.
    takes: GraphInput  #: The form of the graph's clips; what it normalises, ``preprocessing`` leaves alone.
    #: Along what ("time", "space") attentions are nodes; with ``auto`` that is known once a plan was read.
    plugins: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None  #: What is known of it; None for random weights.

    @property
    def weights(self) -> Weights:
        """Where the weights come from, as the manifest will say it."""
        return RandomWeights(self.config.seed) if self.checkpoint is None else self.checkpoint.weights

    @property
    def model(self) -> TimeSformerConfig:
        """The architecture."""
        return self.config.architecture if self.checkpoint is None else self.checkpoint.model

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the graph gives, by name. A model without a head has features alone."""
        headless = not self.model.num_classes
        return {"none": OUTPUTS[:1], "also": OUTPUTS, "only": OUTPUTS[1:]}["only" if headless else self.config.features]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of the logits; None when unknown."""
        return None if self.checkpoint is None or LOGITS not in self.outputs else self.checkpoint.labels

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user has to know before the export runs."""
        said = () if self.checkpoint is None else self.checkpoint.warnings
        if precision_named(self.config.precision).bits == 8 and not self.config.calibration_data:
            said = (*said, f"{UNCALIBRATED}; give --calibration-data VIDEOS")
        if self.takes.dtype == UINT8 and self.preprocessing.resizer == TORCH:
            said = (
                *said,
                "input uint8: resized pixels are rounded to whole grey levels, as the original does not",
            )
        if self.model.num_classes:
            return said
        return (f"NO HEAD: the model has no class scores; the graph gives {FEATURES}, (B, {self.model.dim})", *said)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type on the machines that build their own engine."""
        return tuple(deferred.command(str(self.output)) for deferred in self.choice.deferred)

    @property
    def engine_files(self) -> tuple[str, ...]:
        precision = self.config.precision
        return tuple(f"{one.stem(precision)}.engine" for one in self.choice.to_build)

    @property
    def gates(self) -> tuple[str, ...]:
        """What will be judged here; engines also run where there is a GPU for them."""
        asked = []
        if self.checkpoint is not None and self.checkpoint.found.assumed:
            asked.append(gates.PARITY_ORIGINAL)
        if self.checkpoint is not None and self.checkpoint.from_huggingface:
            asked.append(gates.PARITY_HUGGINGFACE)
        graphs = (FP32, precision_named(self.config.precision))
        asked += [gates.parity_graph(graph) for graph in graphs]
        if self.config.held_out is not None:
            asked += [gates.agreement_graph(graph) for graph in graphs]
        if self.checkpoint is not None and not self.checkpoint.ours:
            asked.append(gates.PARITY_PREPROCESSING)
        each = [gates.engine_types, gates.plan_work, *([gates.plan_attentions] if self._attentions else [])]
        asked += [gate(one.builder, one.target.name) for one in self.choice.to_build for gate in each]
        return tuple(dict.fromkeys(gate.name for gate in asked))

    @property
    def _attentions(self) -> tuple[str, ...]:
        config = self.config
        return attentions_to_fuse(self.model, config.precision, config.batch.optimum)

    def as_dict(self) -> dict[str, Any]:
        """JSON form, for ``--dry-run``."""
        sidecars = [f"{one.stem(self.config.precision)}.json" for one in self.choice.to_build]
        return {
            "config": self.config.as_dict(),
            "weights": self.weights.described(self.model),
            "checkpoint": None if self.checkpoint is None else plain(self.weights),
            "labels": None if self.labels is None else list(self.labels),
            "output": str(self.output),
            "opset": self.opset,
            "attention_operator": self.attention_operator,
            "rewrites": list(self.rewrites),
            "plugins": {"asked": self.config.plugins, "along": list(self.plugins)},
            "preprocessing": plain(self.preprocessing),
            "outputs": list(self.outputs),
            "engines": [{"builder": one.builder, "target": one.target.name} for one in self.choice.to_build],
            "deferred": [
                {"target": deferred.target.name, "reason": deferred.reason, "command": command}
                for deferred, command in zip(self.choice.deferred, self.commands, strict=True)
            ],
            "gates": list(self.gates),
            "files": [MANIFEST_NAME, ONNX_NAME, GOLDEN_NAME, *self.engine_files, *sidecars, *REPORT_NAMES],
        }


def resolve_export(
    config: ExportConfig, *, output: str | Path, overwrite: bool = False, on_progress: OnProgress = silent
) -> ResolvedExport:
    """Decides builder, targets, opset, output, and what is made of a checkpoint. Writes nothing into ``output``.

    Raises UsageError for an impossible target, precision, checkpoint or video and for a model that has no room here,
    OutputError for a place that is taken,
    EnvironmentLacks for a package that the export needs and that is not there.
    """
    choice = resolve(config.builder, config.targets, config.precision)
    rewrites = known_rewrites(config.rewrites)
    _check_request(config, Path(output), overwrite)
    asked, checkpoint = config, _described(config, on_progress)
    if checkpoint is not None:
        config = config.with_architecture(checkpoint.model)
    elif config.trained_on is not None:
        raise UsageError(f"trained_on: {config.trained_on} says what a checkpoint was trained on; give --checkpoint")
    if (config.videos or config.calibration_data or config.held_out is not None) and config.channels != 3:
        raise UsageError(f"video: a video gives 3 channels, the model takes {config.channels}; judge it on noise alone")
    _check_outputs(config, config.architecture if checkpoint is None else checkpoint.model)
    require_room(config, config.architecture if checkpoint is None else checkpoint.model)
    opset, operator = _form_of_attention(config, choice)
    own = preprocessing_of(config, checkpoint)
    takes = GraphInput.asked(config, own)
    return ResolvedExport(
        asked=asked,
        config=config,
        output=Path(output),
        opset=opset,
        attention_operator=operator,
        choice=choice,
        preprocessing=takes.prepared(own),
        takes=takes,
        rewrites=rewrites,
        plugins=_plugins(config, choice),
        checkpoint=checkpoint,
    )


def _check_request(config: ExportConfig, output: Path, overwrite: bool) -> None:
    """Raises as ``resolve_export`` for what can be seen before a checkpoint is looked at."""
    if config.precision not in offered():
        raise UsageError(
            f"precision: expected one of {', '.join(offered())}, got {config.precision!r}, "
            "which targets may know but no stage makes yet"
        )
    for video in config.videos:
        if not video.is_file():
            raise UsageError(f"video: expected a file, found none at {video}")
    check_free(output.resolve(), overwrite)
    require_modules("export", "to export a model")
    if config.held_out is not None:
        class_folder(config.held_out)
    _check_calibration(config)
    if config.videos or config.calibration_data or config.held_out is not None:
        require_modules("video", "to read a video")


def _check_calibration(config: ExportConfig) -> None:
    """Raises UsageError for calibration data that is not there, and for any where nothing is calibrated."""
    asked = [name for name in ("calibration", "calibration_data", "calibration_clips") if name in config.given]
    if precision_named(config.precision).bits == 8:
        calibration_videos(config.calibration_data)
        if config.plugins != "none":
            raise UsageError(f"plugins: their kernels have no {config.precision}; leave --plugins out")
    elif asked:
        raise UsageError(f"{asked[0]}: {config.precision} has no ranges to observe; leave it out, or ask for 8 bits")


def _check_outputs(config: ExportConfig, model: TimeSformerConfig) -> None:
    """Raises UsageError where class scores are asked of a graph that will have none."""
    if not model.num_classes and config.features == "none" and "features" in config.given:
        raise UsageError("features: none was asked for, and the model has no head: features are all that it gives")
    if config.held_out is not None and (config.features == "only" or not model.num_classes):
        raise UsageError("held_out: agreement is about class scores, and the graph gives features alone")


def _described(config: ExportConfig, on_progress: OnProgress) -> Checkpoint | None:
    """What the checkpoint is, if one was asked for; its tensors are read later."""
    if config.checkpoint is None:
        return None
    from ftsf_export.checkpoint import describe_checkpoint

    return describe_checkpoint(config.checkpoint, config, on_progress=on_progress)


def preprocessing_of(config: ExportConfig, checkpoint: Checkpoint | None) -> Preprocessing:
    """The checkpoint's; of random weights, or a caller's model, TimeSformer's."""
    if checkpoint is not None:
        return checkpoint.preprocessing
    return Preprocessing.of_timesformer(config.architecture)


def _form_of_attention(config: ExportConfig, choice: BuildPlanChoice) -> tuple[int, bool]:
    """The opset, and whether softmax attention is one ``Attention`` node.

    The decomposed form moves fewer bytes (docs/measurements.md) and every parser reads it, so the operator is for who
    asks for an opset that has it. Not in FP32, where TensorRT has no kernel for it, nor where a target's parser does
    not know it.
    """
    opset = config.opset if config.opset is not None else OPSET_DECOMPOSED
    targets = (*(one.target.name for one in choice.to_build), *(deferred.target.name for deferred in choice.deferred))
    known = opset >= OPSET_ATTENTION and default_opset(targets) >= OPSET_ATTENTION
    return opset, known and mechanism_named(config.attn).fuses and precision_named(config.precision).is_half


def _plugins(config: ExportConfig, choice: BuildPlanChoice) -> tuple[str, ...]:
    """Along what attentions are nodes; with ``auto`` none yet.

    Raises UsageError where all were asked for and there is no plugin for them, EnvironmentLacks where ``auto`` will
    have a plan to read and no compiler.
    """
    if config.plugins == "none":
        return ()
    problem = plugin_problem(config.attn, config.dim_head, rotated=config.rotary)
    if config.plugins == "all":
        if problem:
            raise UsageError(f"plugins: {problem}; leave --plugins out")
        return plugin_alongs(config.attn_type)
    if not problem and takes_plugins(choice):
        require_compiler()
    return ()
