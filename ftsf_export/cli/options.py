"""Options that several commands share, spelled and explained once. Defaults are those of ``ExportConfig``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from fast_timesformer.config import ATTENTION_TYPES
from ftsf_export.cli.terminal import pass_terminal
from ftsf_export.config import (
    BUILDERS,
    CALIBRATIONS,
    DATASETS,
    FEATURES,
    INPUTS,
    LAYOUTS,
    OPSET_DECOMPOSED,
    PLUGINS,
    RUNNERS,
    ExportConfig,
)
from ftsf_export.mechanisms import MECHANISMS
from ftsf_export.precision import offered

_DATASETS = "|".join(DATASETS)
Function = TypeVar("Function", bound=Callable[..., Any])


def ftsf_command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command of ``ftsf``: its function takes a Terminal first, and its options end with those of every command."""

    def decorate(function: Callable[..., None]) -> click.Command:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
        made = click.command(name, context_settings=settings)(pass_terminal(function))
        made.params += [click.Option(flags, is_flag=True, expose_value=False, help=text) for flags, text in _FLAGS]
        return made

    return decorate


def typed(options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that were typed; the others hold their defaults."""
    source = click.get_current_context().get_parameter_source
    return {name: value for name, value in options.items() if source(name) is not ParameterSource.DEFAULT}


def stacked(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """One decorator from several; help lists them in the order given."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def field_option(
    owner: type, flag: str, name: str, kind: Any, text: str, metavar: str | None = None, *, field: str = ""
) -> Callable[[Any], Any]:
    """An option whose default is that of a ``field`` of a dataclass (with "", the one named ``name``).

    Choices are checked there too: every bad field at once.
    """
    default = getattr(owner, field or name)
    shown = "" if default is None or default == () else str(default)
    return click.option(
        flag,
        name,
        type=kind,
        default=default,
        metavar=metavar,
        multiple=isinstance(default, tuple),
        show_default=bool(shown),
        help=text,
    )


def _config_option(flag: str, name: str, kind: Any, text: str, metavar: str | None = None) -> Callable[[Any], Any]:
    return field_option(ExportConfig, flag, name, kind, text, metavar)


# The parts of an option of ``ExportConfig``: those that a sweep takes several values of, and those that it does not.
_AXES = (
    ("--attn", "attn", str, "Attention mechanism.", "|".join(MECHANISMS)),
    ("--attn-type", "attn_type", str, "Over what it attends.", "|".join(ATTENTION_TYPES)),
    ("--frames", "frames", int, "Frames in a clip."),
    ("--size", "size", str, "Frame size in pixels, HEIGHTxWIDTH or one number for both.", "SIZE"),
)
_SIZES = (
    ("--patch-size", "patch_size", int, "Pixels along a patch's side."),
    ("--dim", "dim", int, "Width of a token."),
    ("--depth", "depth", int, "Number of blocks."),
    ("--heads", "heads", int, "Attention heads.  [default: dim / dim-head]"),
    ("--dim-head", "dim_head", int, "Width of a head."),
    ("--num-classes", "num_classes", int, "Classes of the head."),
    ("--rotary/--no-rotary", "rotary", bool, "Rotary positions, or learned ones."),
)
_SEED = ("--seed", "seed", int, "Seed of random weights and of noise clips.")
_PRECISION = ("--precision", "precision", str, "Precision of the graph.", "|".join(offered()))
_BATCH = ("--batch", "batch", str, "Clips in one call, one number or MIN:OPT:MAX.", "BATCH")

model_options = stacked(
    *(_config_option(*parts) for parts in (*_AXES, *_SIZES)),
    _config_option("--norm-eps", "norm_eps", float, "Epsilon of every LayerNorm."),
    _config_option(
        "--checkpoint",
        "checkpoint",
        click.Path(path_type=Path),
        "Weights: a Hugging Face directory or hub id (owner/name@revision), a .pyth file of "
        "facebookresearch/TimeSformer, or safetensors of ours. It brings the model's options; --attn, --frames and "
        "--size may change it.  [default: random, from --seed]",
        "PATH|ID",
    ),
    _config_option(
        "--trained-on", "trained_on", str, "Videos of the checkpoint's training.  [default: as it says]", _DATASETS
    ),
    _config_option(*_SEED),
)

