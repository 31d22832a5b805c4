"""Additive attention against ``fast-transformer-pytorch`` (lucidrains) with copied weights, in float64.

What differs by design:

- Theirs pools the keys with beta: sum_n beta_n k_n. The paper (equations 4 and 5) pools p_n = Q * k_n, and so do we:
  their u times the global query Q is ours.
- Theirs shares one pooling vector among the heads; ours has one a head (copied to all of them here).
- Theirs maps each head's u by ``to_r``, adds the queries, then maps all heads by ``to_out``. Ours follows the paper, a
  linear map and then the query: W_o u + q. ``to_r`` and their ``to_out`` are the identity here, which leaves u + q.
- With rotary positions theirs turns the values too and sums pairs of products; ours turns queries and keys alone, so
  that there is nothing to compare.
- Theirs needs a mask; ours has no padding.
"""

import pytest
import torch
from einops import rearrange
from fast_transformer_pytorch.fast_transformer_pytorch import FastAttention as TheirAttention

from fast_timesformer.model import FastAttention

HEADS, WIDTH = 3, 16
DIM = HEADS * WIDTH


def pair() -> tuple[FastAttention, TheirAttention]:
    ours = FastAttention(DIM, dim_head=WIDTH).double()
    theirs = TheirAttention(DIM, heads=HEADS, dim_head=WIDTH).double()
    with torch.no_grad():
        for weight in (ours.to_qkv.weight, ours.to_out.weight):
            weight.normal_(std=DIM**-0.5)
        ours.to_out.bias.normal_()
        for own, vector in ((ours.w_q, theirs.to_q_attn_logits), (ours.w_k, theirs.to_k_attn_logits)):
            own.copy_(torch.randn(WIDTH).expand(HEADS, WIDTH) * 2)
            vector.weight.copy_(own[:1])
        theirs.to_qkv.weight.copy_(ours.to_qkv.weight)
        for layer in (theirs.to_r, theirs.to_out):
            layer.weight.copy_(torch.eye(layer.weight.shape[0]))
            layer.bias.zero_()
    return ours, theirs


@pytest.mark.parametrize("tokens", [1, 5, 70])
@torch.no_grad()
def test_pooling_and_products(tokens: int) -> None:
    torch.manual_seed(tokens)
    ours, theirs = pair()
    x = torch.randn(2, tokens, DIM, dtype=torch.float64)
    q = ours.to_qkv(x)[..., :DIM]
    q_BHNK = rearrange(q, "b n (h k) -> b h n k", h=HEADS)
    alpha = torch.softmax(theirs.to_q_attn_logits(q_BHNK) * theirs.scale, dim=-2)
    global_query = rearrange((alpha * q_BHNK).sum(dim=-2), "b h k -> b 1 (h k)")
    their_u = theirs(x, mask=torch.ones(2, tokens, dtype=torch.bool)) - q
    u = their_u * global_query
    # The pooled term is of the size of the queries, or little would be compared.
    assert u.abs().mean() > 0.02 * q.abs().mean()
    torch.testing.assert_close(ours(x), ours.to_out(u) + q, rtol=1e-11, atol=1e-11)
