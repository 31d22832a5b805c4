"""The registry of mechanisms: joined with the modules' own, unknown ones refused, and a fourth one exported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fast_timesformer import mechanism as modules
from fast_timesformer.attention import Attention
from fast_timesformer.config import TimeSformerConfig
from ftsf_export import ExportConfig, export, mechanisms
from ftsf_export.engine.plan_gates import attentions_to_fuse
from ftsf_export.engine.plugin_costs import plugin_problem
from ftsf_export.engine.request import operation_of
from ftsf_export.errors import ConfigError
from ftsf_export.graph.forms.attention import AttentionParts
from ftsf_export.graph.forms.linear_map import LinearMap, columns
from ftsf_export.report.charts import colours
from ftsf_export.verdict import Status

TINY = {"frames": 2, "size": 32, "dim": 32, "dim_head": 16, "depth": 3, "num_classes": 5}


class AverageAttention(Attention):
    """Every token gets the mean of all values: W_o mean_n(v_n)."""

    def mix(self, q_BHNK: Tensor, k_BHNK: Tensor, v_BHNK: Tensor) -> Tensor:
        del q_BHNK, k_BHNK
        return v_BHNK.mean(dim=-2, keepdim=True).expand_as(v_BHNK)


class AverageForm(nn.Module):
    """The mean of each group's values, for all tokens of the group: (B, S, D) -> (B, S, D)."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.grid = parts.choices.grid
        self.to_v = values_of(parts)
        self.to_out = parts.followed(parts.projection())

    def forward(self, h_BSD: Tensor) -> Tensor:
        grid = self.grid
        v = grid.heads_first_one(self.to_v(h_BSD))
        out: Tensor = self.to_out(grid.tokens_first(v.mean(dim=-2, keepdim=True).expand_as(v)))
        return out


class AverageClassForm(nn.Module):
    """The same for the class token alone: (B, S, D) -> (B, 1 or F, D)."""

    def __init__(self, parts: AttentionParts) -> None:
        super().__init__()
        self.grid, self.frames_apart = parts.choices.grid, parts.frames_apart
        self.to_v, self.to_out = values_of(parts), parts.projection()

    def forward(self, h_BSD: Tensor) -> Tensor:
        mean = self.grid.grouped(self.to_v(h_BSD)).mean(dim=2)
        out: Tensor = self.to_out(mean if self.frames_apart else mean.mean(dim=1, keepdim=True))
        return out


def values_of(parts: AttentionParts) -> LinearMap:
    inner = parts.choices.grid.inner
    return columns(parts.qkv, 2 * inner, 3 * inner)


@pytest.fixture
def average() -> Iterator[str]:
    """A fourth mechanism, registered as any other."""
    here = AverageAttention.__module__
    modules.register(modules.Mechanism(name="average", module=f"{here}:AverageAttention"))
    mechanisms.register(
        mechanisms.ExportedMechanism(name="average", form=f"{here}:AverageForm", class_form=f"{here}:AverageClassForm")
    )
    yield "average"
    del modules.MECHANISMS["average"], mechanisms.MECHANISMS["average"]


def test_both_tables_have_the_same_mechanisms() -> None:
    assert list(modules.MECHANISMS) == list(mechanisms.MECHANISMS)
    for name, one in mechanisms.MECHANISMS.items():
        assert one.module is modules.MECHANISMS[name]
        assert issubclass(one.module.attention, Attention)
        places = [one.form, one.class_form]
        if one.plugin is not None:
            places += [one.plugin.core, one.plugin.operation]
        assert all(mechanisms.loaded(place) is not None for place in places)


@pytest.mark.parametrize("kind", ["divided", "joint", "space"])
def test_a_fourth_mechanism_is_exported_with_parity(average: str, kind: str, tmp_path: Path) -> None:
    config = ExportConfig(attn=average, attn_type=kind, builder="none", precision="fp16", **TINY)
    bundle = export(config, output=tmp_path / "out")
    assert {verdict.status for verdict in bundle.verdicts} == {Status.PASSED}
    gates = [str(verdict.gate) for verdict in bundle.verdicts]
    assert any("parity" in gate for gate in gates)


def test_a_fourth_mechanism_has_no_softmax_form_and_no_plugin(average: str) -> None:
    model = TimeSformerConfig(2, 3, 32, 32, 5, dim=32, dim_head=16, attn_mechanism=average)
    assert attentions_to_fuse(model, "fp16", 1) == ()
    assert "average attention has no plugin" in plugin_problem(average, 64, rotated=True)
    assert average in colours()


def test_an_unknown_mechanism_is_refused_everywhere() -> None:
    with pytest.raises(ConfigError, match="expected one of fastformer, performer, regular, got 'average'"):
        ExportConfig(attn="average")
    with pytest.raises(ValueError, match="expected one of fastformer, performer, regular, got 'average'"):
        TimeSformerConfig(2, 3, 32, 32, 5, attn_mechanism="average")
    for ask in (
        mechanisms.mechanism_named,
        modules.mechanism_named,
        lambda name: plugin_problem(name, 64, rotated=True),
        operation_of,
    ):
        with pytest.raises(ValueError, match="expected one of fastformer, performer, regular, got 'average'"):
            ask("average")
    with pytest.raises(ValueError, match="expected one of"):
        mechanisms.register(mechanisms.ExportedMechanism(name="average", form="a:b", class_form="a:c"))


def test_the_registry_imports_no_torch() -> None:
    code = "import sys, ftsf_export.mechanisms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_mean_is_the_mean() -> None:
    attention = AverageAttention(8, dim_head=4)
    x_BND = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = attention.to_out(attention.to_qkv(x_BND)[..., 16:].mean(dim=1, keepdim=True).expand(2, 5, 8))
        assert torch.allclose(attention(x_BND), expected, atol=1e-6)
