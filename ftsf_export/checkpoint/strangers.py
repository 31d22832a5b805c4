"""Video models that are taken for a TimeSformer by mistake, by their configuration or the names of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ftsf_export.checkpoint.names import Shape
from ftsf_export.errors import UsageError

# ``model_type`` of a config.json -> the model's name.
_TYPES = {
    "videomae": "VideoMAE", "vivit": "ViViT", "vjepa2": "V-JEPA 2", "xclip": "X-CLIP", "vit": "ViT (of images)",
    "video_llava": "Video-LLaVA",
}  # fmt: skip
# A part of a tensor's name that no TimeSformer has -> the model's name.
_PARTS = {
    "videomae.": "VideoMAE", "vivit.": "ViViT",
    "relative_position_bias_table": "Video Swin", "cls_positional_encoding": "MViT", "rel_pos_t": "MViTv2",
    "prompts_generator": "X-CLIP", "attn.q_bias": "VideoMAE", "timeattn.": "LaViLa",
    "attn_s.fn.to_qkv": "FastTimeSformer 0.2.2",
}  # fmt: skip
_TUBELETS = "patch_embed.proj.weight", "patch_embeddings.projection.weight", "patch_embed.projection.weight"


def refuse_model_type(path: Path, kind: object, ours: str) -> None:
    """Raises UsageError, naming the model of the configuration ``path``, unless ``kind`` is ``ours``."""
    if kind == ours:
        return
    name = _TYPES.get(kind) if isinstance(kind, str) else None
    said = f"model_type: expected {ours!r}, got {kind!r}"
    raise UsageError(f"checkpoint: {path}: {said if name is None else f'{_is_another(name)} ({said})'}")


def refuse_other_models(path: Path, shapes: Mapping[str, Shape]) -> None:
    """Raises UsageError, naming the model, where the tensors of ``path`` are those of one that is known otherwise."""
    for part, name in _PARTS.items():
        if found := next((tensor for tensor in sorted(shapes) if part in tensor), ""):
            raise UsageError(f"checkpoint: {path}: {_is_another(name)} (it has a tensor {found})")
    for tensor, shape in shapes.items():
        if tensor.endswith(_TUBELETS) and len(shape) == 5:
            raise UsageError(
                f"checkpoint: {path}: {_is_another('VideoMAE or ViViT')}: {tensor} of shape {shape} embeds patches of "
                f"{shape[2]} frames at once"
            )


def _is_another(name: str) -> str:
    return f"a checkpoint of {name}, which is another network than TimeSformer and is not exported"
