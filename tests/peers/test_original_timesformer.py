"""The original by its equations (``tests/unit/checkpoint/original.py``) against ours from its file, and our ONNX.

The networks are those of the published files at a small width: Kinetics-400 and -600, Something-Something-v2, 96
frames, a wide frame; and the real width of TimeSformer-base. docs/checkpoints.md has the distances from the original's
own code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ftsf_export import Bundle
from ftsf_export.checkpoint import load_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.pipeline.export import export
from tests.unit.checkpoint.original import original_logits, original_state
from tests.unit.checkpoint.pretrained import noise, relative

SMALL = {"dim": 128, "patch": 8, "hidden": 512}
VARIANTS: dict[str, dict[str, Any]] = {
    "divided": {"frames": 4, "grid": (3, 3)},
    "joint": {"frames": 4, "grid": (3, 3), "attn_type": "joint"},
    "space": {"frames": 4, "grid": (3, 3), "attn_type": "space"},
    "K400": {"frames": 8, "grid": (4, 4), "classes": 400},
    "K600": {"frames": 8, "grid": (4, 4), "classes": 600},
    "SSv2": {"frames": 8, "grid": (4, 4), "classes": 174, "hidden": 449},
    "96 frames": {"frames": 96, "grid": (2, 2)},
    "wide": {"frames": 4, "grid": (2, 5)},
}
# The others differ in their number of classes alone.
EXPORTED = ("joint", "space", "SSv2", "96 frames")


def written(path: Path, **fields: Any) -> tuple[Path, dict[str, torch.Tensor]]:
    state = original_state(**fields)
    settings = f"DATA:\n  NUM_FRAMES: {fields['frames']}\nTIMESFORMER:\n  NUM_HEADS: 4\n  NORM_EPS: 1.0e-06\n"
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    torch.save({"model_state": named, "epoch": 14, "cfg": settings}, path)
    return path, state


@pytest.mark.parametrize("variant", VARIANTS)
def test_eager_in_float64_and_the_graph_in_float32(tmp_path: Path, variant: str) -> None:
    fields = {**SMALL, **VARIANTS[variant]}
    path, state = written(tmp_path / "a.pyth", **fields)
    height, width = (8 * side for side in fields["grid"])
    config = ExportConfig(checkpoint=path, size=(height, width), precision="fp32", builder="none")
    ours, checkpoint = load_checkpoint(path, config)
    assert not checkpoint.weights.assumed
    clip = noise(fields["frames"], height, width, clips=2)
    expected = original_logits(state, clip, heads=4, eps=1e-6)
    assert relative(expected[0], expected[1]) > 1e-2, "the clips are told apart"
    with torch.no_grad():
        assert relative(ours.double()(clip), expected) <= 1e-10
    if variant not in EXPORTED:
        return
    bundle = export(config, output=tmp_path / "out")
    assert bundle.passed
    assert relative(*graph_and_original(bundle, state)) <= 1e-6


@pytest.mark.long
def test_the_graph_at_the_size_of_timesformer_base(tmp_path: Path) -> None:
    state = original_state(dim=768, depth=12, frames=8, grid=(14, 14), patch=16, classes=400)
    torch.save({"model_state": {f"model.{name}": tensor for name, tensor in state.items()}}, tmp_path / "a.pyth")
    config = ExportConfig(checkpoint=tmp_path / "a.pyth", precision="fp32", builder="none")
    bundle = export(config, output=tmp_path / "out")
    assert bundle.manifest.assumed == ()
    assert relative(*graph_and_original(bundle, state, heads=12)) <= 1e-6


def graph_and_original(
    bundle: Bundle, state: dict[str, torch.Tensor], *, heads: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of ``model.onnx``, and of the equations in float64."""
    from ftsf_export.parity.compare import outputs_of
    from ftsf_export.pipeline.graph_runner import graph_runner
    from ftsf_export.precision import FP32

    clip = bundle.golden().clip
    with graph_runner(bundle.onnx_path, FP32, ()) as runner:
        got = outputs_of(runner, clip)["logits"]
    return torch.from_numpy(got).double(), original_logits(
        state, torch.from_numpy(clip).double(), heads=heads, eps=1e-6
    )


@pytest.mark.parametrize(("heads", "eps"), [(2, 1e-6), (4, 1e-3)])
def test_the_comparison_sees_heads_and_epsilon(tmp_path: Path, heads: int, eps: float) -> None:
    path, state = written(tmp_path / "a.pyth", **SMALL, **VARIANTS["divided"])
    ours, _ = load_checkpoint(path, ExportConfig(checkpoint=path))
    clip = noise(4, 24, 24)
    with torch.no_grad():
        assert relative(ours.double()(clip), original_logits(state, clip, heads=heads, eps=eps)) > 1e-5
