"""Labels, and Hugging Face's own model: when they pass, and each way in which they do not."""

from __future__ import annotations

import numpy as np
import pytest

from ftsf_export.bundle.golden import Golden
from ftsf_export.network.gates import PARITY_HUGGINGFACE
from ftsf_export.parity.golden import judge_labels
from ftsf_export.parity.judge import Limits
from ftsf_export.parity.second_opinion import judge_second_opinion
from ftsf_export.precision import FP32
from ftsf_export.verdict import Status, Subject

GOLDEN = Golden(
    np.zeros((2, 1, 3, 4, 4), np.float32),
    np.arange(6, dtype=np.float32).reshape(2, 3),
    ("noise", "video"),
    labels=("archery", "bowling"),
)
REFERENCE, GRAPH = Subject("golden.npz", "0" * 64), Subject("model.onnx", "0" * 64)
LIMITS = Limits.for_precision(FP32)


def test_a_label_for_each_logit_passes() -> None:
    verdict = judge_labels(("archery", "bowling", "climbing"), GOLDEN, REFERENCE)
    assert (verdict.gate, verdict.status, verdict.subject) == ("labels", Status.PASSED, REFERENCE)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("archery", "bowling"), "the manifest names 2 classes, the model has 3"),
        (("archery", "bowling", "climbing", "diving"), "the manifest names 4 classes, the model has 3"),
        (("archery", "climbing", "diving"), "a reference clip is labelled 'bowling', which is not a class"),
    ],
)
def test_wrong_labels_fail(labels: tuple[str, ...], reason: str) -> None:
    verdict = judge_labels(labels, GOLDEN, REFERENCE)
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith(reason)


def test_a_second_opinion_is_held_to_the_limits_of_fp32() -> None:
    theirs = np.random.default_rng(0).normal(size=(2, 40))
    assert judge_second_opinion(
        PARITY_HUGGINGFACE, {"logits": theirs}, {"logits": theirs * (1 + 9e-6)}, GRAPH, LIMITS, reason=""
    ).passed
    verdict = judge_second_opinion(
        PARITY_HUGGINGFACE, {"logits": theirs}, {"logits": theirs * (1 + 1.1e-5)}, GRAPH, LIMITS, reason=""
    )
    assert (verdict.gate, verdict.status) == ("parity.huggingface", Status.FAILED)


def test_a_second_opinion_that_was_not_to_be_had_was_not_run() -> None:
    verdict = judge_second_opinion(
        PARITY_HUGGINGFACE, None, GOLDEN.outputs, GRAPH, LIMITS, reason="transformers: not installed"
    )
    assert (verdict.status, verdict.reason) == (Status.NOT_RUN, "transformers: not installed")
