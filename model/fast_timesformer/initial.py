"""How weights start: as in ViT and TimeSformer, normal with deviation 0.02, cut at two, biases zero.

The ``fc`` behind temporal attention starts like the others. The TimeSformer that is made from a pretrained ViT starts
it at zero; here random weights shall exercise every part.
"""

from __future__ import annotations

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
