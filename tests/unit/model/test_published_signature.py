"""Code that was written for FastTimeSformer 0.2.2 runs, or is told what to write instead.

The tables are what github.com/adam-mehdi/FastTimeSformer publishes at that version: arguments in order, with defaults.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import fast_timesformer
from fast_timesformer import model as published_module
from fast_timesformer.model import (
    FastAttention,
    FastformerAttention,
    FastTimeSformer,
    PerformerAttention,
    RegularAttention,
    TimeSformerBlock,
)

NEEDED = inspect.Parameter.empty
MADE: dict[type[nn.Module], dict[str, Any]] = {
    FastTimeSformer: {
        "frames": NEEDED, "channels": NEEDED, "height": NEEDED, "width": NEEDED, "num_classes": NEEDED,
        "dim": 128, "patch_size": 16, "depth": 12, "heads": 8, "dim_head": 64, "drop_path": 0.1,
        "attn_dropout": 0.0, "proj_dropout": 0.0, "rotary_emb": True, "attn_mechanism": "fastformer",
        "attn_type": "divided", "frames_first": True,
    },
    TimeSformerBlock: {
        "dim": NEEDED, "frames": NEEDED, "height_patches": NEEDED, "width_patches": NEEDED,
        "dim_head": 64, "heads": 8, "drop_path": 0.1, "attn_drop": 0.0, "proj_drop": 0.0, "qkv_bias": False,
        "mlp_ratio": 4, "qk_scale": None, "rotary_emb": True, "attn_mechanism": "fastformer", "attn_type": "divided",
    },
    RegularAttention: {
        "dim": NEEDED, "dim_head": 64, "qkv_bias": False, "qk_scale": None, "attn_drop": 0.0, "proj_drop": 0.0,
    },
    FastformerAttention: {"dim": NEEDED, "dim_head": 64, "proj_drop": 0.0, "qkv_bias": False, "qk_scale": None},
    PerformerAttention: {
        "dim": NEEDED, "dim_head": 64, "nb_features": None, "ortho_scaling": 0, "kernel_fn": "nn.ReLU()",
        "qkv_bias": False,
    },
}  # fmt: skip
CALLED = {
    FastTimeSformer: ("video", "mask"),
    TimeSformerBlock: ("x", "frame_rot_emb", "image_rot_emb"),
    **dict.fromkeys((RegularAttention, FastformerAttention, PerformerAttention), ("x", "rot_emb")),
}
# What the original accepts without a look at it, and ours takes at its word: another default keeps the same result.
UNREAD = {("FastTimeSformer", "heads"): None, ("TimeSformerBlock", "heads"): None}
UNREAD[("PerformerAttention", "kernel_fn")] = "softmax"
LAYERS = (RegularAttention, FastformerAttention, PerformerAttention)
# What the block gives every layer, whichever it is.
COMMON = {"dim": 32, "dim_head": 16, "qkv_bias": True, "qk_scale": 0.3, "attn_drop": 0.1, "proj_drop": 0.1}


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_the_published_arguments_come_first_in_order_and_what_is_new_is_behind_the_star(kind: type[nn.Module]) -> None:
    shown = inspect.signature(kind).parameters.values()
    positional = {one.name: one.default for one in shown if one.kind is one.POSITIONAL_OR_KEYWORD}
    expected = {name: UNREAD.get((kind.__name__, name), value) for name, value in MADE[kind].items()}
    expected |= {name: value for (owner, name), value in UNREAD.items() if owner == kind.__name__}
    assert list(positional) == list(MADE[kind])
    assert positional == expected
    assert all(one.kind is one.KEYWORD_ONLY for one in shown if one.name not in MADE[kind])
    called = [one for one in inspect.signature(kind.forward).parameters.values() if one.kind is not one.KEYWORD_ONLY]
    assert tuple(one.name for one in called[1:]) == CALLED[kind]
    assert all(one.default is None for one in called[2:])


def test_names_are_those_of_the_published_modules() -> None:
    assert FastformerAttention is FastAttention
    for name in ("FastTimeSformer", "FastformerAttention", "PerformerAttention", "RegularAttention"):
        assert getattr(fast_timesformer, name) is getattr(published_module, name)
    assert fast_timesformer.TimeSformerBlock is TimeSformerBlock


@pytest.mark.parametrize("mechanism", ["fastformer", "performer", "regular"])
@pytest.mark.parametrize("attn_type", ["divided", "joint"])
def test_every_published_argument_by_position(mechanism: str, attn_type: str) -> None:
    given = (2, 3, 32, 16, 5, 64, 16, 1, 2, 32, 0.2, 0.1, 0.3, False, mechanism, attn_type, False)
    model = FastTimeSformer(*given)
    assert {name: getattr(model.config, name) for name in MADE[FastTimeSformer]} == dict(
        zip(MADE[FastTimeSformer], given, strict=True)
    )
    clip = torch.randn(2, 3, 2, 32, 16)
    assert model(clip, None).shape == (2, 5)
    assert not torch.equal(model(clip), model(clip)), "dropout acts in training"
    block = TimeSformerBlock(64, 2, 2, 1, 32, 2, 0.2, 0.1, 0.3, True, 2, 0.5, True, mechanism, attn_type)
    assert block(torch.randn(2, 5, 64)).shape == (2, 5, 64)
    attention = next(part for part in block.modules() if isinstance(part, LAYERS))
    assert (attention.heads, attention.dim_head, attention.scale) == (2, 32, 0.5)
    assert (attention.attn_drop.p, attention.proj_drop.p, attention.to_qkv.bias is None) == (0.1, 0.3, False)


@pytest.mark.parametrize(
    ("mechanism", "used", "said"),
    [
        ("fastformer", 2, r"heads: 2 of width 64 are used, not 8: fastformer has as many as make up dim 128"),
        (
            "performer",
            8,
            r"heads: 8 of width 64 are used, 512 in all for dim 128; FastTimeSformer 0.2.2 .* has 2: leave",
        ),
        ("regular", 8, r"heads: 8 of width 64 are used, 512 in all for dim 128; FastTimeSformer 0.2.2 .* has 2: leave"),
    ],
)
def test_eight_heads_of_a_narrow_model_are_accepted_with_a_warning(mechanism: str, used: int, said: str) -> None:
    with pytest.warns(UserWarning, match=said) as caught:
        model = FastTimeSformer(2, 3, 16, 16, 5, 128, 16, 1, 8, attn_mechanism=mechanism)
    with pytest.warns(UserWarning, match=said) as block:
        TimeSformerBlock(128, 2, 2, 1, heads=8, attn_mechanism=mechanism)
    assert [one.filename for one in (*caught, *block)] == [__file__] * 2
    assert (model.config.heads, model.blocks[0].spatial.attn.heads) == (used, used)
    # A description is exact, and says nothing.
    assert FastTimeSformer.from_config(model.config).config == FastTimeSformer(model.config).config == model.config
    with pytest.raises(ValueError, match="heads: expected a whole number of at least 1, got 0"):
        FastTimeSformer(2, 3, 16, 16, 5, heads=0)
    with pytest.raises(ValueError, match=r"heads: fastformer adds its queries .* got 3 \* 64; take 2 heads"):
        FastTimeSformer(2, 3, 16, 16, 5, heads=3)


def test_heads_that_fit_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FastTimeSformer(2, 3, 16, 16, 5, dim=128, depth=1, heads=8, dim_head=16)
        FastTimeSformer(2, 3, 16, 16, 5, dim=128, depth=1)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_every_layer_takes_what_a_block_gives_it(kind: type[Any]) -> None:
    layer = kind(**COMMON)
    x = torch.randn(2, 40, 32)
    assert layer(x).shape == (2, 40, 32)
    assert not torch.equal(layer(x), layer(x))
    for wrong in (0, -0.5, float("nan"), "1"):
        with pytest.raises(ValueError, match=r"qk_scale: expected a finite number above 0, or None"):
            kind(32, 16, qk_scale=wrong)
    with pytest.raises(ValueError, match=r"rot_emb: expected None: .* an attention takes rotary=\(cos, sin\)"):
        layer(x, (torch.zeros(1, 40, 16), torch.ones(1, 40, 16)))
    with pytest.raises(TypeError, match="dropuot"):
        kind(32, dropuot=0.1)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_qk_scale_is_what_multiplies_the_scores(kind: type[Any]) -> None:
    """Of scores q . k, as of w . q, a scale of c / sqrt K is that of queries and keys, or of w, that are larger."""
    torch.manual_seed(1)
    plain, scaled = (kind(32, 16, **given).double().eval() for given in ({}, {"qk_scale": 0.7}))
    times = 0.7 * 16**0.5
    state = {name: one if name == "omega" else torch.randn_like(one) / 3 for name, one in plain.state_dict().items()}
    scaled.load_state_dict(state)
    if kind is FastformerAttention:
        state["w_q"] *= times
        state["w_k"] *= times
    else:
        state["to_qkv.weight"][:64] *= times**0.5
    plain.load_state_dict(state)
    x = torch.randn(2, 9, 32, dtype=torch.float64)
    torch.testing.assert_close(scaled(x), plain(x), rtol=1e-12, atol=1e-12)
    plain.load_state_dict(scaled.state_dict())
    assert (scaled(x) - plain(x)).abs().max() > 1e-3


@pytest.mark.parametrize("given", [nn.ReLU(), nn.ReLU, torch.relu, functional.relu, "relu"])
def test_kernel_fn_is_relu_in_any_form_or_refused(given: Any) -> None:
    layer = PerformerAttention(32, 16, 8, 1, given, True)
    assert (layer.kernel, layer.features, layer.ortho_scaling) == ("relu", 8, 1)
    with pytest.raises(ValueError, match=r"kernel_fn: expected one of softmax, relu, or nn.ReLU\(\).*GELU"):
        PerformerAttention(32, 16, kernel_fn=nn.GELU())
    before = layer.omega.clone()
    layer.redraw_projection_matrix(torch.device("cpu"))
    assert not torch.equal(layer.omega, before)


def test_dropout_of_performer_drops_tokens_and_keeps_the_mean() -> None:
    torch.manual_seed(2)
    layer = PerformerAttention(16, 8, attn_drop=0.5).double()
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    drawn = torch.stack([layer(x) for _ in range(4000)])
    error = (drawn.mean(0) - layer.eval()(x)).abs() / (drawn.std(0) / 4000**0.5)
    assert error.max() < 5
    assert drawn.std(0).min() > 0


def test_a_mask_and_the_originals_tables_are_refused_with_what_to_do() -> None:
    model = FastTimeSformer(2, 3, 16, 16, 5, dim=64, depth=1).eval()
    clip = torch.randn(1, 2, 3, 16, 16)
    assert torch.equal(model(clip, mask=None), model(clip))
    with pytest.raises(ValueError, match="mask: expected None, got Tensor: every frame and patch takes part"):
        model(clip, mask=torch.ones(1, 2, dtype=torch.bool))
    block = TimeSformerBlock(64, 2, 2, 1)
    with pytest.raises(ValueError, match=r"image_rot_emb: expected None: .* a block makes its own"):
        block(torch.randn(1, 5, 64), image_rot_emb=(torch.zeros(1), torch.zeros(1)))


def test_a_block_is_that_of_the_model() -> None:
    model = FastTimeSformer(2, 3, 32, 16, 5, dim=64, depth=1, dim_head=32, qk_scale=0.2).eval()
    block = TimeSformerBlock(64, 2, 2, 1, dim_head=32, qk_scale=0.2).eval()
    block.block.load_state_dict(model.blocks[0].state_dict())
    x = torch.randn(2, 5, 64)
    assert torch.equal(block(x), model.blocks[0](x))
