"""A Hugging Face directory: ``config.json``, ``preprocessor_config.json``, ``model.safetensors`` or ``.bin``.

The defaults are those of transformers' ``TimesformerConfig``: its files leave out what has not been changed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import MEAN_BOUNDS, STD_BOUNDS
from ftsf_export.checkpoint.found import FILTERS, HUGGING_FACE, MOST, Found, check_bounds, mlp_fields
from ftsf_export.checkpoint.names import HEAD, huggingface_origins
from ftsf_export.checkpoint.settings import Settings
from ftsf_export.checkpoint.shards import SUFFIX, open_shards
from ftsf_export.checkpoint.strangers import refuse_model_type
from ftsf_export.checkpoint.tensors import TensorFile, open_tensors
from ftsf_export.errors import UsageError

CONFIG_NAME = "config.json"
# safetensors first: nothing in it can run.
WEIGHT_NAMES = ("model.safetensors", "pytorch_model.bin")
PROCESSOR_NAMES = ("preprocessor_config.json", "video_preprocessor_config.json")
MODEL_TYPE = "timesformer"
ATTENTION_TYPES = {"divided_space_time": "divided", "joint_space_time": "joint", "space_only": "space"}
# Field of theirs -> ours, and what it is where their file leaves it out; for fractions also the least and the most.
_COUNTS = {
    "num_frames": ("frames", 8),
    "num_channels": ("channels", 3),
    "hidden_size": ("dim", 768),
    "num_hidden_layers": ("depth", 12),
    "num_attention_heads": ("num_heads", 12),
}
_FRACTIONS = {
    "drop_path_rate": ("drop_path", 0.0, 0, 0.99),
    "attention_probs_dropout_prob": ("attn_dropout", 0.0, 0, 0.99),
    "hidden_dropout_prob": ("proj_dropout", 0.0, 0, 0.99),
    "layer_norm_eps": ("norm_eps", 1e-6, 1e-15, 1.0),
}
_LONGEST_LABEL = 512
# A model without a head may be saved without the name of what would stand below the head.
_BARE_MARK = "embeddings.patch_embeddings.projection.weight"
# transformers' names of the GELU by the error function; its others are approximations.
EXACT_GELU = ("gelu", "gelu_python")
# What a Trainer calls the states that it saves in its output folder.
CHECKPOINT_NAME = re.compile(r"checkpoint-(\d{1,12})", re.ASCII)
Pixels = tuple[int, int]


def is_directory(folder: Path) -> bool:
    """Whether a model of Hugging Face lies in ``folder``: its configuration and weights."""
    return (folder / CONFIG_NAME).is_file() and weights_in(folder) is not None


def open_directory(folder: Path, *, weights: Path | None = None) -> Found:
    """The checkpoint in ``folder``; ``weights``: its file of tensors, where it has another name than usual.

    Raises UsageError naming the file and what is wrong in it.
    """
    settings = Settings.of_file(folder / CONFIG_NAME)
    refuse_model_type(folder / CONFIG_NAME, settings.raw("model_type"), MODEL_TYPE)
    model, box = _architecture(settings, folder / CONFIG_NAME)
    labels = _labels(settings)
    settings.finish()
    how = _preprocessing(folder, model, box)
    file = weights if weights is not None else weights_in(folder)
    if file is None:
        raise UsageError(f"checkpoint: {folder}: expected {' or '.join(WEIGHT_NAMES)}, found neither")
    tensors = open_shards(file) if file.name.endswith(SUFFIX) else open_tensors(file)
    if not tensors.has(f"{HEAD}."):
        # What transformers calls TimesformerModel. Its configuration counts classes all the same.
        model, labels = replace(model, num_classes=0), None
    return Found(
        kind=HUGGING_FACE,
        name=folder.resolve().name,
        tensors=tensors,
        model=model,
        origins=huggingface_origins(model, bare=_BARE_MARK in tensors.shapes),
        labels=labels,
        dataset="",
        preprocessing=Preprocessing.of_timesformer(model) if how is None else how,
        warnings=_warnings(folder.name, model, box, how),
    )


def _warnings(name: str, model: TimeSformerConfig, box: Pixels, how: Preprocessing | None) -> tuple[str, ...]:
    said, size = [], f"{model.height}x{model.width}"
    if box != (model.height, model.width):
        said.append(f"{name} has frames of {_text(box)}, which patches of {model.patch_size} px do not fill: {size} is")
        said[0] += " all that it sees, at the upper left"
    if how is None:
        said.append(f"{name} has no {PROCESSOR_NAMES[0]}: frames are normalised and cropped as TimeSformer was trained")
    elif how.crop != (model.height, model.width):
        said.append(f"the processor of {name} crops to {_text(how.crop)}, its model takes {size}: frames are resized")
        said[-1] += f" for {size}"
    return tuple(said)


def _text(pixels: Pixels) -> str:
    return "x".join(map(str, pixels))


def weights_in(folder: Path) -> Path | None:
    """The file of weights in ``folder``, or the index of several; None where there is neither."""
    names = (name + suffix for name in WEIGHT_NAMES for suffix in ("", SUFFIX))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _architecture(settings: Settings, path: Path) -> tuple[TimeSformerConfig, Pixels]:
    """The network, and the size of its frames as the configuration says it: patches need not fill those."""
    box = settings.pair("image_size", 224, most=MOST["height"])
    patch, patch_width = settings.pair("patch_size", 16, most=MOST["patch_size"])
    if patch != patch_width:
        settings.note("patch_size", "a square patch", [patch, patch_width])
    values: dict[str, Any] = {
        ours: settings.whole(theirs, default, most=MOST[ours]) for theirs, (ours, default) in _COUNTS.items()
    }
    for theirs, (ours, usual, least, most) in _FRACTIONS.items():
        values[ours] = settings.number(theirs, usual, least=least, most=most)
    dim, heads = values["dim"], values.pop("num_heads")
    hidden = settings.whole("intermediate_size", 3072, most=MOST["hidden_dim"])
    if dim % heads:
        settings.note("num_attention_heads", f"a divisor of hidden_size {dim}", heads)
    if min(box) < patch:
        settings.note("image_size", f"at least one patch of {patch}", list(box))
    settings.choice("hidden_act", "gelu", EXACT_GELU)
    attention = settings.choice("attention_type", "divided_space_time", tuple(ATTENTION_TYPES))
    values |= {
        "height": max(patch, box[0] // patch * patch),
        "width": max(patch, box[1] // patch * patch),
        "num_classes": _classes(settings),
        "patch_size": patch,
        "heads": heads,
        "dim_head": max(1, dim // heads),
        **mlp_fields(hidden, dim),
        "attn_type": ATTENTION_TYPES[attention],
        "qkv_bias": settings.flag("qkv_bias", True),
    }
    settings.finish()
    try:
        model = TimeSformerConfig(**values, **PRETRAINED)
    except ValueError as error:
        raise UsageError(f"checkpoint: {path}: {error}") from error
    check_bounds(model, path)
    return model, box


def huggingface_fields(model: TimeSformerConfig) -> dict[str, Any]:
    """The fields of ``model``, of square frames, as transformers' ``TimesformerConfig`` calls them; nothing drops."""
    types = {ours: theirs for theirs, ours in ATTENTION_TYPES.items()}
    return {
        **{theirs: getattr(model, ours) for theirs, (ours, _) in _COUNTS.items()},
        "image_size": model.height,
        "patch_size": model.patch_size,
        "intermediate_size": model.hidden_dim,
        "layer_norm_eps": model.norm_eps,
        "qkv_bias": model.qkv_bias,
        "attention_type": types[model.attn_type],
        "num_labels": model.num_classes,
    }


