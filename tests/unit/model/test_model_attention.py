"""What holds for every mechanism alone: shapes, neighbours in the batch, dropout, wrong arguments."""

import pytest
import torch

from fast_timesformer.attention import Attention, FastAttention, PerformerAttention, RegularAttention

MECHANISMS = [FastAttention, PerformerAttention, RegularAttention]


@pytest.mark.parametrize("kind", MECHANISMS)
@pytest.mark.parametrize("tokens", [1, 7, 150])
def test_a_sample_does_not_depend_on_its_neighbours(kind: type[Attention], tokens: int) -> None:
    """A stabiliser or a softmax that saw the batch would be driven by the huge neighbour."""
    attention = kind(dim=32, dim_head=16).double().eval()
    x = torch.randn(2, tokens, 32, dtype=torch.float64) * 3
    neighbour = torch.randn(1, tokens, 32, dtype=torch.float64) * 1e4
    alone = attention(x)
    beside = attention(torch.cat((x[:1], neighbour, x[1:])))
    torch.testing.assert_close(beside[[0, 2]], alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(attention(x[1:]), alone[1:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", MECHANISMS)
def test_projections_are_laid_out_as_documented(kind: type[Attention]) -> None:
    heads = {} if kind is FastAttention else {"heads": 3}
    attention = kind(32, dim_head=16, qkv_bias=True, **heads)
    inner = attention.heads * 16
    assert attention.to_qkv.weight.shape == (3 * inner, 32)
    assert attention.to_qkv.bias.shape == (3 * inner,)
    assert attention.to_out.weight.shape == (32, inner)
    assert attention(torch.randn(2, 5, 32)).shape == (2, 5, 32)
    assert kind(32, dim_head=16).to_qkv.bias is None


@pytest.mark.parametrize("kind", MECHANISMS)
def test_attention_dropout_acts_in_training_alone(kind: type[Attention]) -> None:
    attention = kind(dim=32, dim_head=16, attn_drop=0.5)
    with torch.no_grad():
        for weight in attention.parameters():
            weight.mul_(20)
    x = torch.randn(2, 6, 32)
    assert not torch.allclose(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))


@pytest.mark.parametrize("kind", MECHANISMS)
def test_projection_dropout_drops_elements_of_the_projection(kind: type[Attention]) -> None:
    attention = kind(dim=32, dim_head=16, proj_drop=0.25)
    with torch.no_grad():
        attention.to_out.weight.zero_()
        attention.to_out.bias.fill_(1.0)
    x = torch.randn(50, 20, 32)
    out = attention(x)
    if kind is FastAttention:
        # The queries that are added afterwards are not dropped.
        out = out - attention.to_qkv(x)[..., :32]
    kept = torch.tensor(1 / 0.75)
    assert (torch.isclose(out, kept, atol=1e-5) | torch.isclose(out, torch.zeros(()), atol=1e-5)).all()
    share = (out < 0.5).double().mean().item()
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / out.numel()) ** 0.5


def test_softmaxes_are_stable_where_exponentials_overflow() -> None:
    for kind in (FastAttention, RegularAttention):
        attention = kind(dim=32, dim_head=16)
        with torch.no_grad():
            attention.to_qkv.weight.mul_(1e3)
        assert torch.isfinite(attention(torch.randn(1, 9, 32) * 1e2)).all()


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (RegularAttention, {"dim": 65}, r"dim: expected a multiple of dim_head 64 where heads is not given, got 65"),
        (FastAttention, {"dim": 64, "heads": 2}, r"heads \* dim_head must be dim 64, got 2 \* 64"),
        (PerformerAttention, {"dim": 64, "heads": 0}, r"at least 1, got 64, 0 and 64"),
    ],
)
def test_wrong_widths_are_named(kind: type[Attention], arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_wrong_tokens_are_named() -> None:
    with pytest.raises(ValueError, match=r"x: expected \(B, N, 64\), got \(2, 5, 32\)"):
        RegularAttention(64)(torch.zeros(2, 5, 32))
