"""What eager PyTorch was found to give beside the reference values, as a manifest keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from ftsf_export.precision import PrecisionName
from ftsf_export.strict_json import Count, Figure, Positive


@dataclass(frozen=True)
class PlainHalf:
    """What eager PyTorch gives with the whole model in half precision, on one clip: what the FP32 islands spare."""

    precision: PrecisionName  #: The half type.
    rel_l2: Figure  #: Relative L2 error of its answer against that in FP32; NaN where a value is not finite.
    nonfinite: Count  #: How many values of the answer (logits, or features alone) are NaN or infinite.
    values: Count  #: Of how many.

    @property
    def said(self) -> str:
        """The finding in words."""
        if self.nonfinite:
            return f"NaN ({self.nonfinite} of {self.values} values of one clip are not finite)"
        return f"relative L2 error {self.rel_l2:.2g} on one clip"


@dataclass(frozen=True, kw_only=True)
class FavorLengths:
    """How long the queries of FAVOR+ are in a trained model, and what that makes of its attention, on one clip."""

    width: Positive  #: K, of a head.
    median_query: Figure  #: |q'| = |q| / K^(1/4): over the attentions, the median of their medians.
    largest_query: Figure  #: The largest |q'| of all.
    error: Figure  #: The worst attention's relative L2 distance from softmax attention of the same queries and keys.
    attention: str  #: Which that is.

    @property
    def said(self) -> str:
        """The finding in words."""
        median, largest = (value * self.width**0.25 for value in (self.median_query, self.largest_query))
        return (
            f"queries |q'| of {self.median_query:.2g} (median) to {self.largest_query:.2g}, which is |q| of "
            f"{median:.2g} to {largest:.2g} at head width {self.width}; up to {self.error:.2g} away from softmax "
            f"({self.attention})"
        )
