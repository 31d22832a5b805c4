"""Biases of softmax attention: through the weights that sum to one, out of the scores, behind the head split."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.forms.attention import AttentionParts, entered
from ftsf_export.graph.forms.choices import attention_site, choices_for
from ftsf_export.graph.forms.heads import HeadsMaps
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL, Rewrites, attention_bias
from ftsf_export.network.scope import TEMPORAL

HEADS, WIDTH = 2, 3


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def attend(x: torch.Tensor, products: list[LinearMap], query_bias: torch.Tensor | None) -> torch.Tensor:
    q, k, v = (product(x).reshape(-1, HEADS, WIDTH).transpose(0, 1) for product in products[:3])
    q = q if query_bias is None else q + query_bias
    mixed = torch.softmax(q @ k.transpose(-1, -2), dim=-1) @ v
    return products[3](mixed.transpose(0, 1).flatten(1))


@pytest.mark.parametrize("bias_out", [True, False])
def test_the_equation(bias_out: bool) -> None:
    """Cases 1, 2 and 3 together, in float64; each of them alone changes the result when it is left out."""
    inner = HEADS * WIDTH
    q, k, v = (LinearMap(draw(4, inner) + i, draw(inner) * (i + 1)) for i in range(3))
    out = LinearMap(draw(inner, 5), draw(5) if bias_out else None)
    x = draw(7, 4)
    expected = attend(x, [q, k, v, out], None)
    bare = [attention_bias.without_bias(product) for product in (q, k, v)]
    got = attend(x, [*bare, attention_bias.carried(v, out)], attention_bias.query_bias(q, HEADS))
    assert torch.allclose(got, expected, rtol=1e-11, atol=1e-12)
    for wrong in (attend(x, [*bare, out], attention_bias.query_bias(q, HEADS)),
                  attend(x, [*bare, attention_bias.carried(v, out)], None)):  # fmt: skip
        assert not torch.allclose(wrong, expected, rtol=1e-2)


def test_nothing_to_move() -> None:
    q, out = LinearMap(draw(4, 6)), LinearMap(draw(6, 5))
    assert attention_bias.query_bias(q, HEADS) is None
    assert attention_bias.carried(q, out) is out


@pytest.mark.parametrize("rotary", [True, False])
def test_the_branch_gives_what_it_gave(model_of: Callable[..., FastTimeSformer], rotary: bool) -> None:
    """With a rotation every token is turned by its own angle: biases of queries and keys stay, the values' goes."""
    model = model_of(attn_mechanism="regular", qkv_bias=True, rotary_emb=rotary)
    plain, moved = (
        ExportForm(model, rewrites).double().get_submodule("blocks.0.temporal")
        for rewrites in (ALL - {attention_bias.REWRITE.name}, ALL)
    )
    x_BSD = torch.randn(2, 3 * 6, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(moved(x_BSD), plain(x_BSD), rtol=1e-5, atol=1e-6)
    names = {name for name, _ in moved.named_parameters()}
    assert "attn.to_v.bias" not in names
    assert ("attn.query_bias" in names) is not rotary
    assert ({"attn.to_q.bias", "attn.to_k.bias"} <= names) is rotary
    assert {"attn.to_q.bias", "attn.to_k.bias", "attn.to_v.bias"} <= {name for name, _ in plain.named_parameters()}


def maps_of(model: FastTimeSformer, rewrites: Rewrites) -> HeadsMaps:
    """The products of the first attention over time."""
    site = attention_site(model.config, TEMPORAL, last=False, one_clip=True, plugins=frozenset())
    choices = choices_for(site, rewrites)
    branch = model.blocks[0].get_submodule("temporal")
    _, qkv = entered(branch.norm, branch.attn, site, choices)
    return HeadsMaps.from_parts(AttentionParts(attention=branch.attn, qkv=qkv, choices=choices))


def test_the_class_token_asks_with_its_bias(model_of: Callable[..., FastTimeSformer]) -> None:
    """The products of one query give the same, wherever the biases lie."""
    model = model_of(attn_mechanism="regular", qkv_bias=True, rotary_emb=False)
    plain, moved = (maps_of(model, rewrites).of_class() for rewrites in (ALL - {attention_bias.REWRITE.name}, ALL))
    assert plain[0].bias is not None
    assert torch.equal(plain[0].bias, moved[0].bias)
    assert torch.equal(plain[1].weight, moved[1].weight)
