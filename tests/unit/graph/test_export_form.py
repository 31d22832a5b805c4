"""The export form is the model: logits and every tap in float64, whatever is rewritten."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import TapSpec
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL

LIMIT = 1e-10
# Zeroing a weight moves the logits by more than this.
LEAST = 1e-4
MECHANISMS = ("fastformer", "performer", "regular")
TYPES = ("divided", "joint", "space")
POSITIONS: dict[str, dict[str, Any]] = {
    "rotary": {},
    "token": {"rotary_emb": False},
    "factored": {"rotary_emb": False, "learned_emb": "factored"},
}
REWRITES = {"all": ALL, "none": frozenset(), **{name: frozenset({name}) for name in sorted(ALL)}}

Outputs = dict[str, np.ndarray]
Run = Callable[[FastTimeSformer, Sequence[TapSpec], np.ndarray, torch.dtype], Outputs]


def values_of(form: ExportForm, clip: torch.Tensor) -> dict[str, np.ndarray]:
    """Logits and taps of the form, by the modules that the taps are named after."""
    seen = {}
    hooks = [
        form.get_submodule(tap.name).register_forward_hook(
            lambda _module, _inputs, output, name=tap.name: seen.__setitem__(name, output.numpy())
        )
        for tap in form.taps()
    ]
    with torch.no_grad():
        seen["logits"] = form(clip).numpy()
    for hook in hooks:
        hook.remove()
    return seen


@lru_cache(maxsize=1)
def double(model: FastTimeSformer) -> FastTimeSformer:
    return copy.deepcopy(model).double()


@pytest.mark.parametrize("rewrites", ["all", "none"])
@pytest.mark.parametrize("plugins", [frozenset(), frozenset({"time", "space"})], ids=["plain", "plugins"])
@pytest.mark.parametrize(("mechanism", "kind"), list(product(MECHANISMS, TYPES)))
def test_the_scale_of_scores_is_the_models(
    model_of: Callable[..., FastTimeSformer],
    clips: Callable[..., np.ndarray],
    distance: Callable[[Any, Any], float],
    mechanism: str,
    kind: str,
    plugins: frozenset[str],
    rewrites: str,
) -> None:
    """Also of nodes for plugins, whose kernels know one scale alone; dropout is nothing to a graph."""
    options = {"attn_mechanism": mechanism, "attn_type": kind, "qkv_bias": True}
    model = double(model_of(**options, qk_scale=0.9, attn_dropout=0.2, proj_dropout=0.2))
    clip = torch.from_numpy(clips(1)).double()
    with torch.no_grad():
        got = ExportForm(model, REWRITES[rewrites], plugins=plugins)(clip).numpy()
        usual = ExportForm(double(model_of(**options)), REWRITES[rewrites], plugins=plugins)(clip).numpy()
        assert distance(got, model(clip).numpy()) <= LIMIT
    assert distance(got, usual) > LEAST


def variants() -> list[tuple[bool, str, str]]:
    """(qkv_bias, mlp_act, rewrites): all and none of the rewrites with every model, each alone with the fullest."""
    both = product((True, False), ("geglu", "gelu"), ("all", "none"))
    return [*both, *((True, "geglu", name) for name in sorted(ALL))]


@pytest.mark.parametrize(("bias", "act", "rewrites"), variants())
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("mechanism", "kind"), list(product(MECHANISMS, TYPES)))
def test_form_equals_model(
    model_of: Callable[..., FastTimeSformer],
    clips: Callable[..., np.ndarray],
    eager: Run,
    distance: Callable[[Any, Any], float],
    mechanism: str,
    kind: str,
    positions: str,
    bias: bool,
    act: str,
    rewrites: str,
) -> None:
    model = double(
        model_of(attn_mechanism=mechanism, attn_type=kind, qkv_bias=bias, mlp_act=act, **POSITIONS[positions])
    )
    form = ExportForm(model, REWRITES[rewrites])
    clip = clips(2)
    got = values_of(form, torch.from_numpy(clip).double())
    expected = eager(model, form.taps(), clip, torch.float64)
    assert got.keys() == expected.keys()
    assert {name: d for name in got if not (d := distance(got[name], expected[name])) <= LIMIT} == {}


@pytest.mark.parametrize("rewrites", ["all", "none"])
@pytest.mark.parametrize(("mechanism", "kind"), list(product(MECHANISMS, TYPES)))
def test_every_weight_of_the_form_matters(
    model_of: Callable[..., FastTimeSformer],
    clips: Callable[..., np.ndarray],
    distance: Callable[[Any, Any], float],
    mechanism: str,
    kind: str,
    rewrites: str,
) -> None:
    """A part that is left out cannot hide: each weight and table set to zero, the logits alone betray it."""
    model = double(model_of(attn_mechanism=mechanism, attn_type=kind, qkv_bias=True))
    form = ExportForm(model, REWRITES[rewrites])
    clip = torch.from_numpy(clips(1)).double()
    with torch.no_grad():
        whole = form(clip).numpy()
        moved = {}
        for name, parameter in form.named_parameters():
            kept = parameter.clone()
            parameter.zero_()
            moved[name] = distance(form(clip).numpy(), whole)
            parameter.copy_(kept)
        assert distance(form(clip).numpy(), whole) == 0
    parts = (".to_out.weight", ".w_q" if mechanism == "fastformer" else ".fc2.weight")
    assert all(any(name.endswith(part) for name in moved) for part in parts)
    assert {name for name, d in moved.items() if not d > LEAST} == set()


def test_frames_first_is_the_clips_layout_alone(
    model_of: Callable[..., FastTimeSformer], clips: Callable[..., np.ndarray], distance: Callable[[Any, Any], float]
) -> None:
    """The form takes (B, F, C, H, W) of either model."""
    model = double(model_of(frames_first=False))
    clip = torch.from_numpy(clips(2)).double()
    with torch.no_grad():
        assert distance(ExportForm(model, ALL)(clip).numpy(), model(clip.transpose(1, 2)).numpy()) <= LIMIT


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("frames", "side"), [(1, 32), (3, 16), (1, 16)])
def test_one_frame_and_one_patch(
    model_of: Callable[..., FastTimeSformer],
    distance: Callable[[Any, Any], float],
    mechanism: str,
    frames: int,
    side: int,
) -> None:
    model = double(model_of(attn_mechanism=mechanism, frames=frames, height=side, width=side))
    clip = torch.randn(2, frames, 3, side, side, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        assert distance(ExportForm(model, ALL)(clip).numpy(), model(clip).numpy()) <= LIMIT


@pytest.mark.parametrize("features", [5, 200])
@pytest.mark.parametrize("kernel", ["softmax", "relu"])
def test_features_and_kernels_of_favor(
    model_of: Callable[..., FastTimeSformer],
    clips: Callable[..., np.ndarray],
    distance: Callable[[Any, Any], float],
    kernel: str,
    features: int,
) -> None:
    """Both orders of the products: 5 features are fewer than a frame's tokens, 200 more."""
    model = double(model_of(attn_mechanism="performer", performer_kernel=kernel, performer_features=features))
    clip = torch.from_numpy(clips(2)).double()
    with torch.no_grad():
        assert distance(ExportForm(model, ALL)(clip).numpy(), model(clip).numpy()) <= LIMIT


def test_the_model_is_left_as_it_was(model_of: Callable[..., FastTimeSformer]) -> None:
    model = copy.deepcopy(model_of(attn_mechanism="performer")).train()
    before = copy.deepcopy(model.state_dict())
    form = ExportForm(model, ALL)
    own = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    assert not own & {parameter.data_ptr() for parameter in form.parameters()}
    with torch.no_grad():
        for parameter in form.parameters():
            parameter.zero_()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
