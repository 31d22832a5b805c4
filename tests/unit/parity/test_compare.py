"""The comparison: driven by Polygraphy's Comparator, strict where that is lenient."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from ftsf_export.config import BatchRange
from ftsf_export.errors import GateFailed, RunError
from ftsf_export.network.gates import GRAPH, Gate
from ftsf_export.parity.compare import compare, outputs_of, paired
from ftsf_export.parity.judge import Limits, judge
from ftsf_export.precision import BF16
from ftsf_export.verdict import Status, Subject

Give = Callable[[np.ndarray, int], dict[str, np.ndarray]]
CLIPS = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)


class Stub(BaseRunner):  # type: ignore[misc]
    """Gives what a function makes of the clip and of the number of the call; keeps the sizes of its calls."""

    def __init__(self, give: Give, *, shape: tuple[int | None, ...] = (None, 2, 3), dtype: Any = np.float32) -> None:
        super().__init__(prefix="stub")
        self.give, self.shape, self.dtype = give, shape, dtype
        self.calls: list[int] = []

    def get_input_metadata_impl(self) -> Any:
        return TensorMetadata().add("clip", self.dtype, self.shape)

    def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> OrderedDict[str, np.ndarray]:
        self.inference_time = 0.0
        self.calls.append(len(feed_dict["clip"]))
        return OrderedDict(self.give(feed_dict["clip"], len(self.calls) - 1))


def flat(clip: np.ndarray, _call: int) -> dict[str, np.ndarray]:
    return {"logits": clip.reshape(len(clip), -1) * 2, "norm": clip.sum(axis=2)}


def test_outputs_are_paired_by_name_over_all_clips() -> None:
    def other_order(clip: np.ndarray, call: int) -> dict[str, np.ndarray]:
        return dict(reversed(flat(clip, call).items()))

    pairs = compare(Stub(flat), Stub(other_order), CLIPS)
    assert list(pairs) == ["logits", "norm"]
    np.testing.assert_array_equal(pairs["logits"].reference, CLIPS.reshape(5, -1) * 2)
    np.testing.assert_array_equal(pairs["norm"].candidate, CLIPS.sum(axis=2))


@pytest.mark.parametrize(
    ("batch", "calls"),
    [("1", [1] * 5), ("2", [2, 2, 2]), ("1:2:8", [2, 2, 1]), ("1:8:8", [5]), ("8", [8]), ("3:4:8", [4, 3])],
)
def test_calls_hold_what_the_graph_takes(batch: str, calls: list[int]) -> None:
    runner = Stub(flat)
    outputs = outputs_of(runner, CLIPS, batch=BatchRange.parse(batch))
    assert runner.calls == calls
    np.testing.assert_array_equal(outputs["logits"], CLIPS.reshape(5, -1) * 2)


def test_a_clip_whose_neighbours_leak_into_it_is_seen() -> None:
    def leaking(clip: np.ndarray, _call: int) -> dict[str, np.ndarray]:
        return {"logits": clip.reshape(len(clip), -1) - clip.mean()}

    def alone(clip: np.ndarray, _call: int) -> dict[str, np.ndarray]:
        return {"logits": np.stack([one.reshape(-1) - one.mean() for one in clip])}

    pairs = compare(Stub(alone), Stub(leaking), CLIPS, batch=BatchRange(1, 5, 5))
    limits = Limits.for_precision(BF16)
    verdict = judge(pairs, gate=Gate("g", GRAPH), subject=Subject("s.onnx", "0" * 64), limits=limits)
    assert verdict.status is Status.FAILED


def test_no_clips_are_no_evidence() -> None:
    with pytest.raises(GateFailed, match="no clips"):
        compare(Stub(flat), Stub(flat), CLIPS[:0])


def test_no_outputs_are_no_evidence() -> None:
    """Polygraphy's own comparison passes here."""
    with pytest.raises(GateFailed, match="gave no outputs"):
        compare(Stub(lambda _clip, _call: {}), Stub(lambda _clip, _call: {}), CLIPS)