# What every pretrained TimeSformer has and its files do not say.
PRETRAINED: dict[str, Any] = {
    "attn_mechanism": "regular", "rotary_emb": False, "learned_emb": "factored", "mlp_act": "gelu",
}  # fmt: skip


def _classes(settings: Settings) -> int:
    names = settings.raw("id2label")
    if isinstance(names, dict) and names:
        return len(names)
    return settings.whole("num_labels", 2, most=MOST["num_classes"])


def _labels(settings: Settings) -> tuple[str, ...] | None:
    """Names by index; None where there are none, or only the stand-ins that transformers makes (LABEL_0)."""
    names = settings.raw("id2label")
    if names is None:
        return None
    expected = "a name for each index from 0, without gaps"
    if not isinstance(names, dict) or len(names) > MOST["num_classes"]:
        settings.note("id2label", expected, names)
        return None
    labels = []
    for index in range(len(names)):
        label = names.get(str(index))
        if not isinstance(label, str) or not label.isprintable() or len(label) > _LONGEST_LABEL:
            settings.note(f"id2label.{index}", expected, label)
            return None
        labels.append(label)
    stand_ins = all(label == f"LABEL_{index}" for index, label in enumerate(labels))
    return None if stand_ins else tuple(labels)


def _preprocessing(folder: Path, model: TimeSformerConfig, box: Pixels) -> Preprocessing | None:
    """What the processor's file says, in the folder or, of a training's checkpoint, above it; None where there is none.

    ``box``: the frames of the configuration. Of a crop of that size the model sees what its patches fill.
    """
    path = processor_file(folder)
    if path is None:
        return None
    settings = Settings.of_file(path)
    for name in ("do_rescale", "do_center_crop"):
        if not settings.flag(name, True):
            settings.note(name, "true: the model takes values in 0..1 of one size", False)
    if abs(settings.number("rescale_factor", 1 / 255, least=0, most=1) - 1 / 255) > 1e-9:
        settings.note("rescale_factor", "1/255", settings.raw("rescale_factor"))
    resize = _short_side(settings) if settings.flag("do_resize", True) else None
    crop = _crop(settings)
    mean, std = _statistics(settings, model.channels)
    resample = settings.whole("resample", 2, least=0, most=5)
    settings.finish()
    return replace(
        Preprocessing.of_timesformer(model),
        resize_short_side=resize,
        crop=(model.height, model.width) if crop == box else crop,
        box=box if crop == box != (model.height, model.width) else None,
        mean=mean,
        std=std,
        resample=FILTERS[resample],
    )


