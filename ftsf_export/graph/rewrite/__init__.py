"""Exact rewrites, one a file: its equation, when it applies, and what it does; its proof in float64 beside it in
``tests/unit/graph/rewrite``.

A file ``temporal_fc.py`` holds the ``REWRITE`` called ``temporal-fc``. Whether it applies is decided before any form is
made, from where a part of the network stands (``Site``) and from what the rewrites before it have chosen (``Choices``);
its effect is a choice, by which the constructors of the forms go. What it does to weights is a function in its file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftsf_export.bundle.specs import CLASS_TAIL

if TYPE_CHECKING:
    from ftsf_export.graph.forms.choices import Choices, Site

Rewrites = frozenset[str]

# In the order in which they are decided: a rewrite may depend on what those before it have chosen.
ORDER = (
    CLASS_TAIL,
    "regrouping",
    "norm-affine",
    "favor-order",
    "rotation-halves",
    "softmax-scale",
    "qkv-apart",
    "attention-bias",
    "class-values",
    "class-mean",
    "additive-class",
    "additive-fusion",
    "temporal-fc",
    "geglu-split",
    "pixel-normalisation",
)
ALL: Rewrites = frozenset(ORDER)


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """One exact rewrite."""

    name: str  #: By which it is switched on and off.
    summary: str  #: What it does, in one line for the report.
    equation: str  #: What makes it exact.
    applies: Callable[[Site, Choices], bool]  #: Whether it is of use at a site, after the choices made so far.
    effect: Callable[[Site, Choices], Choices]  #: The choices so far with its own.


def choosing(**chosen: Any) -> Callable[[Site, Choices], Choices]:
    """The effect of a rewrite that sets these fields of the choices, whatever the site."""
    return lambda _, choices: replace(choices, **chosen)


def rewrite_named(name: str) -> Rewrite:
    """The rewrite of that name, from its file."""
    rewrite: Rewrite = import_module(f"{__name__}.{name.replace('-', '_')}").REWRITE
    return rewrite