graph_options = stacked(
    _config_option(*_PRECISION),
    _config_option("--opset", "opset", int, f"ONNX opset.  [default: {OPSET_DECOMPOSED}]"),
    click.option("--rewrite", "rewrite", multiple=True, metavar="NAME", help="Keep this exact rewrite; repeatable."),
    click.option(
        "--no-rewrite",
        "no_rewrite",
        multiple=True,
        metavar="NAME",
        help="Leave out this exact rewrite, or `all`; repeatable.  [default: none is left out]",
    ),
    click.option(
        "--plugins",
        "plugins",
        is_flag=False,
        flag_value="all",
        default=ExportConfig.plugins,
        show_default=True,
        metavar="[" + "|".join(PLUGINS) + "]",
        help="Attentions as nodes for TensorRT plugins, each with a function of standard operators; auto: where "
        "the plugin's kernel has the lower bound. Without a value: all.",
    ),
    _config_option(
        "--input",
        "input",
        str,
        "Type of the graph's input; uint8: decoded and cropped frames (B, F, H, W, C), which it normalises by itself.",
        "|".join(INPUTS),
    ),
    _config_option(
        "--layout",
        "layout",
        str,
        "Order of the input's dimensions; bcfhw: channels before frames.  [default: bfchw; of uint8 as decoded]",
        "|".join(LAYOUTS),
    ),
    click.option(
        "--pixels",
        "pixels",
        is_flag=True,
        default=ExportConfig.pixels,
        help="The graph takes float32 pixels in [0, 1] and normalises them by itself, at no cost.",
    ),
    click.option(
        "--features",
        "features",
        is_flag=False,
        flag_value="also",
        default=ExportConfig.features,
        show_default=True,
        metavar="[" + "|".join(FEATURES) + "]",
        help="The class token after the last norm as an output `features`; only: without the logits. Without a value: "
        "also.",
    ),
)
builder_option = _config_option("--builder", "builder", str, "Engine compiler.", "|".join(BUILDERS))
target_option = _config_option("--target", "targets", str, "Machine to build for; repeatable.", "NAME")
workspace_option = _config_option("--workspace-mib", "workspace_mib", int, "Scratch memory of the engine, in MiB.")

engine_options = stacked(
    builder_option,
    target_option,
    _config_option(*_BATCH),
    workspace_option,
)

parity_options = stacked(
    _config_option("--atol", "atol", float, "Largest absolute difference of the outputs.  [default: not judged]"),
    _config_option("--rtol", "rtol", float, "Relative L2 error.  [default: by precision]"),
)

video_option = stacked(
    _config_option(
        "--video", "videos", click.Path(path_type=Path), "Judge frames of this video beside noise; repeatable.", "PATH"
    ),
    _config_option(
        "--held-out",
        "held_out",
        click.Path(path_type=Path),
        "Videos by class (DIR/CLASS/*.mp4): judge how often graph and PyTorch agree on the best class.",
        "DIR",
    ),
)

calibration_options = stacked(
    _config_option(
        "--calibration-data",
        "calibration_data",
        click.Path(path_type=Path),
        "Videos, or folders of them, on which the ranges of int8 are observed; repeatable.  [default: noise, and then "
        "the accuracy means nothing]",
        "PATH",
    ),
    _config_option("--calibration-clips", "calibration_clips", int, "Clips of them, spread over files and time."),
    _config_option("--calibration", "calibration", str, "How a range is chosen.", "|".join(CALIBRATIONS)),
)

output_options = stacked(
    click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the bundle."),
    click.option("--overwrite", is_flag=True, help="Replace a bundle that is there."),
)


dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")


def _axis(flag: str, name: str, kind: Any, text: str, metavar: str | None = None) -> Callable[[Any], Any]:
    """An option of ``ExportConfig`` that takes several values, one a use; with none the field's default."""
    default = getattr(ExportConfig, name)
    shown = "" if default is None else f"  [default: {default}]"
    return click.option(flag, name, type=kind, multiple=True, metavar=metavar, help=f"* {text}{shown}")


sweep_options = stacked(
    *(_axis(*parts) for parts in (*_AXES, _BATCH, _PRECISION)),
    _axis("--checkpoint", "checkpoint", click.Path(path_type=Path), "Weights, as of an export.", "PATH|ID"),
    *(_config_option(*parts) for parts in (*_SIZES, _SEED)),
    click.option(
        "--builder",
        metavar="|".join(BUILDERS),
        help="Engine compiler.  [default: auto where a GPU is, else none: the plan alone]",
    ),
    click.option("--target", default="", metavar="NAME", help="Machine to compile for.  [default: rtx-30]"),
    video_option,
    click.option("--runner", metavar="|".join(RUNNERS), help="Measure with it.  [default: where a GPU is]"),
    click.option("--seconds", type=float, help="Measure at least so long, as `ftsf bench`."),
    click.option("--iterations", type=int, help="Measure at least so many calls, as `ftsf bench`."),
    click.option("--threads", type=int, help="Threads of ONNX Runtime.  [default: its own choice]"),
    click.option("--timeout", type=float, metavar="SECONDS", help="Give up a cell after so long.  [default: never]"),
    click.option("--keep-bundles", is_flag=True, help="Keep each cell's bundle in DIR/bundles."),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), default=Path("sweep"), show_default=True, metavar="DIR",
        help="Directory of the sweep.",
    ),
    dry_run_option,
)  # fmt: skip

# Read from the raw arguments by Terminal.from_args, so that they also hold when the others cannot be parsed.
_FLAGS = (
    (["--json", "as_json"], "Last line on stdout: one JSON object."),
    (["-q", "--quiet"], "No progress, no remarks."),
    (["-v", "--verbose"], "All measures; libraries' logs on error."),
)

usual_batch_option = click.option(
    "--batch", type=int, metavar="CLIPS", help="Clips in one call.  [default: the bundle's usual number]"
)
limits_option = click.option(
    "--limits/--no-limits",
    "limited",
    default=True,
    show_default=True,
    help="Stop a graph that takes many times the time or memory of a model of its size; without limits is for a bundle "
    "that you trust.",
)
bundle_argument = click.argument("bundle", type=click.Path(path_type=Path), metavar="BUNDLE")
