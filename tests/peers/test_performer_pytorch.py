"""FAVOR+ against ``performer-pytorch`` (lucidrains) with the same projection, in float64.

What differs by design:

- Drawing omega. Theirs takes Q of a QR decomposition as it comes, whose signs are a convention, not chance; ours gives
  Q the signs of R's diagonal, so that rows are uniform. The projection is therefore copied here.
- Few tokens. Ours takes (phi(q) phi(k)^T) v where that is less work: the same value.
- The ReLU kernel. Ours has the factor M^(-1/2) there as well; it cancels in the attention.

The stabiliser of the keys is the same: in 1.1.4 it is the maximum over features and tokens of one head and one sample.
"""

import warnings

import pytest
import torch
from torch import Tensor

from fast_timesformer.model import PerformerAttention

with warnings.catch_warnings():
    # It reads torch's version with distutils, and its dependencies use what torch renamed.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    import performer_pytorch.performer_pytorch as peer

HEADS, WIDTH = 2, 16


def pair(kernel: str = "softmax") -> tuple[PerformerAttention, peer.FastAttention]:
    ours = PerformerAttention(HEADS * WIDTH, dim_head=WIDTH, kernel_fn=kernel).double()
    theirs = peer.FastAttention(WIDTH, generalized_attention=kernel == "relu").double()
    assert theirs.projection_matrix.shape == ours.omega.shape, "M = int(K ln K) in both"
    theirs.projection_matrix.copy_(ours.omega)
    return ours, theirs


def heads(tokens: int) -> Tensor:
    """Queries, keys and values (3, B, H, N, K) whose kernel is far from uniform."""
    generator = torch.Generator().manual_seed(tokens)
    return torch.randn(3, 2, HEADS, tokens, WIDTH, dtype=torch.float64, generator=generator) * 1.5


def test_softmax_features() -> None:
    ours, theirs = pair()
    q, k, _ = heads(30)
    for x, over, is_query in ((q, (-1,), True), (k, (-1, -2), False)):
        expected = peer.softmax_kernel(x, projection_matrix=theirs.projection_matrix, is_query=is_query)
        torch.testing.assert_close(ours.feature_map(x, over), expected, rtol=1e-12, atol=1e-14)


def test_relu_features() -> None:
    ours, theirs = pair("relu")
    q = heads(30)[0]
    expected = peer.generalized_kernel(q, projection_matrix=theirs.projection_matrix) * ours.features**-0.5
    torch.testing.assert_close(ours.feature_map(q, (-1,)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
@pytest.mark.parametrize("tokens", [1, 5, 60])
def test_attention(kernel: str, tokens: int) -> None:
    ours, theirs = pair(kernel)
    q, k, v = heads(tokens)
    torch.testing.assert_close(ours.mix(q, k, v), theirs(q, k, v), rtol=1e-11, atol=1e-12)


def test_the_whole_layer() -> None:
    ours = PerformerAttention(HEADS * WIDTH, dim_head=WIDTH).double()
    theirs = peer.SelfAttention(HEADS * WIDTH, heads=HEADS, dim_head=WIDTH).double()
    theirs.fast_attention.projection_matrix.copy_(ours.omega)
    with torch.no_grad():
        ours.to_qkv.weight.mul_(15)
        for projection, weight in zip(
            (theirs.to_q, theirs.to_k, theirs.to_v), ours.to_qkv.weight.chunk(3), strict=True
        ):
            projection.weight.copy_(weight)
        theirs.to_out.weight.copy_(ours.to_out.weight)
        if theirs.to_out.bias is not None:
            theirs.to_out.bias.copy_(ours.to_out.bias.normal_())
        else:
            ours.to_out.bias.zero_()
    x = torch.randn(2, 40, HEADS * WIDTH, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-11, atol=1e-13)
