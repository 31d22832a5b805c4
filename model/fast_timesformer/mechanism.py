"""The attention mechanisms, one entry each: what a configuration may ask of it, where its module is. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_timesformer.attention import Attention


def loaded(place: str) -> Any:
    """What is at ``package.module:name``, imported now."""
    home, _, name = place.partition(":")
    return getattr(import_module(home), name)


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One way for tokens to attend to each other."""

    name: str  #: What ``attn_mechanism`` says.
    #: Where its module is, ``package.module:Class``; a subclass of ``fast_timesformer.attention.Attention``.
    module: str
    #: The queries are added to the output, so that all heads together are as wide as a token.
    adds_queries: bool = False
    #: It draws random features; the options ``performer_...`` and ``ortho_scaling`` are for it alone.
    has_features: bool = False
    #: A learning rate at which random weights learn well. Regular attention at 2e-3 grows scores so large that FP32
    #: itself departs.
    rate: float = 1e-3

    @property
    def attention(self) -> type[Attention]:
        """The module itself. Imports torch."""
        kind: type[Attention] = loaded(self.module)
        return kind


MECHANISMS: dict[str, Mechanism] = {}


def register(mechanism: Mechanism) -> None:
    """Make a mechanism known. Raises ValueError where one has that name."""
    if mechanism.name in MECHANISMS:
        raise ValueError(f"attention mechanism {mechanism.name!r}: registered twice")
    MECHANISMS[mechanism.name] = mechanism


def mechanism_named(name: str) -> Mechanism:
    """Raises ValueError listing the mechanisms that there are for any other name."""
    if name not in MECHANISMS:
        raise ValueError(f"attn_mechanism: expected one of {', '.join(MECHANISMS)}, got {name!r}")
    return MECHANISMS[name]


register(Mechanism(name="fastformer", module="fast_timesformer.attention:FastAttention", adds_queries=True, rate=2e-3))
register(Mechanism(name="performer", module="fast_timesformer.attention:PerformerAttention", has_features=True))
register(Mechanism(name="regular", module="fast_timesformer.attention:RegularAttention"))
