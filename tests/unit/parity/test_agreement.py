"""The gate on held-out clips: what passes, and what it is there to refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftsf_export.errors import GateFailed
from ftsf_export.parity.agreement import judge_agreement
from ftsf_export.precision import precision_named
from ftsf_export.verdict import Status, Subject, Verdict

LOGITS = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
CLASSES = LOGITS.argmax(axis=1)


def judged(candidate: Any, classes: Any = CLASSES, precision: str = "fp16", reference: Any = LOGITS) -> Verdict:
    subject = Subject("model.onnx", "0" * 64)
    return judge_agreement(reference, candidate, classes, precision=precision_named(precision), subject=subject)


def turned(clips: int) -> Any:
    """The logits with another best class in the first ``clips`` clips."""
    out = LOGITS.copy()
    for clip in range(clips):
        out[clip, (CLASSES[clip] + 1) % 8] = 9
    return out


def values(verdict: Verdict) -> dict[str, float]:
    return {measure.metric: measure.value for measure in verdict.measures}


def test_the_same_answers_pass() -> None:
    verdict = judged(LOGITS * 1.01)
    assert verdict.status is Status.PASSED
    assert verdict.proxy_for == "fp16 on a GPU"
    assert values(verdict) == {
        "top1_agreement": 1,
        "top5_agreement": 1,
        "eager_top1_accuracy": 1,
        "graph_top1_accuracy": 1,
        "held_out_clips": 500,
    }


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1), ("fp16", 5), ("bf16", 15)])
def test_one_clip_more_than_the_limit_fails(precision: str, most: int) -> None:
    assert judged(turned(most), precision=precision).passed
    verdict = judged(turned(most + 1), precision=precision)
    assert verdict.status is Status.FAILED
    assert "top1_agreement" in verdict.reason
    assert "on 500 held-out clips" in verdict.reason
    assert values(verdict)["graph_top1_accuracy"] == 1 - (most + 1) / 500


def test_two_exchanged_classes_fail() -> None:
    assert judged(LOGITS[:, [1, 0, *range(2, 8)]], precision="bf16").status is Status.FAILED


def test_a_top_five_of_five_classes_is_no_evidence() -> None:
    few = LOGITS[:, :5]
    assert "top5_agreement" not in values(judged(few, None, reference=few))
    assert "eager_top1_accuracy" not in values(judged(few, None, reference=few))


def test_what_is_no_number_fails_first() -> None:
    bad = LOGITS.copy()
    bad[7, 3] = np.nan
    verdict = judged(bad)
    assert verdict.status is Status.FAILED
    assert verdict.measures[0].worst_index == (7, 3)


def test_no_clips_and_other_shapes_are_no_evidence() -> None:
    with pytest.raises(GateFailed, match="nothing to compare"):
        judged(LOGITS[:0], None, reference=LOGITS[:0])
    with pytest.raises(GateFailed, match="expected shape"):
        judged(LOGITS[:, :7])
