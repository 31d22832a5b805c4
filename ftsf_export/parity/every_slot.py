"""An engine at each batch of its profile, in every slot of a call, twice on one context.

A kernel that is right at one batch may be wrong at the next, or another kernel may run there (NVIDIA/TensorRT #3665: a
fusion lost above some batch x heads), and a state that a run leaves behind shows in the run after it.

Letters: n clips, S slots of all calls, L classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ftsf_export.bundle.golden import Golden
from ftsf_export.config import BatchRange
from ftsf_export.errors import GateFailed
from ftsf_export.network.gates import Gate
from ftsf_export.parity.compare import outputs_of_calls, paired
from ftsf_export.parity.distances import Array, distance, nonfinite
from ftsf_export.parity.golden import told_apart
from ftsf_export.parity.judge import Limits, Pair, judge
from ftsf_export.verdict import Measure, Status, Subject, Verdict

_TIMES = 2


@dataclass(frozen=True)
class Call:
    """One call of an engine."""

    time: int  #: 0 for the first time that the batch is run on the context, 1 for the second.
    clips: tuple[int, ...]  #: The number of the reference clip in each slot.

    def slot(self, index: int) -> str:
        return f"clip {self.clips[index]} in slot {index} of {len(self.clips)}, run {self.time + 1}"


def calls_of(clips: int, batch: BatchRange) -> tuple[Call, ...]:
    """Calls at the least, the usual and the largest batch, and all of them once more, where each slot holds the next
    clip. Each time each batch sees every one of the ``clips``."""
    return tuple(
        Call(time, tuple((first + slot + time) % clips for slot in range(size)))
        for time in range(_TIMES)
        for size in batch.sizes
        for first in range(0, clips, size)
    )


def judge_every_slot(
    runner: Any, golden: Golden, *, gate: Gate, subject: Subject, limits: Limits, batch: BatchRange
) -> Verdict:
    """The gate's verdict on the outputs of an engine whose profile is ``batch``; its measures tell each batch as well.

    Outputs that are missing, too many or of another shape make a failed verdict, and so do reference values that cannot
    tell one clip from another; what the runner raises passes through.
    """
    calls = calls_of(len(golden.clip), batch)
    rows = np.array([clip for call in calls for clip in call.clips])
    limits, compared = limits.beside(golden.noise), None
    try:
        outputs = outputs_of_calls(runner, [golden.clip[list(call.clips)] for call in calls])
        pairs = paired({name: values[rows] for name, values in golden.outputs.items()}, outputs)
        verdict = judge(pairs, gate=gate, subject=subject, limits=limits, outputs=tuple(pairs))
        each = (measure for name, pair in pairs.items() for measure in _each_batch(name, pair, calls, limits))
        verdict = replace(verdict, measures=(*verdict.measures, *each))
        compared = pairs[golden.answer[0]]
    except GateFailed as error:
        verdict = gate.verdict(subject, Status.FAILED, error.message)
    verdict = _placed(told_apart(verdict, golden, compared, limits), calls)
    sizes = " and ".join(map(str, batch.sizes)) if len(batch.sizes) < 3 else "{}, {} and {}".format(*batch.sizes)
    said = f"batch {sizes}, every slot, twice on one context"
    return replace(verdict, conditions=said)


def _each_batch(output: str, pair: Pair, calls: Sequence[Call], limits: Limits) -> list[Measure]:
    """The relative L2 error of the worst slot at each batch."""
    sizes = np.concatenate([[len(call.clips)] * len(call.clips) for call in calls])
    return [
        Measure(
            output=f"{output} at batch {size}",
            metric="rel_l2",
            value=_rel_l2(output, pair.reference[sizes == size], pair.candidate[sizes == size]),
            limit=limits.rel_l2_of(output),
        )
        for size in dict.fromkeys(sizes.tolist())
    ]


def _rel_l2(output: str, reference_SL: Array, candidate_SL: Array) -> float:
    if nonfinite(reference_SL, candidate_SL) is not None:
        return float("nan")
    return distance(output, reference_SL, candidate_SL).rel_l2.value


def _placed(verdict: Verdict, calls: Sequence[Call]) -> Verdict:
    """The verdict, its reason with the slot in which the first figure is outside its limit."""
    worst = next((m.worst_index for m in verdict.measures if not m.passed and m.worst_index is not None), None)
    if verdict.passed or worst is None:
        return verdict
    slots = [call.slot(index) for call in calls for index in range(len(call.clips))]
    return replace(verdict, reason=f"{verdict.reason} ({slots[worst[0]]})")
