"""An export says how long the queries of FAVOR+ are with a checkpoint, and how far it is from softmax there."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
import torch

from fast_timesformer.attention import PerformerAttention
from fast_timesformer.favor_error import favor_errors
from fast_timesformer.model import FastTimeSformer
from fast_timesformer.weights import save_model
from ftsf_export import Bundle, ExportConfig, export
from ftsf_export.bundle import GraphInput
from ftsf_export.cli.export import command
from ftsf_export.cli.main import run
from ftsf_export.pipeline.other_types import favor_lengths

SMALL = {"frames": 2, "channels": 3, "height": 32, "width": 32, "num_classes": 8, "dim": 64, "depth": 1, "dim_head": 64}


def with_queries_of(length: float) -> FastTimeSformer:
    """Every query has exactly this length: its direction is that of a bias, and tokens do not count."""
    torch.manual_seed(0)
    model = FastTimeSformer(**SMALL, attn_mechanism="performer", qkv_bias=True)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, PerformerAttention):
                module.to_qkv.weight[:64] = 0
                module.to_qkv.bias[:64] = length / 8
    return model.eval()


def exported(model: FastTimeSformer, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Bundle, str]:
    save_model(model, folder / "weights.safetensors")
    args = ["--checkpoint", str(folder / "weights.safetensors"), "--attn", "performer", "--precision", "fp32"]
    assert run(command, [*args, "--builder", "none", "-o", str(folder / "bundle")], "ftsf-export") == 0
    return Bundle.open(folder / "bundle"), capsys.readouterr().out


def test_long_queries_of_a_checkpoint_are_told_with_what_shortens_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, said = exported(with_queries_of(8.0), tmp_path, capsys)
    found = bundle.manifest.graph.favor
    assert found is not None
    assert found.width == 64
    assert (found.median_query, found.largest_query) == pytest.approx((8 / 64**0.25,) * 2, rel=1e-5)
    clip = torch.from_numpy(bundle.golden().clip[1:2])
    worst = max(favor_errors(with_queries_of(8.0), [clip]), key=lambda each: each.error)
    assert (found.error, found.attention) == (pytest.approx(worst.error, rel=1e-4), worst.name)
    words = "queries |q'| of 2.8 (median) to 2.8, which is |q| of 8 to 8 at head width 64"
    assert f"FAVOR+     {words}" in said
    assert "ftsf finetune --favor-limit" in said
    for report in ("report.md", "report.html"):
        text = unescape((bundle.path / report).read_text(encoding="utf-8")).replace("\\|", "|")
        assert words in text
        assert "ftsf finetune --favor-limit" in text


def test_regular_attention_and_drawn_weights_say_nothing_of_it(bundle: Callable[..., Path], tmp_path: Path) -> None:
    size = {"frames": 2, "size": 32, "dim": 64, "depth": 1, "num_classes": 8}
    drawn = export(ExportConfig(attn="performer", precision="fp32", builder="none", **size), output=tmp_path / "drawn")
    for opened in (drawn, Bundle.open(bundle("regular", "bf16"))):
        assert opened.manifest.graph.favor is None
        assert "FAVOR+:" not in (opened.path / "report.md").read_text(encoding="utf-8")


def test_the_lengths_are_those_of_the_models_own_clip_whatever_the_graph_takes() -> None:
    model = with_queries_of(4.0)
    clip = torch.rand(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    one = favor_lengths(model, clip.numpy(), GraphInput())
    assert one == favor_lengths(model, clip.transpose(1, 2).contiguous().numpy(), GraphInput(layout="BCFHW"))
    relu = FastTimeSformer(**SMALL, attn_mechanism="performer", performer_kernel="relu")
    assert favor_lengths(relu, clip.numpy(), GraphInput()) is None
