"""``--plugins``: how it may be typed, the bundle that it makes, and what ``ftsf plan`` says of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ftsf_export.bundle import Bundle, PluginNodes
from ftsf_export.cli.main import ftsf, run
from ftsf_export.verdict import Status
from tests.unit.manifests import rehash

SMALL = (
    "--attn", "fastformer", "--dim", "64", "--depth", "2", "--frames", "2", "--size", "32", "--num-classes", "10",
    "--builder", "none",
)  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ((), "none"),
        (("--plugins",), "all"),
        (("--plugins", "-q"), "all"),
        (("--plugins", "auto"), "auto"),
        (("--plugins=none",), "none"),
    ],
)
def test_how_it_is_typed(say: Any, typed: tuple[str, ...], asked: str) -> None:
    said = say("export", *SMALL, "--dry-run", "--json", *typed)
    assert said.code == 0, said.err
    assert said.json["plan"]["plugins"]["asked"] == asked


def test_a_value_that_is_none(say: Any) -> None:
    said = say("export", *SMALL, "--plugins", "some")
    assert said.code == 2
    assert "plugins: expected one of none, all, auto, got 'some'" in said.err


@pytest.fixture(scope="module")
def with_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("plugins") / "bundle"
    assert run(ftsf, ["export", *SMALL, "--plugins", "-o", str(output), "-q"], "ftsf") == 0
    return output


def test_the_bundle_is_judged_on_the_functions(with_plugins: Path) -> None:
    bundle = Bundle.open(with_plugins)
    assert [(verdict.gate, verdict.status) for verdict in bundle.verdicts] == [
        ("parity.onnx-fp32", Status.PASSED),
        ("parity.fp16-emulated", Status.PASSED),
    ]
    assert bundle.manifest.graph.plugins == PluginNodes(("time", "space"), "all asked for")
    file = onnx.load(bundle.onnx_path)
    assert [function.name for function in file.functions] == ["FtsfAdditiveAttention"]
    assert sum(node.domain == "ftsf" for node in file.graph.node) == 3


def test_info_says_it(say: Any, with_plugins: Path) -> None:
    assert "plugins    nodes for attention along time and space: all asked for" in say("info", with_plugins).out


def test_a_function_that_was_altered_is_named(say: Any, with_plugins: Path, tmp_path: Path) -> None:
    """Its constants are among the weights that ``verify`` knows."""
    altered = Path(shutil.copytree(with_plugins, tmp_path / "altered"))
    path = altered / "model.onnx"
    file = onnx.load(path)
    constants = [node for node in file.functions[0].node if node.op_type == "Constant"]
    floats = [node.attribute[0] for node in constants if node.attribute[0].t.data_type == onnx.TensorProto.FLOAT16]
    doubled = numpy_helper.to_array(floats[0].t) * np.float16(2)
    floats[0].t.CopyFrom(numpy_helper.from_array(doubled, floats[0].t.name))
    onnx.save(file, path)
    rehash(altered)
    said = say("verify", altered)
    assert said.code == 1
    assert "weight FtsfAdditiveAttention/" in said.out + said.err


def test_the_plan_shows_both(say: Any, with_plugins: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="a plan needs TensorRT for RTX")
    said = say("plan", with_plugins)
    assert said.code == 0, said.err
    assert (
        "nodes along time and space; TensorRT for RTX takes no plugins: what was compiled is their function" in said.out
    )
    assert "plugin     blocks.*.temporal.attn, 2 of them" in said.out
    assert "node's function: " in said.out
    assert "plugin, modelled: 2 kernels" in said.out
    plan = say("plan", with_plugins, "--json").json["plan"]["plugins"]
    assert plan["nodes_along"] == ["time", "space"]
    assert [(cost["along"], cost["attentions"], cost["plugin"]["kernels"]) for cost in plan["attentions"]] == [
        ("time", 2, 2), ("space", 1, 1),
    ]  # fmt: skip
    assert all(cost["compiled"]["flops"] == cost["plugin"]["flops"] for cost in plan["attentions"])


def test_a_target_that_takes_plugins_gets_the_graph_around_them_and_their_kernels(
    say: Any, tmp_path: Path, with_plugins: Path
) -> None:
    """Compiled for a stand-in, at both ends of the range of batches; the class token's attention alone is compiled."""
    pytest.importorskip("tensorrt_rtx", reason="a plan needs TensorRT for RTX")
    regular = tmp_path / "regular"
    made = say("export", *SMALL, "--attn", "regular", "--batch", "1:1:2", "--plugins", "-o", regular, "-q")
    assert made.code == 0, made.err
    said = say("plan", regular, "--target", "jetson-orin", "--json")
    assert said.code == 0, said.err
    assert "nodes along time and space: the graph around them was compiled; their kernels" in said.err
    plan = said.json["plan"]
    assert plan["plugins"]["attentions"] == []
    assert plan["plugins"]["modelled"]["kernels"] == plan["layer_types"]["plugin, modelled"] == 3
    assert plan["expected_attentions"] == ["blocks.1.spatial.attn"]
    assert [one["batch"] for one in plan["attentions_at_batch"]] == [1, 2]
    names = [one["name"] for one in plan["kernel_list"]]
    after = plan["kernel_list"][names.index("FtsfRotaryAttention") + 1]
    assert after["module"] == "blocks.0.temporal.attn.to_out"
    assert {verdict["status"] for verdict in said.json["verdicts"]} == {"passed"}
    fewer = say("plan", with_plugins, "--target", "jetson-orin", "--json").json["plan"]
    assert fewer["plugins"]["modelled"]["kernels"] == 3
    assert fewer["moved_bytes"] < say("plan", with_plugins, "--json").json["plan"]["moved_bytes"]
