"""Eager PyTorch: the taps are the modules' own values, and the model comes back as it was."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import TapSpec
from ftsf_export.errors import RunError
from ftsf_export.runners.eager import EagerRunner

SMALL = {"frames": 2, "channels": 3, "height": 32, "width": 32, "num_classes": 5, "dim": 64, "depth": 2, "dim_head": 32}


def small(**options: object) -> FastTimeSformer:
    torch.manual_seed(0)
    return FastTimeSformer(**{**SMALL, **options})


def clip_of(model: FastTimeSformer, clips: int = 2) -> np.ndarray:
    config = model.config
    leading = (config.frames, config.channels) if config.frames_first else (config.channels, config.frames)
    size = (clips, *leading, config.height, config.width)
    return np.random.default_rng(1).normal(size=size).astype(np.float32)


def run(model: torch.nn.Module, taps: list[TapSpec], clip: np.ndarray, **options: object) -> dict[str, np.ndarray]:
    with EagerRunner(model, taps=taps, **options) as runner:
        return dict(runner.infer({"clip": clip}))


def taps_of(model: FastTimeSformer) -> list[TapSpec]:
    branches = {"divided": ("temporal", "spatial"), "joint": ("joint",), "space": ("spatial",)}[model.config.attn_type]
    inner = [f"blocks.{i}.{name}" for i in range(model.config.depth) for name in (*branches, "mlp")]
    return [TapSpec(name) for name in ("patch_embed", *inner, "norm")]


@pytest.mark.parametrize("attn_type", ["divided", "joint", "space"])
@pytest.mark.parametrize("frames_first", [True, False])
def test_logits_and_taps_in_network_order(attn_type: str, frames_first: bool) -> None:
    model = small(attn_type=attn_type, frames_first=frames_first)
    clip = clip_of(model)
    taps = taps_of(model)
    outputs = run(model, taps, clip)
    assert list(outputs) == ["logits", *(tap.name for tap in taps)]
    assert {value.dtype for value in outputs.values()} == {np.dtype(np.float32)}
    with torch.no_grad():
        np.testing.assert_array_equal(outputs["logits"], model.eval()(torch.from_numpy(clip)).numpy())
    assert outputs["patch_embed"].shape == (2, 8, 64)
    tokens = {"divided": 9, "joint": 9, "space": 10}[attn_type]
    assert outputs["blocks.1.mlp"].shape == (2, tokens, 64)
    assert outputs["norm"].shape == (2, 64)


def test_taps_are_the_contributions_to_the_residual_stream() -> None:
    """What the branches give, added up from the embedding, and normalised, is what the head reads."""
    model = small()
    outputs = run(model, taps_of(model), clip_of(model))
    stream = np.concatenate([np.zeros((2, 1, 64), np.float32), outputs["patch_embed"]], axis=1)
    stream[:, 0] += model.cls_token.detach().numpy()
    for block in range(2):
        stream[:, 1:] += outputs[f"blocks.{block}.temporal"]
        stream += outputs[f"blocks.{block}.spatial"] + outputs[f"blocks.{block}.mlp"]
    with torch.no_grad():
        norm = model.norm(torch.from_numpy(stream[:, 0]))
        np.testing.assert_allclose(norm.numpy(), outputs["norm"], atol=1e-5)
        np.testing.assert_allclose(model.head(norm).numpy(), outputs["logits"], atol=1e-5)


def test_the_class_token_is_sliced_where_the_tap_says_so() -> None:
    model = small()
    whole = run(model, [TapSpec("blocks.1.mlp")], clip_of(model))["blocks.1.mlp"]
    sliced = run(model, [TapSpec("blocks.1.mlp", "class")], clip_of(model))["blocks.1.mlp"]
    assert sliced.shape == (2, 1, 64)
    np.testing.assert_array_equal(sliced, whole[:, :1])


def test_a_norm_of_all_tokens_gives_the_class_tokens_row() -> None:
    class Whole(torch.nn.Module):
        """A classifier that normalises every token before it takes the first."""

        def __init__(self) -> None:
            super().__init__()
            self.config = SimpleNamespace(frames=1, channels=1, height=4, width=8, frames_first=True)
            self.norm = torch.nn.LayerNorm(8)

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            tokens: torch.Tensor = self.norm(clip[:, 0, 0])
            return tokens[:, 0]

    clip = np.random.default_rng(0).normal(size=(3, 1, 1, 4, 8)).astype(np.float32)
    outputs = run(Whole(), [TapSpec("norm")], clip)
    np.testing.assert_array_equal(outputs["norm"], outputs["logits"])


def test_the_model_comes_back_as_it_was() -> None:
    model = small(drop_path=0.9)
    model.train()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    first = run(model, taps_of(model), clip_of(model))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    # In evaluation mode while it ran: stochastic depth would give another result each time.
    np.testing.assert_array_equal(run(model, [], clip_of(model))["logits"], first["logits"])


def test_the_model_comes_back_after_an_error() -> None:
    model = small()
    model.train()
    with pytest.raises(RunError, match="clip: expected"), EagerRunner(model, taps=taps_of(model)) as runner:
        runner.infer_impl({"clip": clip_of(model)[:, :1]})
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_another_type_is_served_by_a_copy() -> None:
    model = small()
    clip = clip_of(model)
    single = run(model, [TapSpec("norm")], clip)
    double = run(model, [TapSpec("norm")], clip, dtype=torch.float64)
    assert double["logits"].dtype == np.float64
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    np.testing.assert_allclose(single["logits"], double["logits"], atol=1e-5)
    half = run(model, [TapSpec("norm")], clip, dtype=torch.bfloat16)
    assert half["logits"].dtype == np.float32
    assert 1e-5 < np.abs(half["logits"] - double["logits"]).max() < 1e-1


@pytest.mark.parametrize("attn", ["fastformer", "performer", "regular"])
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_plain_half_is_what_pytorch_itself_gives(attn: str, name: str) -> None:
    model = small(attn_mechanism=attn)
    clip = clip_of(model)
    single, half = run(model, [], clip)["logits"], run(model, [], clip, dtype=name)["logits"]
    kind = getattr(torch, name)
    with torch.no_grad():
        own = copy.deepcopy(model).eval().to(kind)(torch.from_numpy(clip).to(kind)).float().numpy()
    error = np.linalg.norm(own - single)
    # Roundings of the same sizes in the same places; sums in another order.
    assert np.linalg.norm(half - own) < 2 * error
    assert error / 2 < np.linalg.norm(half - single) < 2 * error


def test_an_unknown_tap_is_named_and_leaves_no_hook() -> None:
    model = small()
    model.train()
    with pytest.raises(RunError, match=r"'blocks\.9\.mlp': the model has no such module; it has .*blocks\.1\.mlp"):
        EagerRunner(model, taps=[TapSpec("norm"), TapSpec("blocks.9.mlp")]).activate()
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_module_that_does_not_run_is_named() -> None:
    model = small()
    model.spare = torch.nn.Identity()
    with pytest.raises(RunError, match="'spare': the module did not run"):
        run(model, [TapSpec("spare")], clip_of(model))
