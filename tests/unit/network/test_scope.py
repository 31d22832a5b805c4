"""Places in the network: one rule for what a pattern stands for, and names that are made of places."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ftsf_export.network.scope import BLOCKS, BRANCHES, HEAD, JOINT, SPATIAL, TEMPORAL, WHOLE, Scope


@pytest.mark.parametrize(
    ("scope", "place", "held"),
    [
        ("blocks.1", "blocks.1.mlp", True),
        ("blocks.1", "blocks.1", True),
        ("blocks.*.mlp", "blocks.11.mlp.fc1", True),
        ("blocks.*.mlp", "blocks.11.mlp.fc1/MatMul", True),
        ("*.*.mlp", "blocks.11.mlp", True),
        ("", "head", True),
        ("blocks.1", "blocks.11", False),
        ("blocks.1", "blocks", False),
        ("norm", "", False),
        ("blocks.*.attn", "blocks.1.spatial.attn", False),
        ("blocks.1*", "blocks.11", False),
        ("blocks.0.attn", "blocks.0.attn2/MatMul", False),
    ],
)
def test_what_a_scope_holds(scope: str, place: str, held: bool) -> None:
    assert Scope(scope).holds(place) is held


def test_the_deepest_module_that_holds_all() -> None:
    assert Scope.common([]) == WHOLE
    assert Scope.common(["blocks.1.mlp.fc1", "blocks.1.mlp.fc2"]) == "blocks.1.mlp"
    assert Scope.common(["blocks.1.mlp", "blocks.11.mlp"]) == "blocks"
    assert Scope.common(["blocks.1", ""]) == WHOLE


def test_names_are_built_from_places() -> None:
    place = BLOCKS / 3 / "mlp" / Scope("fc1")
    assert place == "blocks.3.mlp.fc1"
    assert WHOLE / "head" == HEAD
    assert place / "" == place
    assert place.node("MatMul") == "blocks.3.mlp.fc1/MatMul"
    assert WHOLE.node("Add") == "Add"
    assert Scope.of_node(place.node("MatMul")) == place
    assert place.moved(BLOCKS / 3, BLOCKS / 12) == "blocks.12.mlp.fc1"


def test_the_block_of_a_place() -> None:
    place = TEMPORAL.attention(10)
    assert place == "blocks.10.temporal.attn"
    assert (place.block, place.of_any_layer, place.region) == ("blocks.10", TEMPORAL.attention("*"), "blocks.10")
    assert (HEAD.block, HEAD.of_any_layer, (HEAD / "x").region) == (None, HEAD, HEAD)
    assert WHOLE.region == WHOLE


def test_a_pattern_below_the_node_that_calls_a_function() -> None:
    core = SPATIAL.attention(2) / "core"
    pattern = SPATIAL.attention("*") / "core" / "softmax"
    assert pattern.inside(core) == "softmax"
    assert pattern.inside(TEMPORAL.attention(2) / "core") is None
    assert core.inside(core) is None
    assert pattern.match(core / "softmax" / "part") == core / "softmax"
    assert pattern.match(core) is None


def test_every_kind_of_attention_has_branches() -> None:
    assert BRANCHES == {"divided": (TEMPORAL, SPATIAL), "joint": (JOINT,), "space": (SPATIAL,)}


def test_a_place_is_the_text_of_its_path() -> None:
    assert json.dumps({SPATIAL.attention(0): HEAD}) == '{"blocks.0.spatial.attn": "head"}'


def test_nothing_heavy_is_imported() -> None:
    heavy = "torch onnx onnx_ir numpy onnxruntime tensorrt"
    code = f"import sys, ftsf_export.network.scope; sys.exit(any(name in sys.modules for name in {heavy.split()}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
