"""Runs two implementations on the same clips and pairs what they give.

Polygraphy's ``Comparator`` drives the runners. Its own comparison is not used: it passes when nothing was compared, and
cuts unequal runs to the shorter. It also casts, transposes and renames inputs until they fit; here that is an error.

Letters: n clips, B clips in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ftsf_export.config import BatchRange
from ftsf_export.errors import GateFailed, RunError
from ftsf_export.network.scope import CLIP
from ftsf_export.parity.distances import Array
from ftsf_export.parity.judge import Pair
from ftsf_export.runners.polygraphy_log import quiet_polygraphy

ONE = BatchRange(1, 1, 1)
Outputs = dict[str, Array]


def compare(reference: Any, candidate: Any, clips: Array, *, batch: BatchRange = ONE) -> dict[str, Pair]:
    """What both runners give for ``clips`` (n, ...) float32, paired by name.

    Calls hold as many clips as ``batch`` allows, at most its usual number; where the least is more than there are, the
    call is filled up with clips again, and their results are dropped. Raises GateFailed when there is no clip, when a
    side gives no output or other outputs than the other side; what the runners raise passes through.
    """
    return paired(*_collected([reference, candidate], list(_calls(clips, batch)), len(clips)))


def outputs_of(runner: Any, clips: Array, *, batch: BatchRange = ONE) -> Outputs:
    """What one runner gives for ``clips``: name -> (n, ...). Same rules as ``compare``."""
    (outputs,) = _collected([runner], list(_calls(clips, batch)), len(clips))
    return outputs


def outputs_of_calls(runner: Any, calls: Sequence[Array]) -> Outputs:
    """What one runner gives in all slots of ``calls``, each (B, ...) and run in this order on one activation: name ->
    (sum of B, ...). Raises as ``compare``."""
    (outputs,) = _collected([runner], calls, sum(len(call) for call in calls))
    return outputs


def paired(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> dict[str, Pair]:
    """Outputs of the same name, in the reference's order. Raises GateFailed on a missing, an extra or no output."""
    if not reference or not candidate:
        raise GateFailed("nothing to compare: a side gave no outputs; no evidence is a failure")
    if missing := [name for name in reference if name not in candidate]:
        raise GateFailed(
            f"output {missing[0]!r} of the reference is missing; the candidate gives {', '.join(candidate)}"
        )
    if extra := [name for name in candidate if name not in reference]:
        raise GateFailed(
            f"output {extra[0]!r} of the candidate is not the reference's, which gives {', '.join(reference)}"
        )
    return {name: Pair(value, candidate[name]) for name, value in reference.items()}


class _Feeds(list[dict[str, Array]]):
    """Feeds for the Comparator, which tells each runner's inputs to its loader before it bends the feeds to them."""

    @property
    def input_metadata(self) -> Any:
        return None

    @input_metadata.setter
    def input_metadata(self, metadata: Any) -> None:
        wanted = {name: (item.dtype, tuple(item.shape)) for name, item in metadata.items()}
        if list(wanted) != [CLIP]:
            raise RunError(f"expected one input, {CLIP!r}, got {', '.join(wanted) or 'none'}")
        dtype, shape = wanted[CLIP]
        for feed in self:
            got = feed[CLIP]
            same = len(shape) == got.ndim and all(
                not isinstance(size, int) or size < 0 or size == have
                for size, have in zip(shape, got.shape, strict=True)
            )
            if not same or np.dtype(dtype.numpy()) != got.dtype:
                raise RunError(
                    f"input {CLIP!r}: expected {dtype} of shape {shape}, got {got.dtype} of shape {got.shape}"
                )


def _collected(runners: Sequence[Any], calls: Sequence[Array], clips: int) -> list[Outputs]:
    """What each runner gives for the first ``clips`` clips of all ``calls``."""
    from polygraphy.comparator import Comparator
    from polygraphy.exception import PolygraphyException

    feeds = _Feeds({CLIP: call} for call in calls)
    with quiet_polygraphy() as errors:
        try:
            results = Comparator.run(list(runners), data_loader=feeds, use_subprocess=False)
        except PolygraphyException as error:
            raise RunError(f"the runtime failed: {' '.join(str(error).split())}", details="\n".join(errors)) from error
    if len(results) != len(runners):
        raise GateFailed(f"expected results of {len(runners)} runners, got {len(results)}")
    return [_stacked(name, runs, feeds, clips) for name, runs in results.items()]


def clips_a_call(clips: int, batch: BatchRange) -> int:
    """How many of ``clips`` clips, filled up where there are too few, go into one call."""
    return min(max(clips, batch.minimum), batch.optimum)


def _calls(clips: Array, batch: BatchRange) -> Iterator[Array]:
    """The clips of each call, in order, filled up with the first ones where the least number asks for more."""
    if clips.ndim == 0 or not len(clips):
        raise GateFailed("no clips to compare on; no evidence is a failure")
    size = clips_a_call(len(clips), batch)
    for start in range(0, len(clips), size):
        stop = max(min(start + size, len(clips)), start + batch.minimum)
        yield clips[np.arange(start, stop) % len(clips)]


def _stacked(
    runner: str, runs: Sequence[Mapping[str, Array]], feeds: Sequence[Mapping[str, Array]], clips: int
) -> Outputs:
    """One runner's calls as arrays over all clips. Every call must give the same outputs, one value a clip."""
    if len(runs) != len(feeds):
        raise GateFailed(f"{runner}: expected {len(feeds)} results, got {len(runs)}")
    names = list(runs[0])
    parts: dict[str, list[Array]] = {name: [] for name in names}
    for index, (run, feed) in enumerate(zip(runs, feeds, strict=True)):
        if list(run) != names:
            raise GateFailed(f"{runner}: call {index} gives {', '.join(run)}, call 0 gave {', '.join(names)}")
        for name, value in run.items():
            array = np.asarray(value)
            if array.ndim == 0 or len(array) != len(feed[CLIP]):
                raise GateFailed(f"{runner}: {name}: expected {len(feed[CLIP])} clips, got shape {array.shape}")
            parts[name].append(array)
    return {name: (values[0] if len(values) == 1 else np.concatenate(values))[:clips] for name, values in parts.items()}
