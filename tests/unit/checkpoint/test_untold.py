"""What no tensor's shape tells: the number of heads and LayerNorm's epsilon. Said, published or assumed out loud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fast_timesformer.model import FastTimeSformer
from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.checkpoint.facebook import open_file
from ftsf_export.checkpoint.stated import Stated
from ftsf_export.checkpoint.tensors import TensorFile
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError
from tests.unit.checkpoint.original import original_logits, original_shapes, original_state
from tests.unit.checkpoint.pretrained import noise, relative

# Six heads of 32: a guess of 64 a head would make three of it.
NARROW = {"dim": 192, "depth": 1, "hidden": 192}


def write(path: Path, *, prefix: str = "model.", **beside: Any) -> Path:
    state = {prefix + name: tensor for name, tensor in original_state(**NARROW).items()}
    torch.save({"model_state": state, **beside}, path)
    return path


def error(path: Path, of: tuple[int, float], **asked: Any) -> float:
    """Ours in float64 from the equations with the heads and the epsilon of ``of``."""
    ours, _ = load_checkpoint(path, ExportConfig(checkpoint=path, **asked))
    clip = noise(4, 24, 24)
    with torch.no_grad():
        return relative(ours.double()(clip), original_logits(original_state(**NARROW), clip, heads=of[0], eps=of[1]))


CFG = "MODEL:\n  ARCH: vit\nTIMESFORMER:\n  NUM_HEADS: 6\n  NORM_EPS: 1.0e-03\n"


@pytest.mark.parametrize(
    "beside",
    [
        {"cfg": CFG},
        {"cfg": {"TIMESFORMER": {"NUM_HEADS": 6, "NORM_EPS": 1e-3}}},
        {"hyper_parameters": {"net": {"num_heads": 6, "norm_eps": 1e-3}, "lr": 0.1}},
    ],
)
def test_the_file_says_it(tmp_path: Path, beside: dict[str, Any]) -> None:
    path = write(tmp_path / "a.pyth", **beside)
    assert error(path, (6, 1e-3)) <= 1e-10
    checkpoint = describe_checkpoint(path, ExportConfig())
    assert (checkpoint.weights.assumed, checkpoint.warnings) == ((), ())
    with pytest.raises(ConfigError, match=r"heads: 3 was asked for, the checkpoint a\.pyth has 6"):
        describe_checkpoint(path, ExportConfig(checkpoint=path, heads=3))
    with pytest.raises(ConfigError, match=r"norm_eps: 1e-06 was asked for, the checkpoint a\.pyth has 0\.001"):
        describe_checkpoint(path, ExportConfig(checkpoint=path, norm_eps=1e-6))


def test_the_user_says_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pyth")
    for asked in ({"heads": 6}, {"dim_head": 32}):
        assert error(path, (6, 1e-4), norm_eps=1e-4, **asked) <= 1e-10
        assert describe_checkpoint(path, ExportConfig(checkpoint=path, norm_eps=1e-4, **asked)).weights.assumed == ()


@pytest.mark.parametrize(("prefix", "eps"), [("model.", 1e-6), ("module.model.", 1e-6), ("", 1e-5), ("module.", 1e-5)])
def test_nobody_says_it(tmp_path: Path, prefix: str, eps: float) -> None:
    """Assumed are heads of 64, and the epsilon of the class that such names come from; a warning names both."""
    path = write(tmp_path / "a.pyth", prefix=prefix)
    assert error(path, (3, eps)) <= 1e-10
    assert error(path, (6, eps)) > 0.01, "another number of heads is another model"
    checkpoint = describe_checkpoint(path, ExportConfig())
    assert checkpoint.weights.assumed == ("heads 3 of width 64", f"norm_eps {eps}")
    (warning,) = checkpoint.warnings
    assert warning.startswith(f"ASSUMED: heads 3 of width 64 and norm_eps {eps}: a.pyth does not say so.")
    assert warning.endswith("give --heads and --norm-eps")
    half = describe_checkpoint(path, ExportConfig(checkpoint=path, heads=6))
    assert half.weights.assumed == (f"norm_eps {eps}",)


def base(beside: dict[str, Any], **changes: Any) -> TensorFile:
    """TimeSformer-base by names and shapes alone."""
    shapes = original_shapes(**{"dim": 768, "depth": 12, "grid": (14, 14), "patch": 16, **changes})
    return TensorFile(Path("a.pyth"), shapes, prefix="model.", stated=Stated.beside(beside))


@pytest.mark.parametrize(
    ("changes", "beside", "heads", "eps", "assumed"),
    [
        ({}, {}, 12, 1e-6, ()),
        ({"depth": 2}, {}, 12, 1e-6, ("heads", "norm_eps")),
        ({"depth": 2}, {"cfg": "MODEL:\n  MODEL_NAME: vit_base_patch16_224\n"}, 12, 1e-6, ()),
        ({"dim": 384}, {}, 6, 1e-6, ("heads", "norm_eps")),
        # Of other networks in the same configuration.
        ({}, {"cfg": "MVIT:\n  NUM_HEADS: 1\n"}, 12, 1e-6, ()),
        ({"dim": 384}, {"cfg": "MVIT:\n  NUM_HEADS: 1\n"}, 6, 1e-6, ("heads", "norm_eps")),
        ({"dim": 384}, {"hyper_parameters": {"text_encoder": {"num_heads": 8}}}, 6, 1e-6, ("heads", "norm_eps")),
        ({"dim": 384}, {"cfg": "MVIT:\n  NUM_HEADS: 1\nVIT:\n  NUM_HEADS: 12\n  NORM_EPS: 0.01\n"}, 12, 0.01, ()),
        ({"qkv_bias": False}, {}, 12, 1e-6, ("heads", "norm_eps")),
    ],
)
def test_what_every_published_file_has(
    changes: dict[str, Any], beside: dict[str, Any], heads: int, eps: float, assumed: tuple[str, ...]
) -> None:
    found = open_file(base(beside, **changes), ExportConfig())
    assert (found.model.num_heads, found.model.norm_eps, found.assumed) == (heads, eps, assumed)


def test_the_user_may_know_better_than_the_published_shape() -> None:
    found = open_file(base({}), ExportConfig(checkpoint=Path("a.pyth"), heads=8))
    assert (found.model.num_heads, found.assumed) == (8, ())


def test_tensors_of_ours_without_a_description(tmp_path: Path) -> None:
    model = FastTimeSformer(2, 3, 16, 16, 3, dim=64, depth=1, heads=2, dim_head=32, attn_mechanism="regular")
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    shape = {"attn": "regular", "frames": 2, "size": 16, "dim": 64, "depth": 1, "num_classes": 3}
    bare = describe_checkpoint(tmp_path / "a.safetensors", ExportConfig(**shape))  # type: ignore[arg-type]
    assert bare.weights.assumed == ("heads 1 of width 64", "norm_eps 1e-05")
    said = ExportConfig(**shape, dim_head=32, norm_eps=1e-5)  # type: ignore[arg-type]
    assert describe_checkpoint(tmp_path / "a.safetensors", said).weights.assumed == ()


def test_settings_that_say_two_things_or_nonsense_say_nothing() -> None:
    for text in (
        "A:\n  NUM_HEADS: 6\nB:\n  NUM_HEADS: 3\n", "NUM_HEADS: [6, 3]\n", "NUM_HEADS: many\n", "NUM_HEADS: 0\n",
        "NUM_HEADS: 1e99\n", "- 3\nNUM_HEADS:\n", "NUM_HEADS: 2.5\n",
    ):  # fmt: skip
        assert Stated.beside({"cfg": text}).whole("NUM_HEADS") is None, text
    deep = {"cfg": "".join(f"{' ' * i}k:\n" for i in range(500)) + "NUM_HEADS: 6\n"}
    assert Stated.beside(deep).whole("NUM_HEADS") == 6
    nested: dict[str, Any] = {}
    nested["again"] = nested
    assert Stated.beside({"cfg": nested}).values == {}