def processor_file(folder: Path) -> Path | None:
    """The processor's file in ``folder`` or, of a training's checkpoint, above it; None where there is none."""
    folders = (folder, folder.parent) if CHECKPOINT_NAME.fullmatch(folder.name) else (folder,)
    return next((one / name for one in folders for name in PROCESSOR_NAMES if (one / name).is_file()), None)


def _short_side(settings: Settings) -> int | None:
    value = settings.raw("size") if settings.has("size") else {"shortest_edge": 224}
    side = value.get("shortest_edge") if isinstance(value, dict) else value
    if isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MOST["height"]:
        return side
    settings.note("size", 'the short side, {"shortest_edge": 224}: frames keep their shape here', value)
    return None


def _crop(settings: Settings) -> tuple[int, int]:
    value = settings.raw("crop_size") if settings.has("crop_size") else 224
    sides: list[Any] = [value.get("height"), value.get("width")] if isinstance(value, dict) else [value, value]
    if all(isinstance(s, int) and not isinstance(s, bool) and 1 <= s <= MOST["height"] for s in sides):
        return sides[0], sides[1]
    settings.note("crop_size", "a height and a width in pixels", value)
    return 1, 1


def _statistics(settings: Settings, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation a channel; 0 and 1 where nothing is normalised."""
    if not settings.flag("do_normalize", True):
        return (0.0,) * channels, (1.0,) * channels
    mean = settings.numbers("image_mean", (0.485, 0.456, 0.406), bounds=MEAN_BOUNDS, count=channels)
    return mean, settings.numbers("image_std", (0.229, 0.224, 0.225), bounds=STD_BOUNDS, count=channels)


def is_huggingface(tensors: TensorFile) -> bool:
    """Whether the names of its tensors are Hugging Face's."""
    return _BARE_MARK in tensors.shapes or tensors.has(f"{MODEL_TYPE}.")
