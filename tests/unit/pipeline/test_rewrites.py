"""Which rewrites the switches leave on."""

from __future__ import annotations

import pytest

from ftsf_export.errors import UsageError
from ftsf_export.graph.rewrite import ALL
from ftsf_export.pipeline.rewrites import chosen_rewrites, known_rewrites


def test_all_are_on_unless_asked_otherwise() -> None:
    assert known_rewrites(None) == tuple(sorted(ALL))
    assert known_rewrites(()) == ()


def test_switches() -> None:
    assert set(chosen_rewrites((), ("temporal-fc",))) == ALL - {"temporal-fc"}
    assert chosen_rewrites((), ("all",)) == ()
    assert chosen_rewrites(("temporal-fc",), ("all",)) == ("temporal-fc",)
    assert set(chosen_rewrites(("temporal-fc",), ())) == ALL
    assert set(chosen_rewrites(("all",), ("temporal-fc",))) == ALL - {"temporal-fc"}


@pytest.mark.parametrize(("on", "off"), [(("temporal",), ()), ((), ("temporal",)), (("class-tail",), ("oops",))])
def test_an_unknown_name_lists_the_names(on: tuple[str, ...], off: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected some of .*class-tail.*temporal-fc"):
        chosen_rewrites(on, off)


def test_on_and_off_at_once_is_refused() -> None:
    with pytest.raises(UsageError, match="class-tail: switched on and off"):
        chosen_rewrites(("class-tail",), ("class-tail",))
