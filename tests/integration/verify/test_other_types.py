"""What the eager model gives in other types: a graph is not blamed for what FP32 does to its model, and the report says
what half precision does to it without FP32 islands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export import Bundle, ExportConfig, export
from ftsf_export.pipeline.verify import verify
from ftsf_export.verdict import Measure, Verdict

MakeBundle = Callable[..., Path]


def sharp(seed: int) -> FastTimeSformer:
    """Scores of hundreds: which token wins depends on the last digits of FP32."""
    torch.manual_seed(seed)
    model = FastTimeSformer(
        frames=2, channels=3, height=48, width=48, num_classes=40, dim=64, depth=4, dim_head=32,
        attn_mechanism="regular",
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("to_qkv.weight"):
                parameter.mul_(SHARPNESS)
    return model.eval()


SHARPNESS, SEED = 24, 0


@pytest.fixture(scope="module")
def sharp_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = ExportConfig(frames=2, precision="fp32", builder="none")
    return export(config, model=sharp(SEED), output=tmp_path_factory.mktemp("sharp") / "bundle")


def measures(verdict: Verdict, metric: str) -> dict[str, Measure]:
    return {one.output: one for one in verdict.measures if one.metric == metric}


def test_sharp_attention_passes_although_it_is_beyond_the_usual_limit(sharp_bundle: Bundle) -> None:
    (verdict,) = sharp_bundle.verdicts
    noise, error = measures(verdict, "reference_noise")["logits"], measures(verdict, "rel_l2")["logits"]
    assert 1e-5 < error.value <= error.limit == pytest.approx(8 * noise.value)
    assert verdict.passed
    assert "eager FP32 to float64" in (sharp_bundle.path / "report.md").read_text(encoding="utf-8")


def test_verify_knows_it_without_pytorch_and_still_fails_what_is_wrong(
    sharp_bundle: Bundle, rewrite_golden: Callable[..., object], tmp_path: Path
) -> None:
    import shutil

    assert verify(sharp_bundle.path, record=False).passed
    shutil.copytree(sharp_bundle.path, tmp_path / "bundle")
    logits = sharp_bundle.golden().logits
    rewrite_golden(tmp_path / "bundle", logits=(logits * 1.01).astype(np.float32))
    assert not verify(tmp_path / "bundle", record=False).passed


def test_performer_is_nan_in_plain_half_and_the_graph_with_islands_is_not(bundle: MakeBundle) -> None:
    root = bundle("performer", "fp16")
    opened = Bundle.open(root)
    found = opened.manifest.graph.plain_half
    assert found is not None
    assert (found.precision, found.nonfinite, found.values) == ("fp16", 40, 40)
    assert all(verdict.passed for verdict in opened.verdicts)
    for report in ("report.md", "report.html"):
        text = (root / report).read_text(encoding="utf-8")
        assert "Plain half: " in text
        assert "NaN (40 of 40 values of one clip are not finite)" in text


def test_where_plain_half_is_a_number_it_is_told(bundle: MakeBundle) -> None:
    found = Bundle.open(bundle("regular", "bf16")).manifest.graph.plain_half
    assert found is not None
    assert (found.precision, found.nonfinite) == ("bf16", 0)
    assert 1e-3 < found.rel_l2 < 5e-2
    assert found.said == f"relative L2 error {found.rel_l2:.2g} on one clip"


def test_an_fp32_graph_has_no_half_to_tell_of(sharp_bundle: Bundle) -> None:
    assert sharp_bundle.manifest.graph.plain_half is None
