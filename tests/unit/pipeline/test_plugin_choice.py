"""Which attentions become nodes: what is asked for, what is refused, and what ``auto`` reads out of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftsf_export.bundle import PluginNodes
from ftsf_export.config import ExportConfig
from ftsf_export.engine.choice import BuildTools, resolve
from ftsf_export.errors import ConfigError, EnvironmentLacks, UsageError
from ftsf_export.graph.rewrite import ALL
from ftsf_export.pipeline.plugin_choice import PluginChoice, choose_plugins, takes_plugins
from ftsf_export.pipeline.resolve import resolve_export

HERE = BuildTools(None, True, False)
SMALL: dict[str, Any] = {"frames": 3, "size": (32, 48), "dim": 64, "depth": 3, "num_classes": 7}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What this machine is taken for: TensorRT for RTX without a GPU, unless a test says otherwise."""

    def be(here: BuildTools) -> None:
        for module in ("engine.choice", "pipeline.plugin_choice"):
            monkeypatch.setattr(f"ftsf_export.{module}.build_tools_here", lambda: here)

    be(HERE)
    return be


def along(tmp_path: Path, **fields: Any) -> tuple[str, ...]:
    return resolve_export(ExportConfig(**fields), output=tmp_path / "out").plugins


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ()),
        ({"plugins": "none", "attn": "performer"}, ()),
        ({"plugins": "all"}, ("time", "space")),
        ({"plugins": "all", "attn": "performer", "attn_type": "joint"}, ("space",)),
        ({"plugins": "auto"}, ()),  # until a plan was read
        ({"plugins": "all", "attn": "regular"}, ("time", "space")),
        ({"plugins": "auto", "attn": "regular", "rotary": False}, ()),
    ],
)
def test_what_was_asked_for(tmp_path: Path, fields: dict[str, Any], found: tuple[str, ...]) -> None:
    assert along(tmp_path, **fields) == found


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="plugins: expected one of none, all, auto, got 'some'"):
        ExportConfig(plugins="some")
    with pytest.raises(UsageError, match="without rotary positions compilers make one kernel of regular attention"):
        along(tmp_path, plugins="all", attn="regular", rotary=False)
    with pytest.raises(UsageError, match="even head widths from 32 to 128, got 16"):
        along(tmp_path, plugins="all", dim_head=16)


def test_auto_needs_a_compiler_where_it_will_read_a_plan(machine: Any, tmp_path: Path) -> None:
    machine(BuildTools(None, False, False))
    with pytest.raises(EnvironmentLacks, match="no compiler is here") as lacks:
        along(tmp_path, plugins="auto", targets=("jetson-orin",))
    assert lacks.value.install == "pip install 'ftsf-export[rtx]'"
    assert along(tmp_path, plugins="auto", attn="regular", rotary=False, targets=("jetson-orin",)) == ()


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({"targets": ("rtx-40",)}, None),
        ({"targets": ("rtx-40", "jetson-orin")}, "jetson-orin"),
        ({"builder": "none"}, "rtx-30"),
        ({"builder": "none", "targets": ("h100",)}, "h100"),
    ],
)
def test_whose_plan_is_read(fields: dict[str, Any], target: str | None) -> None:
    config = ExportConfig(**fields)
    found = takes_plugins(resolve(config.builder, config.targets, config.precision))
    assert (found and found.name) == target


def chosen(**fields: Any) -> Any:
    config = ExportConfig(**SMALL, plugins="auto", **fields)
    choice = resolve(config.builder, config.targets, config.precision)
    return choose_plugins(config, config.architecture, choice, ALL, opset=20)


def test_tensorrt_for_rtx_gets_none() -> None:
    reason = "TensorRT for RTX takes no plugins: it would compile the nodes' functions"
    assert chosen(targets=("rtx-40",)) == PluginChoice(nodes=PluginNodes((), reason))
    assert chosen(attn="regular", rotary=False, targets=("jetson-orin",)).nodes.along == ()


def test_auto_follows_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decomposed graph compiled here, and a kernel that along space would move a hundred times as much."""
    pytest.importorskip("tensorrt_rtx", reason="a plan needs TensorRT for RTX")
    from ftsf_export.engine import plugin_costs

    own = plugin_costs.moved

    def clumsy(launch: Any, stream: Any, *rest: Any) -> Any:
        made = own(launch, stream, *rest)
        more = 100 if stream.along == "space" else 1
        return type(made)(made.bound_bytes, made.stream_bytes * more, made.constant_bytes)

    monkeypatch.setattr(plugin_costs, "moved", clumsy)
    found = chosen(attn="fastformer", targets=("jetson-orin",))
    assert found.nodes.along == ("time",)
    assert found.nodes.reason.startswith("by the plan of two blocks for jetson-orin: along time the plugin (plugin 2 ")
    assert "; along space decomposed (plugin 1 kernels and " in found.nodes.reason
    time, space = found.costs
    assert (time.attentions, time.plugin.kernels, space.attentions) == (2, 2, 1)
    assert time.compiled.kernels > time.plugin.kernels
    # The compiler's own words for the same products.
    assert (time.compiled.flops, space.compiled.flops) == (time.plugin.flops, space.plugin.flops)
