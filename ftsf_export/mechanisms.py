"""The attention mechanisms, one entry each: how its graph is made, and what a compiler can do with it. No torch here.

The modules themselves are in ``fast_timesformer``, which has a table of its own (``fast_timesformer.mechanism``); the
two are joined by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fast_timesformer.mechanism import Mechanism
from fast_timesformer.mechanism import loaded as loaded
from fast_timesformer.mechanism import mechanism_named as module_named

Algebra = Literal["softmax", "favor", "additive", "other"]


@dataclass(frozen=True, kw_only=True)
class PluginEntry:
    """How a mechanism becomes one node that a TensorRT plugin computes."""

    core: str  #: The node, a ``PluginCore``, as ``package.module:Class``.
    operation: str  #: The plugin's ``Operation``, as ``package.module:name``.
    #: Whether there is one for rotary positions alone: without them compilers make one kernel of the attention anyway.
    rotated_only: bool = False


@dataclass(frozen=True, kw_only=True)
class ExportedMechanism:
    """One attention mechanism, as it is exported."""

    name: str  #: What ``--attn`` says, and the mechanism of that name in ``fast_timesformer``.
    #: Which equations hold for it: exact rewrites ask for this. "softmax": weights of pairs of tokens, by a softmax of
    #: scalar products; "favor": weights by random features; "additive": tokens pooled by one query; "other": none of
    #: these, only rewrites that hold for every mechanism are applied.
    algebra: Algebra = "other"
    form: str  #: The export form for all tokens, ``package.module:Class``; it is called with ``AttentionParts``.
    class_form: str  #: The same for the class token alone, which is all that the last block needs.
    plugin: PluginEntry | None = None  #: How it becomes one node; None where there is no plugin.

    @property
    def module(self) -> Mechanism:
        """The entry of the module that is exported."""
        return module_named(self.name)

    @property
    def fuses(self) -> bool:
        """Whether compilers make one kernel of it, and ONNX has an operator for it."""
        return self.algebra == "softmax"


MECHANISMS: dict[str, ExportedMechanism] = {}


def register(mechanism: ExportedMechanism) -> None:
    """Make a mechanism known. Raises ValueError where one has that name, or ``fast_timesformer`` has none of it."""
    if mechanism.name in MECHANISMS:
        raise ValueError(f"attention mechanism {mechanism.name!r}: registered twice")
    module_named(mechanism.name)
    MECHANISMS[mechanism.name] = mechanism


def mechanism_named(name: str) -> ExportedMechanism:
    """Raises ValueError listing the mechanisms that there are for any other name."""
    if name not in MECHANISMS:
        raise ValueError(f"attn: expected one of {', '.join(MECHANISMS)}, got {name!r}")
    return MECHANISMS[name]


_FORMS = "ftsf_export.graph.forms"

register(
    ExportedMechanism(
        name="fastformer",
        algebra="additive",
        form=f"{_FORMS}.additive:AdditiveForm",
        class_form=f"{_FORMS}.additive:AdditiveClassForm",
        plugin=PluginEntry(
            core=f"{_FORMS}.plugin:AdditivePlugin",
            operation="ftsf_plugins.additive_attention.plugin:OPERATION",
        ),
    )
)
register(
    ExportedMechanism(
        name="performer",
        algebra="favor",
        form=f"{_FORMS}.heads:HeadsForm",
        class_form=f"{_FORMS}.heads:favor_class_form",
        plugin=PluginEntry(
            core=f"{_FORMS}.plugin:FavorPlugin",
            operation="ftsf_plugins.favor_attention.plugin:OPERATION",
        ),
    )
)
register(
    ExportedMechanism(
        name="regular",
        algebra="softmax",
        form=f"{_FORMS}.heads:HeadsForm",
        class_form=f"{_FORMS}.heads:HeadsClassForm",
        plugin=PluginEntry(
            core=f"{_FORMS}.plugin:RotaryPlugin",
            operation="ftsf_plugins.rotary_attention.plugin:OPERATION",
            rotated_only=True,
        ),
    )
)
