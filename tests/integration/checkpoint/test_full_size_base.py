"""TimeSformer-base at its real size, with random weights: 121 million of them, 12 blocks of width 768."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ftsf_export.checkpoint import load_checkpoint
from ftsf_export.checkpoint.huggingface_logits import huggingface_logits
from ftsf_export.config import ExportConfig
from ftsf_export.pipeline.export import export
from ftsf_export.verdict import Status
from tests.unit.checkpoint.pretrained import noise, relative, their_model, write_huggingface

BASE = {
    "image_size": 224, "patch_size": 16, "num_frames": 8, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "num_labels": 400,
}  # fmt: skip


@pytest.mark.full_size
def test_eager_in_float64(tmp_path: Path) -> None:
    """At the real width and size two blocks show what twelve would; the bundle below compares all twelve in FP32."""
    short = write_huggingface(tmp_path / "short", their_model(**{**BASE, "num_hidden_layers": 2}))
    ours, checkpoint = load_checkpoint(short, ExportConfig(checkpoint=short))
    clip = noise(8, 224, 224)
    expected = torch.from_numpy(huggingface_logits(checkpoint, clip.numpy(), dtype=torch.float64))
    with torch.no_grad():
        assert relative(ours.double()(clip), expected) <= 1e-10


@pytest.mark.full_size
@pytest.mark.parametrize(
    ("blocks", "kernels", "moved_mb"), [(4, 60, 500), pytest.param(12, 205, 1700, marks=pytest.mark.long)]
)
def test_bundle_and_engine(blocks: int, kernels: int, moved_mb: int, tmp_path: Path) -> None:
    """At twelve blocks a plain export of their model has 256 kernels and moves 1,976 MB (docs/measurements.md).

    Blocks are alike, and four tell of a kernel too many as twelve would.
    """
    pytest.importorskip("tensorrt_rtx")
    base = write_huggingface(tmp_path / "base", their_model(**{**BASE, "num_hidden_layers": blocks}))
    (base / "preprocessor_config.json").unlink()
    bundle = export(ExportConfig(checkpoint=base, builder="rtx", targets=("sm_86",)), output=tmp_path / "out")
    passed = {verdict.gate for verdict in bundle.verdicts if verdict.status is Status.PASSED}
    assert {"parity.huggingface", "parity.onnx-fp32", "parity.fp16-emulated"} <= passed
    (engine,) = bundle.engines
    sidecar = json.loads((bundle.path / engine.sidecar).read_bytes())
    assert sidecar["kernels"] <= kernels
    assert sidecar["moved_bytes"] <= moved_mb * 1e6
    assert sidecar["fused_attentions"] == 2 * blocks
