"""A second opinion: what Hugging Face's own model makes of the same clips with the same file.

Its code comes from the installed ``transformers``, its configuration from the one that was validated here, its tensors
through the same reader: of the checkpoint's directory nothing runs.

With ``space_only`` theirs gives logits for every frame; the original averages the frames before the last norm
(facebookresearch/TimeSformer, ``vit.py``), and so does ours. Their last hidden state is averaged likewise, so that the
same question is answered.

Letters: n clips, F frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ftsf_export.checkpoint import huggingface
from ftsf_export.checkpoint.found import Checkpoint
from ftsf_export.errors import install_command
from ftsf_export.network.scope import FEATURES, LOGITS


def lacking(checkpoint: Checkpoint) -> str:
    """Why there is no second opinion on ``checkpoint``, in one sentence; empty where there is one."""
    trained, model = checkpoint.found.model, checkpoint.model
    if checkpoint.weights.need_fine_tuning_in(checkpoint.model):
        return f"Hugging Face has no TimeSformer with {model.attn_mechanism} attention"
    reshaped = replace(trained, height=model.height, width=model.width)
    if model != trained and (model != reshaped or model.num_patches != trained.num_patches):
        return "learned positions are interpolated, which Hugging Face's model does for another size only in part"
    if trained.height != trained.width:
        return "Hugging Face's TimeSformer takes square frames only"
    if find_spec("transformers") is None:
        return f"transformers: not installed; install it with: {install_command('hub')}"
    return ""


def class_of(checkpoint: Checkpoint) -> str:
    """The class of transformers that is asked."""
    return "TimesformerForVideoClassification" if checkpoint.found.model.num_classes else "TimesformerModel"


def huggingface_logits(
    checkpoint: Checkpoint, clips: npt.NDArray[np.float32], *, dtype: torch.dtype = torch.float32
) -> npt.NDArray[Any]:
    """Logits (n, classes) of ``clips`` (n, F, C, H, W), one clip at a time, computed in ``dtype``."""
    return huggingface_outputs(checkpoint, clips, (LOGITS,), dtype=dtype)[LOGITS]


def huggingface_outputs(
    checkpoint: Checkpoint,
    clips: npt.NDArray[np.float32],
    outputs: Sequence[str],
    *,
    dtype: torch.dtype = torch.float32,
) -> dict[str, npt.NDArray[Any]]:
    """Some of ``OUTPUTS`` by name, (n, ...) each, of ``clips`` (n, F, C, H, W), one clip at a time, in ``dtype``."""
    theirs = _their_model(checkpoint).to(dtype)
    with torch.no_grad():
        each = [_outputs(theirs, torch.from_numpy(clip[None]).to(dtype), checkpoint) for clip in clips]
    return {name: torch.cat([found[name] for found in each]).numpy() for name in outputs}


def _their_model(checkpoint: Checkpoint) -> nn.Module:
    import transformers

    config = transformers.TimesformerConfig(**huggingface.huggingface_fields(checkpoint.found.model))
    # Made without memory: the tensors of the file take the place of its parameters.
    with torch.device("meta"):
        theirs: nn.Module = getattr(transformers, class_of(checkpoint))(config)
    tensors = {name: tensor.float() for name, tensor in checkpoint.found.tensors.read().items()}
    if not checkpoint.found.model.num_classes:
        tensors = {name.removeprefix(f"{huggingface.MODEL_TYPE}."): tensor for name, tensor in tensors.items()}
    theirs.load_state_dict(tensors, strict=True, assign=True)
    return theirs.eval()


def _outputs(theirs: Any, clip: Tensor, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What their model gives for one clip: features, and with a head logits."""
    model = checkpoint.found.model
    base = theirs.timesformer if model.num_classes else theirs
    if model.attn_type == "space":
        frames = base.encoder(base.embeddings(clip), return_dict=True).last_hidden_state
        features = base.layernorm(frames[:, 0].unflatten(0, (-1, model.frames)).mean(dim=1))
        return {FEATURES: features, **({LOGITS: theirs.classifier(features)} if model.num_classes else {})}
    seen: list[Tensor] = []
    hook = base.layernorm.register_forward_hook(lambda _module, _inputs, output: seen.append(output[:, 0]))
    try:
        answer = theirs(clip)
    finally:
        hook.remove()
    return {FEATURES: seen[0], **({LOGITS: answer.logits} if model.num_classes else {})}
