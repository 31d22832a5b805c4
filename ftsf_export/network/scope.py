"""Places in the network, and the rule by which a pattern stands for several of them. Imports nothing heavy.

A place is the dotted path of a module in the model, ``blocks.3.spatial.attn``. A node of the graph is called after its
module and what it computes, ``blocks.3.spatial.attn/MatMul_2``: it is a place as well, one part below its module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, get_args

# The graph's one input, and its outputs: the class scores, the class token after the last norm, or both in this order.
CLIP = "clip"
LOGITS = "logits"
FEATURES = "features"
OUTPUTS = (LOGITS, FEATURES)

# Along what tokens attend to each other.
Along = Literal["time", "space"]
ALONGS: tuple[Along, ...] = get_args(Along)

_ANY = "*"
_SEPARATORS = re.compile(r"[./]")


class Scope(str):
    """A place in the network, or a pattern of places in which a part ``*`` stands for any one part.

    It is the text of its path, so that it can be a key, be written as JSON and be shown as it is. The whole network is
    the empty path.
    """

    __slots__ = ()

    @classmethod
    def of_node(cls, node: str) -> Scope:
        """The module of the node of that name."""
        return cls(node.partition("/")[0])

    @classmethod
    def common(cls, places: Iterable[str]) -> Scope:
        """The deepest module that holds all ``places``; the whole network where there is none."""
        columns = zip(*(cls(place).parts for place in places), strict=False)
        return cls(".".join(parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, columns)))

    def __truediv__(self, below: str | int) -> Scope:
        """The place ``below`` this one."""
        return Scope(".".join(part for part in (self, str(below)) if part))

    def node(self, operation: str) -> str:
        """The name of a node of this module: ``blocks.0.mlp.fc1/MatMul``; below the whole network the operation's."""
        return f"{self}/{operation}" if self else operation

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(_SEPARATORS.split(self)) if self else ()

    def holds(self, place: str) -> bool:
        """Whether ``place`` is this place, or one of those that this pattern stands for, or lies below it."""
        wanted, parts = self.parts, Scope(place).parts
        return len(parts) >= len(wanted) and all(w in (_ANY, p) for w, p in zip(wanted, parts, strict=False))

    def match(self, place: str) -> Scope | None:
        """The one place at or above ``place`` that this pattern stands for; None where it does not hold it."""
        return Scope(".".join(Scope(place).parts[: len(self.parts)])) if self.holds(place) else None

    def inside(self, caller: Scope) -> Scope | None:
        """This pattern as it is written below ``caller``; None where it stands for nothing there, or for all of it."""
        above, below = self.parts[: len(caller.parts)], self.parts[len(caller.parts) :]
        return Scope(".".join(below)) if below and Scope(".".join(above)).holds(caller) else None

    def moved(self, old: Scope, new: Scope) -> Scope:
        """This place, which is ``old`` or lies below it, as the same place of ``new``."""
        return Scope(f"{new}{self[len(old) :]}")

    @property
    def block(self) -> Scope | None:
        """The block that holds this place, ``blocks.3``; None outside the blocks."""
        return ANY_BLOCK.match(self)

    @property
    def layer(self) -> Scope | None:
        """The outermost numbered module that holds this place: a block, or ``encoder.layer.3`` of somebody else's
        model; None where no part is a number."""
        above = list(takewhile(lambda part: not part.isdecimal(), self.parts))
        return None if len(above) == len(self.parts) else Scope(".".join(self.parts[: len(above) + 1]))

    @property
    def of_any_layer(self) -> Scope:
        """The same place of every layer, ``blocks.*.spatial.attn``; outside of them this place."""
        if self.layer is None:
            return self
        return self.moved(self.layer, Scope(".".join((*self.layer.parts[:-1], _ANY))))

    @property
    def region(self) -> Scope:
        """The layer that holds this place; outside of them its first part, ``patch_embed`` or ``head``."""
        return self.layer or Scope(".".join(self.parts[:1]))


WHOLE = Scope()
BLOCKS = Scope("blocks")
ANY_BLOCK = BLOCKS / _ANY
PATCH_EMBED = Scope("patch_embed")
NORM = Scope("norm")
HEAD = Scope("head")
# Below a block: its MLP. Below an attention branch: the attention; what of it lies between the products; the product
# behind that.
MLP = "mlp"
ATTENTION = "attn"
CORE = "core"
PROJECTION = "to_out"


@dataclass(frozen=True)
class Branch:
    """One of the attention branches of a block."""

    name: str  #: The module's name below its block.
    #: Whether tokens of one position attend to each other over the frames ("time"), or tokens of one frame, in joint
    #: attention of the whole clip ("space").
    along: Along
    #: How many coordinates of a token its rotary positions are made of: the frame; row and column; all three.
    axes: int
    holds_class: bool = True  #: Whether the class token takes part.

    def attention(self, block: int | str) -> Scope:
        """The attention of this branch in that block; ``*`` for that of every block."""
        return BLOCKS / block / self.name / ATTENTION


TEMPORAL = Branch("temporal", "time", 1, holds_class=False)
SPATIAL = Branch("spatial", "space", 2)
JOINT = Branch("joint", "space", 3)
# The branches of a block, by the kind of attention that was asked for.
BRANCHES: dict[str, tuple[Branch, ...]] = {"divided": (TEMPORAL, SPATIAL), "joint": (JOINT,), "space": (SPATIAL,)}