def test_a_missing_output_raises() -> None:
    with pytest.raises(GateFailed, match="'norm' of the reference is missing"):
        compare(Stub(flat), Stub(lambda clip, call: {"logits": flat(clip, call)["logits"]}), CLIPS)


def test_an_extra_output_raises() -> None:
    with pytest.raises(GateFailed, match="'stray' of the candidate is not the reference's"):
        compare(Stub(flat), Stub(lambda clip, call: {**flat(clip, call), "stray": clip}), CLIPS)
    with pytest.raises(GateFailed, match="no outputs"):
        paired({"logits": CLIPS}, {})


def test_an_output_that_is_lost_on_the_way_raises() -> None:
    def losing(clip: np.ndarray, call: int) -> dict[str, np.ndarray]:
        return flat(clip, call) if call < 2 else {"logits": flat(clip, call)["logits"]}

    with pytest.raises(GateFailed, match="call 2 gives logits, call 0 gave logits, norm"):
        compare(Stub(flat), Stub(losing), CLIPS)


def test_a_shorter_run_is_not_cut_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from polygraphy.comparator import Comparator

    whole = Comparator.run

    def truncated(*args: Any, **kwargs: Any) -> Any:
        results = whole(*args, **kwargs)
        results[1][1].pop()
        return results

    monkeypatch.setattr(Comparator, "run", truncated)
    with pytest.raises(GateFailed, match="expected 5 results, got 4"):
        compare(Stub(flat), Stub(flat), CLIPS)


def test_a_runner_that_is_lost_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    from polygraphy.comparator import Comparator

    monkeypatch.setattr(Comparator, "run", lambda *_args, **_kwargs: [])
    with pytest.raises(GateFailed, match="expected results of 2 runners, got 0"):
        compare(Stub(flat), Stub(flat), CLIPS)


@pytest.mark.parametrize("give", [lambda clip, _: {"logits": clip[:1, 0]}, lambda _clip, _: {"logits": np.float32(1)}])
def test_every_output_has_one_value_a_clip(give: Give) -> None:
    with pytest.raises(GateFailed, match="expected 5 clips"):
        outputs_of(Stub(give), CLIPS, batch=BatchRange(1, 5, 5))


def test_inputs_are_not_bent_to_fit() -> None:
    """Polygraphy would transpose, cast and rename them."""
    with pytest.raises(RunError, match=r"expected float32 of shape \(None, 3, 2\), got float32 of shape \(1, 2, 3\)"):
        outputs_of(Stub(flat, shape=(None, 3, 2)), CLIPS)
    with pytest.raises(RunError, match="expected float16"):
        outputs_of(Stub(flat, dtype=np.float16), CLIPS)
    stub = Stub(flat)
    stub.get_input_metadata_impl = lambda: TensorMetadata().add("video", np.float32, (None, 2, 3))  # type: ignore[method-assign]
    with pytest.raises(RunError, match="expected one input, 'clip', got video"):
        outputs_of(stub, CLIPS)


def test_nothing_is_printed_and_the_users_logging_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    from polygraphy.logger import G_LOGGER

    root = logging.getLogger()
    before = (list(root.handlers), root.level, G_LOGGER.module_severity, G_LOGGER.use_python_logging_system)
    compare(Stub(flat), Stub(flat), CLIPS)
    assert (list(root.handlers), root.level, G_LOGGER.module_severity, G_LOGGER.use_python_logging_system) == before
    assert logging.getLogger("Polygraphy").handlers == []
    assert capfd.readouterr() == ("", "")


def test_what_polygraphy_says_goes_into_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    from polygraphy.logger import G_LOGGER

    def failing(_clip: np.ndarray, _call: int) -> dict[str, np.ndarray]:
        G_LOGGER.error("the library's own words")
        G_LOGGER.critical("execution failed")
        return {}

    with pytest.raises(RunError, match="execution failed") as caught:
        outputs_of(Stub(failing), CLIPS)
    assert "the library's own words" in caught.value.details
    assert capfd.readouterr() == ("", "")
