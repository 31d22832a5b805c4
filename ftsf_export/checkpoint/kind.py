"""Which of the layouts a checkpoint has, by its content; its name says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftsf_export.checkpoint import facebook, huggingface, mmaction, own
from ftsf_export.checkpoint.found import Found
from ftsf_export.checkpoint.shards import SUFFIX, open_shards
from ftsf_export.checkpoint.strangers import refuse_other_models
from ftsf_export.checkpoint.tensors import open_tensors
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError

KNOWN = (
    "a Hugging Face directory (config.json of model_type timesformer, model.safetensors or pytorch_model.bin), a file "
    "of facebookresearch/TimeSformer (.pyth) or of mmaction2's TimeSformer (.pth), or a safetensors file of "
    "FastTimeSformer"
)


def open_found(path: Path, config: ExportConfig) -> Found:
    """The checkpoint at ``path``. ``config`` is asked only for what a file does not say of itself.

    Raises UsageError for what is none, damaged, too large or dangerous.
    """
    if path.is_dir():
        return _open_directory(path)
    tensors = open_shards(path) if path.name.endswith(SUFFIX) else open_tensors(path)
    refuse_other_models(path, {tensors.prefix + name: shape for name, shape in tensors.shapes.items()})
    if own.is_described(tensors):
        return own.open_file(tensors, config)
    if huggingface.is_huggingface(tensors):
        if not (path.parent / huggingface.CONFIG_NAME).is_file():
            raise UsageError(
                f"checkpoint: {path}: tensors of a Hugging Face model, and no {huggingface.CONFIG_NAME} beside them"
            )
        return huggingface.open_directory(path.parent, weights=path)
    if mmaction.is_mmaction(tensors):
        return mmaction.open_file(tensors, config)
    if facebook.is_facebook(tensors):
        return facebook.open_file(tensors, config)
    if own.is_bare(tensors):
        return own.open_file(tensors, config)
    names = ", ".join(sorted(tensors.shapes)[:4])
    raise UsageError(f"checkpoint: {path}: expected {KNOWN}; got tensors named {names}")


def _open_directory(path: Path) -> Found:
    """A model's directory; of a training's output folder without a model of its own the newest checkpoint."""
    if huggingface.is_directory(path):
        return huggingface.open_directory(path)
    saved = {int(match[1]): one for one in path.iterdir() if (match := huggingface.CHECKPOINT_NAME.fullmatch(one.name))}
    newest = max((step for step, folder in saved.items() if huggingface.is_directory(folder)), default=None)
    if newest is None:
        if (path / huggingface.CONFIG_NAME).is_file():
            return huggingface.open_directory(path)
        raise UsageError(f"checkpoint: {path}: expected {KNOWN}; the directory has no {huggingface.CONFIG_NAME}")
    name = f"{path.resolve().name}/{saved[newest].name}"
    found = huggingface.open_directory(saved[newest])
    said = f"{path.name} is the output of a training: taken is its newest checkpoint, {saved[newest].name}"
    return replace(found, name=name, warnings=(said, *found.warnings))
