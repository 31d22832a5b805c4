"""How weights start: as in ViT and TimeSformer, normal with deviation 0.02, cut at two, biases zero.

The ``fc`` behind temporal attention starts like the others. The TimeSformer that is made from a pretrained ViT starts
it at zero; here random weights shall exercise every part.
"""

from __future__ import annotations

import math

import torch
from torch import nn

DEVIATION = 0.02


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """An initialised linear map."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.trunc_normal_(layer.weight, std=DEVIATION)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def parameter(*shape: int) -> nn.Parameter:
    """An initialised free parameter: a class token, a position, a pooling vector."""
    weight = nn.Parameter(torch.empty(shape))
    nn.init.trunc_normal_(weight, std=DEVIATION)
    return weight


def as_drawn(module: nn.Module) -> bool:
    """Whether every weight is as this file draws it: nobody trained the module, or put a weight of its own into it.

    Training moves every bias and every norm from where they start, exactly 0 and 1.
    """
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if isinstance(part, nn.LayerNorm):
                same = bool((weight == (1 if name == "weight" else 0)).all())
            elif isinstance(part, nn.Linear) and name == "bias":
                same = not bool(weight.any())
            else:
                same = _like_drawn(weight)
            if not same:
                return False
    return True


def _like_drawn(weight: torch.Tensor) -> bool:
    """Within six standard errors of the deviation, and no value beyond eight deviations."""
    values, deviations = weight.detach().float(), 6 / math.sqrt(2 * weight.numel())
    spread = float((values.square().mean()).sqrt()) / DEVIATION
    return abs(spread - 1) <= 0.02 + deviations and float(values.abs().max()) <= 8 * DEVIATION
