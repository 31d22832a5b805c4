"""The first module that departs, in network order."""

from __future__ import annotations

from ftsf_export.parity.judge import first_departure
from ftsf_export.verdict import Measure

TAPS = ("patch_embed", "blocks.0.temporal", "blocks.10.temporal", "blocks.2.temporal", "norm")


def measure(output: str, passed: bool) -> Measure:
    return Measure(output=output, metric="rel_l2", value=0.5, limit=1.0 if passed else 0.1)


def test_the_order_is_the_networks_not_the_alphabets_nor_the_measures() -> None:
    measures = [measure("norm", False), measure("blocks.2.temporal", False), measure("blocks.10.temporal", False)]
    found = first_departure(measures, TAPS)
    assert found is not None
    assert found[0] == "blocks.10.temporal"
    assert found[1] is measures[2]


def test_the_head_is_what_remains() -> None:
    measures = [measure("logits", False), *(measure(tap, True) for tap in TAPS)]
    found = first_departure(measures, TAPS)
    assert found is not None
    assert found[0] == "head"


def test_nothing_departs_where_all_agree_or_nothing_is_known() -> None:
    assert first_departure([measure(tap, True) for tap in ("logits", *TAPS)], TAPS) is None
    assert first_departure([measure("logits", False)], ()) is None
