"""Wrong architectures are refused when they are made, with every wrong field named."""

import dataclasses
import inspect
import json
import math

import pytest

from fast_timesformer import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer

SOUND = {"frames": 2, "channels": 3, "height": 32, "width": 48, "num_classes": 5, "dim": 64, "depth": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            ({name: value}, f"{name}: expected a whole number of at least 1, got {value!r}")
            for name in ("frames", "channels", "height", "width", "dim", "patch_size", "depth")
            for value in (0, 2.0, True)
        ),
        *(({"num_classes": value}, "num_classes: expected a whole number of at least 0") for value in (-1, 2.0, True)),
        *(
            ({name: 0}, f"{name}: expected a whole number of at least 1, got 0")
            for name in ("heads", "dim_head", "mlp_mult", "performer_features")
        ),
        *(
            ({name: value}, f"{name}: expected a probability, at least 0 and below 1, got {value!r}")
            for name in ("drop_path", "attn_dropout", "proj_dropout")
            for value in (-0.1, 1, math.nan, "0.1")
        ),
        *(({"norm_eps": value}, "norm_eps: expected a finite number above 0") for value in (0, math.inf, math.nan)),
        *(({name: 1}, f"{name}: expected True or False, got 1") for name in ("rotary_emb", "frames_first", "qkv_bias")),
        ({"attn_mechanism": "linear"}, "attn_mechanism: expected one of fastformer, performer, regular, got 'linear'"),
        ({"attn_type": "time"}, "attn_type: expected one of divided, joint, space, got 'time'"),
        ({"mlp_act": "relu"}, "mlp_act: expected one of geglu, gelu, got 'relu'"),
        ({"learned_emb": "none"}, "learned_emb: expected one of token, factored, got 'none'"),
        ({"performer_kernel": "exp"}, "performer_kernel: expected one of softmax, relu, got 'exp'"),
        ({"ortho_scaling": 2}, "ortho_scaling: expected one of 0, 1, got 2"),
        ({"height": 225}, "height: expected a multiple of patch_size 16, got 225"),
        ({"width": 47}, "width: expected a multiple of patch_size 16, got 47"),
        (
            {"dim": 96},
            "dim: expected a multiple of dim_head 64 where heads is not given, got 96; "
            "take 64 or 128, or give heads as well",
        ),
        *(({"qk_scale": value}, "qk_scale: expected a finite number above 0") for value in (0, -1.0, math.nan, "1")),
        (
            {"dim": 96, "heads": 2},
            "heads: fastformer adds its queries to the output, so heads * dim_head must be dim 96, got 2 * 64",
        ),
        ({"dim_head": 2}, "dim_head: rotary positions in divided attention need a multiple of 4, got 2"),
        ({"dim_head": 4, "attn_type": "joint"}, "joint attention need a multiple of 8, got 4"),
        ({"learned_emb": "factored"}, "learned_emb: 'factored' needs rotary_emb=False"),
        ({"performer_features": 8}, "performer_features: only performer has it; expected None"),
        ({"performer_kernel": "relu"}, "performer_kernel: only performer has it; expected 'softmax'"),
        ({"ortho_scaling": 1}, "ortho_scaling: only performer has it; expected 0"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], message: str) -> None:
    for make in (TimeSformerConfig, FastTimeSformer):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared as plain text below
            make(**{**SOUND, **change})
        assert message in str(caught.value)


def test_every_wrong_field_is_reported_at_once() -> None:
    wrong = {"frames": 0, "drop_path": 2, "attn_type": "x", "qkv_bias": None}
    with pytest.raises(ValueError, match=r"frames: .*drop_path: .*attn_type: .*qkv_bias: "):
        TimeSformerConfig(**{**SOUND, **wrong})
    with pytest.raises(ValueError, match=r"height: .*width: .*dim: .*learned_emb: "):
        TimeSformerConfig(**{**SOUND, "height": 33, "width": 47, "dim": 96, "learned_emb": "factored"})


def test_derived_sizes() -> None:
    config = TimeSformerConfig(**SOUND)
    assert (config.rows, config.columns, config.num_patches, config.num_tokens, config.num_heads) == (2, 3, 6, 13, 1)
    assert config.num_features == int(64 * math.log(64)) == 266
    assert TimeSformerConfig(**{**SOUND, "dim": 96, "heads": 3, "attn_mechanism": "regular"}).num_heads == 3


def test_a_configuration_survives_json_and_is_frozen() -> None:
    config = TimeSformerConfig(**{**SOUND, "attn_mechanism": "performer", "performer_features": 9})
    assert TimeSformerConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.dim = 1  # type: ignore[misc]


def test_unknown_and_missing_fields_are_named() -> None:
    data = {**TimeSformerConfig(**SOUND).as_dict(), "hieght": 3}
    del data["frames"]
    with pytest.raises(ValueError, match="hieght: unknown field; frames: missing"):
        TimeSformerConfig.from_dict(data)


def test_the_model_shows_and_takes_the_arguments_of_its_configuration() -> None:
    shown = dict(inspect.signature(FastTimeSformer).parameters)
    assert shown.pop("checkpoint_blocks").default is None
    assert shown == dict(inspect.signature(TimeSformerConfig).parameters)
    for wrong in ({"hieght": 3}, {"frames": 4}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            FastTimeSformer(2, 3, 32, 48, 4, **wrong)
    positional = [name for name, each in shown.items() if each.kind is not each.KEYWORD_ONLY]
    with pytest.raises(TypeError, match="positional"):
        FastTimeSformer(*(shown[name].default for name in positional), True)


def test_the_model_takes_every_field_and_keeps_it() -> None:
    """No constructor argument is forgotten, and the model is the one that its configuration makes."""
    changes = {
        "patch_size": 8,
        "depth": 2,
        "heads": 3,
        "dim_head": 12,
        "mlp_mult": 2,
        "drop_path": 0.3,
        "attn_dropout": 0.1,
        "proj_dropout": 0.2,
        "rotary_emb": False,
        "attn_mechanism": "performer",
        "attn_type": "joint",
        "frames_first": False,
        "qkv_bias": True,
        "qk_scale": 0.3,
        "mlp_act": "gelu",
        "norm_eps": 1e-6,
        "mlp_dim": 77,
        "learned_emb": "factored",
        "performer_features": 5,
        "performer_kernel": "relu",
        "ortho_scaling": 1,
    }
    values = {**SOUND, **changes}
    assert set(values) == {field.name for field in dataclasses.fields(TimeSformerConfig)}
    model = FastTimeSformer(**values)
    assert model.config.as_dict() == values
    again = FastTimeSformer.from_config(model.config)
    assert again.config == model.config
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes
