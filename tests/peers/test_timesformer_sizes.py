"""Real lengths and frame sizes at a tiny width: clips of 4 to 96 frames of 112 to 448 px, against Hugging Face's model.

Widths do not change what a graph does; lengths do: tables, tilings and the order of products depend on them. Patches of
16 px give 7, 10, 14, 21 and 28 patches a side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils import logging

from ftsf_export.checkpoint import load_checkpoint
from ftsf_export.config import ExportConfig
from ftsf_export.network.scope import LOGITS
from ftsf_export.pipeline.export import export
from ftsf_export.verdict import Status, Verdict
from tests.unit.checkpoint.pretrained import noise, relative, their_logits, their_model, write_huggingface

DIVIDED, JOINT, SPACE = "divided_space_time", "joint_space_time", "space_only"
TINY = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2, "num_labels": 11}
# (attention type, qkv bias, frames, side in px, patch in px). Joint attention is quadratic in all tokens of a clip:
# its longest ones have patches of 32 px.
HR, LONG = (DIVIDED, True, 16, 448, 16), (DIVIDED, True, 96, 224, 16)
SIZES = [
    HR,
    LONG,
    (DIVIDED, False, 4, 112, 16),
    (DIVIDED, False, 8, 336, 16),
    (JOINT, True, 4, 336, 16),
    (JOINT, False, 8, 160, 16),
    (JOINT, True, 16, 448, 32),
    (JOINT, False, 96, 160, 32),
    (SPACE, True, 8, 224, 16),
    (SPACE, False, 16, 112, 16),
    (SPACE, False, 4, 448, 16),
    (SPACE, True, 96, 160, 16),
]
EXPORTED = [pytest.param(HR, marks=pytest.mark.long), LONG, (JOINT, False, 4, 336, 16), (SPACE, False, 96, 112, 16)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


def folder_of(place: Path, attention_type: str, qkv_bias: bool, frames: int, side: int, patch: int) -> tuple[Path, Any]:
    """Their model of this size, on disk and in memory."""
    theirs = their_model(
        **TINY, attention_type=attention_type, qkv_bias=qkv_bias, num_frames=frames, image_size=side, patch_size=patch
    )
    folder = write_huggingface(place / "m", theirs)
    (folder / "preprocessor_config.json").unlink()
    return folder, theirs


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_eager_in_float64(tmp_path: Path, size: tuple[str, bool, int, int, int]) -> None:
    folder, theirs = folder_of(tmp_path, *size)
    ours, checkpoint = load_checkpoint(folder, ExportConfig())
    assert not any("interpolated" in warning for warning in checkpoint.warnings)
    clip = noise(*size[2:4], size[3])
    expected = their_logits(theirs, clip)
    with torch.no_grad():
        assert relative(ours.double()(clip), expected) <= 1e-10
        assert relative(ours(clip.flip(-1)), expected) > 1e-4, "the clip matters"


@pytest.mark.parametrize("size", EXPORTED, ids=str)
def test_graph_and_engine(tmp_path: Path, size: tuple[str, bool, int, int, int]) -> None:
    """FP32 ONNX within 1e-5 of theirs in float64, cast-emulated FP16 within 1e-2, an FP16 engine for SM86."""
    pytest.importorskip("tensorrt_rtx")
    folder, theirs = folder_of(tmp_path, *size)
    bundle = export(ExportConfig(checkpoint=folder, builder="rtx", targets=("sm_86",)), output=tmp_path / "out")
    bad = (Status.FAILED, Status.INCONCLUSIVE)
    assert not [verdict for verdict in bundle.verdicts if verdict.status in bad], "without a GPU its gate is not run"
    verdicts = {verdict.gate: verdict for verdict in bundle.verdicts}
    assert error_of(verdicts["parity.onnx-fp32"]) <= 1e-5
    assert error_of(verdicts["parity.fp16-emulated"]) <= 1e-2
    golden = bundle.golden()
    expected = their_logits(theirs, torch.from_numpy(golden.clip).double())
    assert relative(torch.from_numpy(golden.logits).double(), expected) <= 1e-6, "what the graph was held against"
    assert len(bundle.engines) == 1


def error_of(verdict: Verdict) -> float:
    """The logits' relative L2 error."""
    (value,) = (each.value for each in verdict.measures if (each.output, each.metric) == (LOGITS, "rel_l2"))
    return value
