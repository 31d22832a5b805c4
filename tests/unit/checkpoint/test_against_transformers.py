"""Models that transformers makes from a configuration: read from its files, ours gives the same answers.

The reference is built by hand, not by the product.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.checkpoint.huggingface_logits import huggingface_logits, lacking
from ftsf_export.config import ExportConfig
from ftsf_export.pipeline.export import export
from ftsf_export.verdict import Status
from tests.unit.checkpoint.pretrained import noise, relative, their_logits, their_model, write_huggingface

ATTENTION_TYPES = ("divided_space_time", "joint_space_time", "space_only")


# Every attention type and both biases meet every length; sizes are odd numbers of patches, and those of the variants.
@pytest.mark.parametrize(("frames", "patches"), [(4, 5), (8, 3), (16, 7), (96, 2)])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_eager_in_float64(tmp_path: Path, attention_type: str, qkv_bias: bool, frames: int, patches: int) -> None:
    side = 4 * patches
    theirs = their_model(
        attention_type=attention_type, qkv_bias=qkv_bias, num_frames=frames, image_size=side, patch_size=4,
        num_hidden_layers=1 if frames == 96 else 3,
    )  # fmt: skip
    folder = write_huggingface(tmp_path / "m", theirs)
    (folder / "preprocessor_config.json").unlink()
    ours, checkpoint = load_checkpoint(folder, ExportConfig())
    clip = noise(frames, side, side, clips=2)
    expected = their_logits(theirs, clip)
    with torch.no_grad():
        got = ours.double()(clip)
    assert relative(expected[0], expected[1]) > 1e-2, "the clips are told apart"
    assert relative(got, expected) <= 1e-10
    assert checkpoint.model.qkv_bias is qkv_bias
    assert (checkpoint.fresh, checkpoint.unused) == ((), ())
    assert not any(parameter.requires_grad and parameter.grad is not None for parameter in ours.parameters())


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_both_files_of_weights(huggingface: Callable[..., Path], weights: str) -> None:
    folder = huggingface(weights=weights)
    ours, _ = load_checkpoint(folder, ExportConfig())
    clip = noise(4, 24, 24)
    with torch.no_grad():
        assert relative(ours.double()(clip), their_logits(their_model(), clip)) <= 1e-10


def test_the_second_opinion_is_theirs(huggingface: Callable[..., Path]) -> None:
    for attention_type in ATTENTION_TYPES:
        checkpoint = describe_checkpoint(huggingface(attention_type=attention_type), ExportConfig())
        assert lacking(checkpoint) == ""
        clip = noise(4, 24, 24, clips=2)
        got = huggingface_logits(checkpoint, clip.numpy(), dtype=torch.float64)
        expected = their_logits(their_model(attention_type=attention_type), clip)
        np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"attn": "fastformer"}, "no TimeSformer with fastformer"),
        ({"frames": 8}, "interpolated"),
        ({"size": "32x24"}, "interpolated"),
    ],
)
def test_where_there_is_no_second_opinion(huggingface: Callable[..., Path], asked: dict[str, Any], reason: str) -> None:
    folder = huggingface()
    assert reason in lacking(describe_checkpoint(folder, ExportConfig(checkpoint=folder, **asked)))


# (attention type, qkv bias, frames, side, precision, engine)
EXPORTS = [
    ("divided_space_time", True, 8, 24, "fp16", True),
    ("divided_space_time", False, 16, 40, "fp16", False),
    ("joint_space_time", True, 4, 40, "fp16", True),
    ("space_only", True, 8, 24, "fp16", True),
    ("joint_space_time", False, 96, 16, "fp32", False),
]


@pytest.mark.parametrize(("attention_type", "qkv_bias", "frames", "side", "precision", "engine"), EXPORTS)
def test_graph_and_engine(
    tmp_path: Path, attention_type: str, qkv_bias: bool, frames: int, side: int, precision: str, engine: bool
) -> None:
    """ONNX within 1e-5 of Hugging Face's own logits, FP16 within 1e-2, and an engine is built."""
    if engine:
        pytest.importorskip("tensorrt_rtx")
    theirs = their_model(
        attention_type=attention_type, qkv_bias=qkv_bias, num_frames=frames, image_size=side, hidden_size=128,
        intermediate_size=256, num_hidden_layers=3, num_labels=11,
    )  # fmt: skip
    folder = write_huggingface(tmp_path / "m", theirs)
    (folder / "preprocessor_config.json").unlink()
    targets = {"builder": "rtx", "targets": ("sm_86",)} if engine else {"builder": "none"}
    bundle = export(ExportConfig(checkpoint=folder, precision=precision, **targets), output=tmp_path / "out")
    passed = {verdict.gate for verdict in bundle.verdicts if verdict.status is Status.PASSED}
    assert {"parity.huggingface", "parity.onnx-fp32"} <= passed
    assert precision == "fp32" or "parity.fp16-emulated" in passed
    assert not [verdict for verdict in bundle.verdicts if verdict.status in (Status.FAILED, Status.INCONCLUSIVE)]
    assert len(bundle.engines) == engine
    golden = bundle.golden()
    expected = their_logits(theirs, torch.from_numpy(golden.clip).double())
    assert relative(torch.from_numpy(golden.logits).double(), expected) <= 1e-5
    assert bundle.manifest.reference.startswith("transformers ")
