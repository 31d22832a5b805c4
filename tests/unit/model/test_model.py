"""The whole network: input layout, neighbours, gradients, recomputed blocks, names that files depend on."""

import copy
import itertools
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

import fast_timesformer.model
from fast_timesformer.model import FastTimeSformer

MECHANISMS = ("fastformer", "performer", "regular")
ATTENTION_TYPES = ("divided", "joint", "space")
POSITIONS = ({}, {"rotary_emb": False}, {"rotary_emb": False, "learned_emb": "factored"})


def tiny(**options: object) -> FastTimeSformer:
    return FastTimeSformer(3, 3, 16, 24, 4, **{"dim": 32, "dim_head": 16, "patch_size": 8, "depth": 2, **options})


def clips(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 3, 16, 24)


def widen(model: FastTimeSformer) -> FastTimeSformer:
    """Weights large enough that attention is far from uniform."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 if "norm" in name else 8).add_(torch.randn_like(weight) * 0.05)
    return model.double()


@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_clip_does_not_depend_on_its_neighbours(mechanism: str, attn_type: str) -> None:
    model = widen(tiny(attn_mechanism=mechanism, attn_type=attn_type)).eval()
    x = clips(3).double()
    x[1] *= 1e4
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(clip[None]) for clip in x])
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("positions", POSITIONS, ids=("rotary", "token", "factored"))
@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_gradients_reach_every_parameter(mechanism: str, attn_type: str, positions: dict[str, object]) -> None:
    model = widen(tiny(attn_mechanism=mechanism, attn_type=attn_type, drop_path=0.0, **positions))
    model(clips().double()).square().sum().backward()
    # Every row, too: a dead slice of a matrix (an unused head, a position) has a zero gradient.
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.flatten(1 if parameter.ndim > 1 else 0).abs().amax(dim=-1).min() > 0, name


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_an_optimizer_learns_two_clips(mechanism: str) -> None:
    model = tiny(attn_mechanism=mechanism)
    x, labels = clips(), torch.tensor([0, 3])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
    assert model.eval()(x).argmax(dim=1).tolist() == [0, 3]


def test_frames_first_false_takes_channels_first() -> None:
    model = tiny()
    other = tiny(frames_first=False)
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 3, 16, 24)
    x[:, 1:] *= 3
    assert torch.equal(model.eval()(x), other.eval()(x.transpose(1, 2)))
    assert not torch.allclose(model(x), other(x))


@pytest.mark.parametrize("shape", [(2, 3, 3, 16, 16), (2, 4, 3, 16, 24), (3, 3, 16, 24), (2, 3, 1, 16, 24)])
def test_another_clip_shape_is_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"clip: expected \(B, F, C, H, W\) = \(B, 3, 3, 16, 24\), got") as caught:
        tiny()(torch.zeros(shape))
    assert str(shape) in str(caught.value)
    with pytest.raises(ValueError, match=r"\(B, C, F, H, W\) = \(B, 3, 3, 16, 24\)"):
        tiny(frames_first=False)(torch.zeros(shape))


@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_recomputed_blocks_have_the_same_gradients(mechanism: str, attn_type: str) -> None:
    """Bit for bit, with dropout and dropped paths: the recomputation replays the random numbers."""
    model = tiny(attn_mechanism=mechanism, attn_type=attn_type, drop_path=0.5, proj_dropout=0.2)
    x = clips(4)
    results = []
    for recompute in (False, True):
        model.checkpoint_blocks = recompute
        model.zero_grad()
        torch.manual_seed(11)
        logits = model(x)
        logits.square().sum().backward()
        results.append([logits.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    assert all(torch.equal(kept, again) for kept, again in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("setting", "limit", "runs"), [(None, 0, 2), (None, 2**40, 1), (True, 2**40, 2), (False, 0, 1)]
)
def test_blocks_are_recomputed_when_large_or_asked(
    setting: bool | None, limit: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_timesformer.model, "KEPT_BYTES_LIMIT", limit)
    model = tiny(checkpoint_blocks=setting)
    calls = []
    model.blocks[1].mlp.register_forward_hook(lambda *_: calls.append(1))
    model(clips()).sum().backward()
    assert len(calls) == runs
    calls.clear()
    with torch.no_grad():
        model(clips())
    assert len(calls) == 1


@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_estimate_of_kept_memory_holds(mechanism: str, attn_type: str) -> None:
    """Within a factor of 1.25 of what autograd really saves, so that the automatic choice keeps its promise."""
    model = FastTimeSformer(
        *(4, 3, 64, 64, 5),
        depth=2,
        drop_path=0.0,
        attn_mechanism=mechanism,
        attn_type=attn_type,
        checkpoint_blocks=False,
    )
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x_BND = model._embed(torch.randn(4, 4, 3, 64, 64))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.blocks[1](model.blocks[0](x_BND))
    truth = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    assert truth / 1.25 < model._kept_bytes(x_BND) < truth * 1.25


BRANCHES = {
    "divided": ("temporal", "spatial", "mlp"),
    "joint": ("joint", "mlp"),
    "space": ("spatial", "mlp"),
}
ATTENTION_WEIGHTS = {
    "fastformer": {"w_q": (2, 16), "w_k": (2, 16)},
    "performer": {"omega": (44, 16)},
    "regular": {},
}


@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_names_in_a_state_dict_are_fixed(mechanism: str, attn_type: str) -> None:
    """Saved files depend on them: a change here is a change of the file format."""
    expected = {"patch_embed.weight": (32, 192), "patch_embed.bias": (32,), "cls_token": (32,)}
    for branch, i in itertools.product(BRANCHES[attn_type], range(2)):
        at = f"blocks.{i}.{branch}"
        expected |= {f"{at}.norm.weight": (32,), f"{at}.norm.bias": (32,)}
        if branch == "mlp":
            expected |= {f"{at}.fc1.weight": (256, 32), f"{at}.fc1.bias": (256,)}
            expected |= {f"{at}.fc2.weight": (32, 128), f"{at}.fc2.bias": (32,)}
            continue
        expected |= {f"{at}.attn.to_qkv.weight": (96, 32)}
        expected |= {f"{at}.attn.to_out.weight": (32, 32), f"{at}.attn.to_out.bias": (32,)}
        expected |= {f"{at}.attn.{name}": shape for name, shape in ATTENTION_WEIGHTS[mechanism].items()}
        if branch == "temporal":
            expected |= {f"{at}.fc.weight": (32, 32), f"{at}.fc.bias": (32,)}
    expected |= {"norm.weight": (32,), "norm.bias": (32,), "head.weight": (4, 32), "head.bias": (4,)}
    state = tiny(attn_mechanism=mechanism, attn_type=attn_type).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected


@pytest.mark.parametrize(
    ("attn_type", "learned_emb", "expected"),
    [
        ("divided", "token", {"pos_token": (19, 32)}),
        ("joint", "factored", {"pos_space": (7, 32), "pos_time": (3, 32)}),
        ("space", "token", {"pos_token": (7, 32)}),
        ("space", "factored", {"pos_space": (7, 32)}),
    ],
)
def test_learned_positions_have_fixed_names(
    attn_type: str, learned_emb: str, expected: dict[str, tuple[int, ...]]
) -> None:
    state = tiny(attn_type=attn_type, learned_emb=learned_emb, rotary_emb=False).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith("pos")} == expected


def test_weights_start_as_documented() -> None:
    model = FastTimeSformer(2, 3, 32, 32, 5, dim=128, depth=2, rotary_emb=False)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            assert parameter.abs().max() <= 2, name
            assert parameter.std().item() == pytest.approx(0.02, rel=0.25), name


def test_a_forward_and_backward_pass_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny(checkpoint_blocks=True)(clips()).sum().backward()


def test_a_model_is_copied_pickled_and_moved_whole() -> None:
    model = tiny(attn_mechanism="performer", attn_type="joint").eval()
    x = clips()
    expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(model).double().float()):
        assert torch.equal(twin(x), expected)
    with torch.device("meta"):
        empty = tiny(attn_mechanism="performer", attn_type="joint").eval()
    empty = empty.to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    assert torch.equal(empty(x), expected)


def test_the_package_is_light_until_a_model_is_asked_for() -> None:
    code = """
import sys, fast_timesformer
fast_timesformer.TimeSformerConfig(1, 3, 16, 16, 2)
assert not {"torch", "safetensors"} & set(sys.modules)
assert all(hasattr(fast_timesformer, name) for name in dir(fast_timesformer))
assert "torch" in sys.modules
assert not hasattr(fast_timesformer, "FastTimesformer")
"""
    source = str(Path(fast_timesformer.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r})\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
