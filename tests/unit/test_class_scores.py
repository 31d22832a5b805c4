"""Scores after softmax and the best classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ftsf_export.class_scores import ClassScore, best_classes, scores_from_logits

LOGITS = arrays(np.float32, (3, 7), elements=st.floats(-200, 200, width=32))


@given(LOGITS)
def test_scores_are_torchs_softmax(logits: np.ndarray) -> None:
    expected = torch.softmax(torch.from_numpy(logits).double(), dim=-1).numpy()
    np.testing.assert_allclose(scores_from_logits(logits), expected, rtol=1e-12, atol=1e-300)


def test_the_best_come_first_with_their_names_and_equal_ones_in_their_order() -> None:
    scores = np.array([0.1, 0.3, 0.3, 0.2, 0.1])
    assert best_classes(scores, ("a", "b", "c"), 4) == (
        ClassScore(1, "b", 0.3),
        ClassScore(2, "c", 0.3),
        ClassScore(3, "", 0.2),
        ClassScore(0, "a", 0.1),
    )


def test_more_classes_than_there_are_gives_all() -> None:
    assert [one.index for one in best_classes(np.array([0.4, 0.6]))] == [1, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        best_classes(np.array([0.5, bad]))


def test_logits_that_are_no_numbers_give_no_scores() -> None:
    assert np.isnan(scores_from_logits(np.array([1.0, np.nan]))).all()
    assert np.isnan(scores_from_logits(np.array([1.0, np.inf]))).any()
