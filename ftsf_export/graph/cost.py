"""How much work a model's products are, before and after the rewrites: counted by running shapes alone, no numbers.

PyTorch's meta device carries shapes and types and no values, so a forward pass of the full size takes a fraction of a
second and no memory. Counted: matrix products, convolutions and attentions, two operations a multiplication and
addition (``torch.utils.flop_counter``); the graph's ``MatMul`` nodes are the same products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import Rewrites, rewrite_named

# Blocks between the first and the last are alike, so two depths give the line on which all others lie.
_FEW_BLOCKS = 3


@dataclass(frozen=True)
class Cost:
    """What a network costs."""

    flops: int  #: Multiplications and additions of its products, for one clip.
    parameters: int  #: How many numbers are held as weights.

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.parameters + other.parameters)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.flops - other.flops, self.parameters - other.parameters)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.flops * times, self.parameters * times)


@dataclass(frozen=True)
class Saving:
    """What one rewrite saves beside all the others: the cost without it, less the cost with it.

    Where it is zero, the rewrite spares copies and kernels, which only a plan shows. Savings of two rewrites that work
    on the same product do not add up.
    """

    name: str  #: Of the rewrite.
    summary: str  #: What the rewrite does, in one line.
    saved: Cost  #: The difference of the two costs.


@dataclass(frozen=True)
class WorkCount:
    """One clip through the eager model and through the graph."""

    eager: Cost  #: What the model costs as it is.
    graph: Cost  #: What the graph costs with its rewrites.
    savings: tuple[Saving, ...]  #: What each of them saves, by name.


def measure_work(
    config: TimeSformerConfig,
    rewrites: Rewrites,
    *,
    operator: bool = False,
    plugins: frozenset[str] = frozenset(),
    outputs: Sequence[str] | None = None,
) -> WorkCount:
    """Count the work of the model of ``config`` and of its export form with ``rewrites``. Runs no arithmetic.

    Of a plugin's node the work of its function is counted.
    """
    shapes = _Shapes(config, plugins, outputs)
    graph = shapes.of_form(rewrites, operator)
    savings = [
        Saving(name, rewrite_named(name).summary, shapes.of_form(rewrites - {name}, operator) - graph)
        for name in sorted(rewrites)
    ]
    return WorkCount(eager=shapes.of_model(), graph=graph, savings=tuple(savings))


class _Shapes:
    """The model of ``config`` on the meta device, at its own depth if that is small, else at two small depths."""

    def __init__(self, config: TimeSformerConfig, plugins: frozenset[str], outputs: Sequence[str] | None) -> None:
        self._plugins, self._outputs = plugins, outputs
        self._beyond = max(config.depth - _FEW_BLOCKS, 0)
        depths = (_FEW_BLOCKS, _FEW_BLOCKS - 1) if self._beyond else (config.depth,)
        with torch.device("meta"):
            self._models = [FastTimeSformer.from_config(replace(config, depth=depth)).eval() for depth in depths]
            self._clip = torch.empty(1, config.frames, config.channels, config.height, config.width)

    def of_model(self) -> Cost:
        return self._along_depth([self._cost(model) for model in self._models])

    def of_form(self, rewrites: Rewrites, operator: bool) -> Cost:
        with torch.device("meta"):
            forms = [
                ExportForm(model, rewrites, operator=operator, plugins=self._plugins, outputs=self._outputs)
                for model in self._models
            ]
        return self._along_depth([self._cost(form) for form in forms])

    def _along_depth(self, costs: Sequence[Cost]) -> Cost:
        return costs[0] + (costs[0] - costs[-1]) * self._beyond

    def _cost(self, module: nn.Module) -> Cost:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(self._clip)
        return Cost(counter.get_total_flops(), sum(parameter.numel() for parameter in module.parameters()))
