"""The rewrites as values: each in its file, each decided before any form is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.graph import rewrite
from ftsf_export.graph.forms.choices import Choices, Site, attention_site, choices_for
from ftsf_export.graph.rewrite import ALL, ORDER, rewrite_named
from ftsf_export.mechanisms import MECHANISMS, register
from ftsf_export.network.scope import BRANCHES

TINY = {"frames": 3, "channels": 3, "height": 32, "width": 48, "num_classes": 7, "dim": 64, "dim_head": 16}


def sites() -> list[Site]:
    found = [Site(part="embedding", pixels=True), Site(part="mlp", gated=True)]
    for mechanism in ("fastformer", "performer", "regular"):
        for kind, branches in BRANCHES.items():
            for last in (False, True):
                config = TimeSformerConfig(**TINY, qkv_bias=True, attn_mechanism=mechanism, attn_type=kind)  # type: ignore[arg-type]
                for branch in branches:
                    found.append(attention_site(config, branch, last=last, one_clip=True, plugins=frozenset()))
    return found


def test_every_file_is_registered_under_its_name() -> None:
    files = {path.stem.replace("_", "-") for path in Path(rewrite.__file__).parent.glob("*.py")} - {"--init--"}
    assert files == ALL
    assert len(ORDER) == len(ALL)
    for name in ORDER:
        found = rewrite_named(name)
        assert found.name == name
        assert found.summary
        assert not found.summary.endswith(".")
        assert "=" in found.equation


@pytest.mark.parametrize("name", ORDER)
def test_each_applies_somewhere_and_chooses_something(name: str) -> None:
    one = rewrite_named(name)
    found = [site for site in sites() if choices_for(site, ALL) != choices_for(site, ALL - {name})]
    if name == "class-mean":
        # By features alone, which frames this small have too few tokens for.
        found = [site for site in sites() if choices_for(site, frozenset({name})) != Choices(grid=site.grid)]
    assert found
    assert any(not one.applies(site, choices_for(site, frozenset())) for site in sites())


def test_none_chosen_is_the_model_as_it_is() -> None:
    for site in sites():
        assert choices_for(site, frozenset()) == Choices(grid=site.grid)


def test_a_node_is_left_as_the_plugin_takes_it() -> None:
    """What stands before and after it is rewritten as ever; the class token alone needs no node."""
    config = TimeSformerConfig(**TINY, attn_mechanism="performer")  # type: ignore[arg-type]
    time, space = BRANCHES["divided"]
    plugins = frozenset({"time", "space"})
    for branch in (time, space):
        site = attention_site(config, branch, last=False, one_clip=True, plugins=plugins)
        choices = choices_for(site, ALL)
        assert not choices.decomposed(site)
        assert choices == Choices(grid=site.grid, fc_in_projection=branch is time)
    tail = attention_site(config, space, last=True, one_clip=True, plugins=plugins)
    assert choices_for(tail, ALL).decomposed(tail)


def test_two_mechanisms_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register(MECHANISMS["regular"])
