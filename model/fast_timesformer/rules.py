"""Rules of single values: of fields that somebody writes, and of the JSON that is read back. One language for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Rule:
    """What a value has to be."""

    expected: str  #: The rule in words, as an error says it ("a whole number of at least 1").
    holds: Callable[[Any], bool]  #: Whether a value keeps it.
    schema: Mapping[str, Any] = field(default_factory=dict)  #: The same in the words of JSON Schema, beside a type.


def whole(least: int, most: int | None = None, *, of: str = "") -> Rule:
    """A whole number that is not below ``least`` nor above ``most``; ``of`` says what is counted ("calls")."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    return Rule(
        f"a whole number{f' of {of}' if of else ''} {bounds}",
        lambda value: _is(value, int) and least <= value and (most is None or value <= most),
        {"minimum": least} if most is None else {"minimum": least, "maximum": most},
    )


def number(expected: str, holds: Callable[[float], bool], schema: Mapping[str, Any] | None = None) -> Rule:
    """A finite number of which ``holds`` is true."""
    return Rule(expected, lambda value: _is(value, int, float) and math.isfinite(value) and holds(value), schema or {})


def choice(*allowed: object) -> Rule:
    """One of ``allowed``, of the same type: "in" would accept True for 1."""
    return Rule(
        f"one of {', '.join(map(str, allowed))}",
        lambda value: any(type(value) is type(one) and value == one for one in allowed),
        {"enum": list(allowed)},
    )


def optional(rule: Rule) -> Rule:
    """The same, or None."""
    return Rule(rule.expected, lambda value: value is None or rule.holds(value))


def wrong_fields(value: object, rules: Mapping[str, Rule]) -> list[tuple[str, str]]:
    """Each field of ``value`` that breaks its rule, and the sentence that says so."""
    found = [(name, rule, getattr(value, name)) for name, rule in rules.items()]
    return [(name, f"expected {rule.expected}, got {got!r}") for name, rule, got in found if not rule.holds(got)]


def _is(value: object, *kinds: type) -> bool:
    """Whether it is a number of these types; True and False are none."""
    return isinstance(value, kinds) and not isinstance(value, bool)


POSITIVE = number("a finite number above 0", lambda value: value > 0, {"exclusiveMinimum": 0})
NOT_NEGATIVE = number("a number of at least 0", lambda value: value >= 0, {"minimum": 0})
FLAG = Rule("True or False", lambda value: isinstance(value, bool))
