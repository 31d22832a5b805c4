"""A model whose answers half precision loses: large residual channels, as trained transformers have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export import Bundle, ExportConfig, export
from ftsf_export.pipeline.verify import verify
from ftsf_export.verdict import Measure, Status, Verdict

CHANNELS = (50.0, 200.0)


def large_channels() -> FastTimeSformer:
    """Two residual channels of every token are 50 and 200, whatever the clip shows."""
    torch.manual_seed(3)
    model = FastTimeSformer(
        frames=2, channels=3, height=32, width=32, num_classes=40, dim=128, depth=4, attn_mechanism="regular"
    )
    with torch.no_grad():
        for start in (model.patch_embed.bias, model.cls_token):
            start[: len(CHANNELS)] = torch.tensor(CHANNELS)
    return model.eval()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    root = tmp_path_factory.mktemp("large-channels")
    return {
        precision: export(
            ExportConfig(frames=2, precision=precision, builder="none"), model=large_channels(), output=root / precision
        )
        for precision in ("fp32", "fp16")
    }


def parity(verdicts: tuple[Verdict, ...], gate: str) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.gate == gate)


def measure(verdict: Verdict, metric: str) -> Measure:
    return next(one for one in verdict.measures if (one.output, one.metric) == ("logits", metric))


def test_every_other_measure_passes_in_half_precision_and_the_gate_fails(bundles: dict[str, Bundle]) -> None:
    verdict = parity(bundles["fp16"].verdicts, "parity.fp16-emulated")
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith("logits: clip_spread_error ")
    assert [one.metric for one in verdict.measures if not one.passed] == ["clip_spread_error"]
    assert measure(verdict, "rel_l2").value < 1e-3
    assert 3 < measure(verdict, "clip_spread_error").value < 20
    assert parity(bundles["fp16"].verdicts, "parity.onnx-fp32").passed


def test_it_passes_in_fp32_where_agreement_on_one_best_class_is_no_evidence(bundles: dict[str, Bundle]) -> None:
    verdict = parity(bundles["fp32"].verdicts, "parity.onnx-fp32")
    assert verdict.passed
    assert measure(verdict, "clip_spread_error").value < 0.05
    assert measure(verdict, "best_classes").value == 1
    assert "top1_agreement is inconclusive" in verdict.reason
    assert "top-1 equal" in (bundles["fp32"].path / "report.md").read_text()
    assert "*inconclusive*" in (bundles["fp32"].path / "report.md").read_text()


@pytest.mark.parametrize(("precision", "status"), [("fp32", Status.PASSED), ("fp16", Status.FAILED)])
def test_verify_says_the_same_without_pytorch(bundles: dict[str, Bundle], precision: str, status: Status) -> None:
    result = verify(bundles[precision].path, record=False)
    found = next(one for one in result.verdicts if one.gate.startswith("parity."))
    assert found.status is status
    there = next(one for one in bundles[precision].verdicts if one.gate == found.gate)
    assert measure(found, "clip_spread_error").value == pytest.approx(
        measure(there, "clip_spread_error").value, rel=0.1
    )


def test_the_reference_values_keep_two_clips_and_the_spread_of_eight(bundles: dict[str, Bundle]) -> None:
    golden = bundles["fp16"].golden()
    assert (len(golden.clip), golden.contrast.clips, golden.contrast.untrained) == (2, 8, "")
    assert golden.contrast.spread.shape == (40,)
    assert (golden.contrast.spread > 0).all()
    apart = np.abs(golden.logits[0] - golden.logits[1])
    assert np.median(apart / golden.contrast.spread) < 4


def test_reference_values_without_the_spread_are_no_proof(
    bundles: dict[str, Bundle], rewrite_golden: object, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(bundles["fp32"].path, tmp_path / "bundle")
    rewrite_golden(tmp_path / "bundle", contrast=None)
    result = verify(tmp_path / "bundle", record=False)
    assert not result.passed
    assert "how far apart the logits of different clips are" in result.reason
