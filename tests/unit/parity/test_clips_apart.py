"""A reference that answers every clip alike proves nothing: parity fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ftsf_export.network.gates import parity_graph
from ftsf_export.parity.distances import clips_apart
from ftsf_export.parity.golden import failed_where_vacuous
from ftsf_export.precision import precision_named
from ftsf_export.verdict import Measure, Status, Subject, Verdict

SCORES = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
SUBJECT = Subject("model.onnx", "0" * 64)
AGREES = Measure(output="logits", metric="rel_l2", value=0.0, limit=1e-2)


def agreeing(status: Status = Status.PASSED, reason: str = "") -> Verdict:
    return parity_graph(precision_named("fp16")).verdict(SUBJECT, status, reason, [AGREES])


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((2, 40), np.float32),
        np.repeat(SCORES, 3, axis=0),
        np.concatenate([SCORES, SCORES * np.float32(1 + 5e-6)]),
        SCORES,
        np.full((2, 40), 3e38, np.float32),
    ],
    ids=["zeros", "one answer", "told apart by rounding", "one clip", "the largest numbers"],
)
@pytest.mark.parametrize("status", [Status.PASSED, Status.INCONCLUSIVE])
def test_answers_that_are_all_alike_fail_what_agrees(logits: np.ndarray, status: Status) -> None:
    verdict = failed_where_vacuous(agreeing(status, "a tie" if status is Status.INCONCLUSIVE else ""), "logits", logits)
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith("logits: clips_apart ")
    assert f"answers its {len(logits)} clips alike" in verdict.reason
    assert [measure.metric for measure in verdict.measures if not measure.passed] == ["clips_apart"]


def test_answers_that_differ_leave_the_verdict_and_add_the_figure() -> None:
    """One clip may be there twice: it is enough that two of them are told apart."""
    logits = np.concatenate([SCORES, SCORES, SCORES * np.float32(1 + 1e-3)])
    verdict = failed_where_vacuous(agreeing(), "logits", logits)
    assert verdict.passed
    assert verdict.measures[-1].value == pytest.approx(1e-3, rel=1e-2)
    assert (verdict.measures[:-1], verdict.measures[-1].limit) == ((AGREES,), 1e-5)


def test_what_failed_keeps_its_reason() -> None:
    failed = replace(agreeing(), status=Status.FAILED, reason="departs at blocks.0.mlp")
    assert failed_where_vacuous(failed, "logits", np.zeros((2, 40))).reason == "departs at blocks.0.mlp"
    assert failed_where_vacuous(failed, "logits", np.full((2, 40), np.nan)) == failed


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e300])
def test_the_distance_does_not_depend_on_the_scale(scale: float) -> None:
    assert clips_apart(scale * np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx(1.0)
    assert clips_apart(scale * np.array([[3.0, 4.0], [4.0, 3.0]])) == pytest.approx(2**0.5 / 5)
