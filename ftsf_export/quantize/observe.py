"""What the values of a graph reach on clips: histograms and the largest magnitude of each channel, in constant memory.

The FP32 graph runs on ONNX Runtime with the values as outputs, one call at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ftsf_export.network.scope import CLIP
from ftsf_export.quantize.scales import Histogram

# Of a call's values of one tensor this many are counted, evenly spread; the largest is that of all.
_COUNTED = 1 << 18


@dataclass
class Observed:
    """One tensor on the clips so far."""

    channel_max: npt.NDArray[np.float32]  #: (C,), the largest magnitude of each channel.
    histogram: Histogram = field(default_factory=Histogram.empty)
    total: npt.NDArray[np.float64] | None = None  #: (C,), the sum over tokens.
    tokens: int = 0  #: How many that is.

    @property
    def channel_mean(self) -> npt.NDArray[np.float64]:
        """(C,), the mean of each channel."""
        assert self.total is not None
        return self.total / self.tokens


def observe(path: Path, names: Sequence[str], calls: Iterable[npt.NDArray[np.float32]]) -> Mapping[str, Observed]:
    """What the tensors called ``names`` of the graph at ``path`` are on ``calls``, each (B, F, C, H, W).

    Raises RunError where the graph does not run, ValueError for no call at all and for values that are not finite.
    """
    from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

    found: dict[str, Observed] = {}
    with OnnxRuntimeRunner(path, taps=names) as runner:
        for clips in calls:
            values = runner.infer({CLIP: clips})
            for name in names:
                _add(found, name, values[name])
    if not found:
        raise ValueError("expected a clip at least to observe, got none")
    return found


def _add(found: dict[str, Observed], name: str, values: Any) -> None:
    rows = values.reshape(-1, values.shape[-1])
    largest = np.abs(rows).max(axis=0)
    if not np.isfinite(largest).all():
        raise ValueError(f"{name}: a value is not finite on a calibration clip")
    seen = found.setdefault(name, Observed(np.zeros(rows.shape[1], np.float32)))
    seen.channel_max = np.maximum(seen.channel_max, largest)
    step = max(1, rows.size // _COUNTED)
    # Whole rows, so that every channel is counted as often.
    seen.histogram = seen.histogram.with_values(rows[::step], float(largest.max()))
    sums = rows.sum(axis=0, dtype=np.float64)
    seen.total = sums if seen.total is None else seen.total + sums
    seen.tokens += len(rows)
