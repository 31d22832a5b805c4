"""The product of FAVOR+'s values comes after the mixture where the class token alone asks: N products of the values
become one a head. Softmax attention is left as it is: as two products and a softmax between them it is one kernel,
whose values are the head's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="class-values",
    summary="The values' product after the mixture, where the class token alone asks FAVOR+",
    equation=("sum_n a_n (h_n W_v + b_v) = (sum_n a_n h_n) W_v + b_v, where sum_n a_n = 1"),
    applies=lambda site, choices: site.algebra == "favor" and choices.class_only and choices.order == "weights",
    effect=choosing(values_last=True),
)


class HeadValues(nn.Module):
    """Mixed tokens of each head (B, n, H, D) -> (B, n, H, K), each head by its own columns of the values' product."""

    def __init__(self, to_v: LinearMap, heads: int) -> None:
        super().__init__()
        rows, inner = to_v.weight.shape
        weight_HDK = to_v.weight.reshape(rows, heads, inner // heads).transpose(0, 1).contiguous()
        self.weight = nn.Parameter(weight_HDK, requires_grad=False)
        self.bias: nn.Parameter | None = None
        if to_v.bias is not None:
            self.bias = nn.Parameter(to_v.bias.reshape(heads, inner // heads).clone(), requires_grad=False)

    def forward(self, mixed_BnHD: Tensor) -> Tensor:
        values = torch.matmul(mixed_BnHD[..., None, :], self.weight)[..., 0, :]
        return values if self.bias is None else values + self.bias
