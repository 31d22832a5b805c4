"""A ``.pth`` file of mmaction2's TimeSformer zoo: divided, joint and space-only attention.

Its tensors lie under ``backbone`` and ``cls_head``; beside them ``meta`` has the text of the configuration, which says
how its test made clips. The backbone itself (mmaction2, ``models/backbones/timesformer.py``) has 12 heads unless a
configuration says otherwise, and an epsilon of 1e-6 in every block.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import BGR, OPENCV
from ftsf_export.checkpoint.found import Found, check_bounds
from ftsf_export.checkpoint.mm_config import count, numbers, part, settings_of
from ftsf_export.checkpoint.names import mmaction_origins
from ftsf_export.checkpoint.shapes import (
    BASE,
    BASE_EPS,
    BASE_HEADS,
    Layout,
    Untold,
    architecture_of,
    asked_heads,
    network_of,
)
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

KIND = "mmaction2"
_LAYER = "backbone.transformer_layers.layers"
_LAYOUT = {
    "kind": KIND,
    "patch": "backbone.patch_embed.projection.weight",
    "positions": "backbone.pos_embed",
    "times": "backbone.time_embed",
    "block": rf"{_LAYER}\.(\d{{1,4}})\.",
    "hidden": f"{_LAYER}.0.ffns.0.layers.0.0.weight",
    "temporal": f"{_LAYER}.0.attentions.0.temporal_fc.weight",
    "head": "cls_head.fc_cls",
}
# Of pixels in 0..255, in every published configuration.
_MEAN = _STD = (127.5,)
# Buffers of whoever normalises, which some checkpoints hold: the configuration says the same.
_BUFFERS = "data_preprocessor."
# Steps of a test's pipeline that are followed, or that change no pixel.
_STEPS = {
    "SampleFrames", "Resize", "CenterCrop", "ThreeCrop", "Normalize", "DecordInit", "DecordDecode", "PyAVInit",
    "PyAVDecode", "OpenCVInit", "OpenCVDecode", "RawFrameDecode", "FormatShape", "PackActionInputs", "Collect",
    "ToTensor",
}  # fmt: skip


def is_mmaction(tensors: TensorFile) -> bool:
    """Whether the names of its tensors are mmaction2's."""
    return _LAYOUT["patch"] in tensors.shapes


def open_file(tensors: TensorFile, config: ExportConfig) -> Found:
    """The checkpoint that ``tensors`` are. ``config`` is asked for what the file does not say.

    Raises UsageError where the shapes are not those of a TimeSformer, or its last norm is another than the others.
    """
    buffers = [name for name in tensors.shapes if name.startswith(_BUFFERS)]
    tensors = replace(tensors, shapes={name: s for name, s in tensors.shapes.items() if name not in buffers})
    divided = _LAYOUT["temporal"] in tensors.shapes
    layout = Layout(**_LAYOUT, qkv_bias=f"{_LAYER}.0.attentions.{int(divided)}.attn.in_proj_bias")
    settings = settings_of(tensors.stated.program)
    untold = _untold(tensors, layout, settings, config)
    model, warnings = architecture_of(tensors, layout, untold, config)
    check_bounds(model, tensors.path)
    how, followed = _preprocessing(model, settings, tensors.path)
    return Found(
        kind=KIND,
        name=tensors.path.name,
        tensors=tensors,
        model=model,
        origins=mmaction_origins(model),
        set_aside=(*tensors.set_aside, *buffers),
        preprocessing=how,
        assumed=untold.assumed,
        warnings=(*warnings, *followed),
    )


def _untold(tensors: TensorFile, layout: Layout, settings: dict[str, Any], config: ExportConfig) -> Untold:
    network, backbone = network_of(tensors, layout), part(settings, "model", "backbone")
    dim = network[0]
    if (eps := part(backbone, "norm_cfg", "eps")) not in (None, BASE_EPS):
        raise UsageError(
            f"checkpoint: {tensors.path}: model.backbone.norm_cfg: expected eps={BASE_EPS:g} as its blocks have, got "
            f"{eps!r}"
        )
    # A configuration that leaves the number out means the backbone's own.
    heads = count(part(backbone, "num_heads")) or (BASE_HEADS if backbone else None) or asked_heads(config, dim)
    assumed = () if heads is not None or network == BASE else ("heads",)
    usual = BASE_HEADS if dim % BASE_HEADS == 0 else max(1, dim // (BASE[0] // BASE_HEADS))
    frames = config.frames if "frames" in config.given else count(part(backbone, "num_frames"))
    return Untold(heads or usual, BASE_EPS, frames, assumed)


def _preprocessing(
    model: TimeSformerConfig, settings: dict[str, Any], path: Path
) -> tuple[Preprocessing, tuple[str, ...]]:
    """As its test makes clips, of which the middle crop is taken; and which steps of it are not followed.

    What the configuration does not say is as in the published ones. Raises UsageError for numbers that normalise no
    pixel.
    """
    steps = part(settings, "test_pipeline") or part(settings, "val_pipeline") or []
    named = {name: step for step in steps if isinstance(name := part(step, "type"), str)}
    normal = part(settings, "model", "data_preprocessor") or named.get("Normalize") or {}
    mean, std = (
        numbers(part(normal, name)) or usual * model.channels for name, usual in (("mean", _MEAN), ("std", _STD))
    )
    stride = count(part(named.get("SampleFrames"), "frame_interval"))
    scale = [side for side in numbers(part(named.get("Resize"), "scale")) if side > 0]
    how = replace(Preprocessing.of_timesformer(model), resizer=OPENCV)
    try:
        how = replace(
            how,
            mean=tuple(value / 255 for value in mean),
            std=tuple(value / 255 for value in std),
            stride=stride or how.stride,
            resize_short_side=int(min(scale)) if scale else how.resize_short_side,
            # Its decoders give RGB, which either of these turns around.
            color_order=BGR if part(normal, "to_bgr") or part(normal, "to_rgb") else how.color_order,
        )
    except ValueError as error:
        raise UsageError(f"checkpoint: {path}: its configuration's normalisation: {error}") from error
    if others := sorted(set(named) - _STEPS):
        return how, (f"its test has steps that are not followed: {', '.join(others)}",)
    return how, ()
