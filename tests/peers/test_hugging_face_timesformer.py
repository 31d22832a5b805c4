"""The same class is the pretrained TimeSformer: Hugging Face's model with copied weights, in float64.

Theirs is made from a configuration, with random weights: nothing is downloaded.

What differs by design: in ``space_only`` theirs returns logits for each frame; ours averages the frames before the
final norm, as the original code of Facebook Research does. There the comparison starts from their last hidden state.
Theirs keeps tokens patch by patch, ours frame by frame: the same tokens.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from transformers import TimesformerConfig, TimesformerForVideoClassification
from transformers.utils import logging

from fast_timesformer.model import FastTimeSformer
from ftsf_export.checkpoint.names import huggingface_origins

FRAMES, SIDE, PATCH, DIM, HEADS, DEPTH, CLASSES = 3, 24, 8, 32, 2, 2, 7
ATTENTION_TYPES = {"divided": "divided_space_time", "joint": "joint_space_time", "space": "space_only"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Its logger writes to stderr about defaults of its own."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    torch.manual_seed(0)
    yield
    logging.set_verbosity(before)


def their_model(attn_type: str) -> TimesformerForVideoClassification:
    config = TimesformerConfig(
        image_size=SIDE,
        patch_size=PATCH,
        num_frames=FRAMES,
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        attention_type=ATTENTION_TYPES[attn_type],
        num_labels=CLASSES,
    )
    model = TimesformerForVideoClassification(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Wide enough that every part moves the logits; norms stay near 1.
            spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.3
            parameter.add_(torch.randn_like(parameter) * spread)
    return model


def our_model(attn_type: str) -> FastTimeSformer:
    return (
        FastTimeSformer(
            *(FRAMES, 3, SIDE, SIDE, CLASSES, DIM, PATCH, DEPTH, HEADS, DIM // HEADS),
            attn_mechanism="regular",
            attn_type=attn_type,
            rotary_emb=False,
            learned_emb="factored",
            qkv_bias=True,
            mlp_act="gelu",
            norm_eps=1e-6,
        )
        .double()
        .eval()
    )


def our_weights(theirs: TimesformerForVideoClassification, ours: FastTimeSformer) -> dict[str, Tensor]:
    """Their weights under our names, by the table that reads their checkpoints."""
    tensors = dict(theirs.named_parameters())
    origins = huggingface_origins(ours.config)
    return {name: origin.convert(tensors[origin.name]) for name, origin in origins.items()}


def their_logits(theirs: TimesformerForVideoClassification, clip: Tensor, attn_type: str) -> Tensor:
    if attn_type != "space":
        return theirs(clip).logits
    base = theirs.timesformer
    frames = base.encoder(base.embeddings(clip), return_dict=True).last_hidden_state
    return theirs.classifier(base.layernorm(frames[:, 0].unflatten(0, (-1, FRAMES)).mean(dim=1)))


@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
def test_logits_and_gradients_with_copied_weights(attn_type: str) -> None:
    theirs, ours = their_model(attn_type), our_model(attn_type)
    weights = our_weights(theirs, ours)
    assert len(weights) == len(list(theirs.parameters())), "every weight of theirs has a place in ours"
    ours.load_state_dict(weights, strict=True)
    clip = torch.randn(2, FRAMES, 3, SIDE, SIDE, dtype=torch.float64, requires_grad=True)
    logits, expected = ours(clip), their_logits(theirs, clip, attn_type)
    assert (expected[0] - expected[1]).norm() > 0.01 * expected.norm()
    assert (logits - expected).norm() <= 1e-10 * expected.norm()
    weighting = torch.randn_like(expected)
    (gradient,), (expected_gradient,) = (torch.autograd.grad((y * weighting).sum(), clip) for y in (logits, expected))
    assert (gradient - expected_gradient).norm() <= 1e-10 * expected_gradient.norm()


@pytest.mark.parametrize("part", ["temporal_attention", "temporal_dense", "attention"])
def test_the_comparison_sees_every_attention(part: str) -> None:
    """With one of their maps zeroed, the logits differ by far more than the limit."""
    theirs, ours = their_model("divided"), our_model("divided")
    ours.load_state_dict(our_weights(theirs, ours))
    clip = torch.randn(1, FRAMES, 3, SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        layer = getattr(theirs.timesformer.encoder.layer[0], part)
        (layer if isinstance(layer, nn.Linear) else layer.output.dense).weight.zero_()
        expected = theirs(clip).logits
        assert (ours(clip) - expected).norm() > 1e-3 * expected.norm()
