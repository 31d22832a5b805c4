"""Names say where in the model a node stands, and what is kept in FP32 there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from ftsf_export.errors import ExportError
from ftsf_export.graph.forms.island import islands_of
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.node_names import name_all
from ftsf_export.graph.node_scopes import keep_scopes_only, scope_of
from ftsf_export.graph.onnx_model import MODULE_KEY, OnnxModel
from ftsf_export.graph.rewrite import ALL
from ftsf_export.network.scope import Scope

MODELS: dict[str, dict[str, Any]] = {
    "fastformer": {"attn_mechanism": "fastformer", "depth": 3, "batch": "1:2:4"},
    "performer": {"attn_mechanism": "performer", "performer_features": 4},
    "regular": {"depth": 5},
}

Make = Callable[..., Any]


@pytest.fixture(params=MODELS)
def named(request: pytest.FixtureRequest, graph_of: Make, model_of: Make) -> tuple[OnnxModel, ExportForm]:
    options = MODELS[request.param]
    model = model_of(**{name: value for name, value in options.items() if name != "batch"})
    return graph_of(**options), ExportForm(model, ALL)


def test_nodes_carry_the_path_of_their_module(named: tuple[OnnxModel, ExportForm]) -> None:
    graph, form = named
    modules = {path for path, _ in form.named_modules()}
    for node in graph.model.graph:
        assert scope_of(node) in modules
        stem = f"{scope_of(node) or 'model'}/{node.op_type}"
        assert node.name == stem or node.name.rpartition("_")[0] == stem
    counts = Counter(node.name for node in graph.model.graph)
    assert max(counts.values()) == 1
    # Of the root there is next to nothing: additions of the residuals belong to their block.
    assert sum(not scope_of(node) for node in graph.model.graph) <= 3


def test_products_stand_where_their_weights_do(named: tuple[OnnxModel, ExportForm]) -> None:
    graph, _ = named
    products = [node for node in graph.model.graph if node.op_type == "MatMul" and node.inputs[1].is_initializer()]
    assert len(products) > 10
    for node in products:
        owner = Scope(node.inputs[1].name.rpartition(".")[0])
        assert owner.holds(scope_of(node)) or scope_of(node).holds(owner), node.name


def test_values_have_one_name_each_and_taps_their_module_s(named: tuple[OnnxModel, ExportForm]) -> None:
    graph, form = named
    counts = Counter(value.name for node in graph.model.graph for value in node.outputs)
    assert max(counts.values()) == 1
    assert [tap.name for tap in graph.taps] == [tap.name for tap in form.taps()]
    assert {counts[tap.name] for tap in graph.taps} == {1}
    assert not set(graph.model.graph.initializers) & set(counts)


def test_nothing_but_the_module_is_noted(named: tuple[OnnxModel, ExportForm]) -> None:
    graph, _ = named
    model = graph.model
    assert all(set(node.metadata_props) == {MODULE_KEY} for node in model.graph)
    assert not any((node.doc_string, node.overload, node.domain) != (None, "", "") for node in model.graph)
    values = [*model.graph.inputs, *model.graph.initializers.values(), *(v for n in model.graph for v in n.outputs)]
    assert not any(value.metadata_props or value.doc_string for value in values)
    assert not any((model.metadata_props, model.graph.metadata_props, model.doc_string, model.graph.doc_string))
    assert (model.producer_name, model.producer_version, model.ir_version) == ("ftsf-export", None, 10)


def test_constants_that_are_no_weights_are_named_by_what_they_hold(named: tuple[OnnxModel, ExportForm]) -> None:
    graph, form = named
    own = {name for name, _ in (*form.named_parameters(), *form.named_buffers())}
    held: Counter[tuple[Any, ...]] = Counter()
    for name, value in graph.model.graph.initializers.items():
        if name not in own:
            assert name.startswith("const/")
            array = value.const_value.numpy()
            held[str(array.dtype), array.shape, array.tobytes()] += 1
    assert max(held.values()) == 1


def test_a_large_constant_is_named_by_a_digest() -> None:
    """At 448 px a mask has 785 entries, and TensorRT takes no name above 4096 characters."""
    graph = ir.Graph([], [], nodes=[], initializers=[])
    for name, last in (("a", 1), ("b", 1), ("c", 2)):
        tensor = ir.tensor(np.array([0] * 2000 + [last], np.int64), name=name)
        value = ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([2001]))
        value.const_value = tensor
        graph.initializers.add(value)
    name_all(graph, (), ())
    assert len(graph.initializers) == 2
    assert all(name.startswith("const/int64[2001]/") and len(name) < 100 for name in graph.initializers)


def test_islands_in_the_manifest(named: tuple[OnnxModel, ExportForm]) -> None:
    """One entry for the same module of all blocks, with the nodes of all of them."""
    graph, form = named
    modules = islands_of(form)
    expected = {re.sub(r"^blocks\.\d+\.", "blocks.*.", path): reason for path, reason in modules.items()}
    assert {island.scope: island.reason for island in graph.islands} == expected
    assert all(scope.startswith(("blocks.*.temporal.attn.core.", "blocks.*.spatial.attn.core.")) for scope in expected)
    for island in graph.islands:
        paths = [path for path in modules if Scope(island.scope).holds(path)]
        counts = [sum(Scope(path).holds(scope_of(node)) for node in graph.model.graph) for path in paths]
        assert min(counts) > 0
        assert island.nodes == sum(counts)
        assert len(island.reason) > 40


@pytest.mark.parametrize(
    ("name", "kept"), [("fastformer", {"Softmax"}), ("performer", {"Exp", "Div"}), ("regular", set())]
)
def test_what_is_kept_in_fp32(graph_of: Make, name: str, kept: set[str]) -> None:
    graph = graph_of(**MODELS[name])
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for node in graph.model.graph:
        island = any(Scope(island.scope).holds(scope_of(node)) for island in graph.islands)
        (inside if island else outside)[node.op_type] += 1
    assert kept <= set(inside)
    assert not kept & set(outside)
    # Products are what half precision is for.
    assert "MatMul" not in inside
    assert bool(inside) is bool(kept)


def relu(value: ir.Value, scope: str | None) -> ir.Node:
    """``scope`` as the exporter writes it: a list, from the root to the operation."""
    props = {} if scope is None else {"pkg.torch.onnx.name_scopes": scope, "pkg.torch.onnx.stack_trace": "File x.py"}
    node = ir.node("Relu", [value], metadata_props=props)
    node.outputs[0].name = f"of {scope}"
    return node


def chain(*scopes: str | None) -> ir.Graph:
    clip = ir.val("clip", ir.DataType.FLOAT, [2])
    nodes: list[ir.Node] = []
    for scope in scopes:
        nodes.append(relu(nodes[-1].outputs[0] if nodes else clip, scope))
    return ir.Graph([clip], nodes[-1].outputs, nodes=nodes, opset_imports={"": 20})


def test_a_node_without_a_scope_takes_its_users() -> None:
    """The exporter's optimizer forgets the scope of what it makes; stack traces go with all the rest."""
    graph = chain("['', 'a', 'a.b', 'relu']", None, None, "['', 'a', 'a.c', 'relu']", "['', 'relu']")
    keep_scopes_only(graph)
    assert [dict(node.metadata_props) for node in graph] == [{MODULE_KEY: m} for m in ("a.b", "a.c", "a.c", "a.c", "")]


def test_a_tap_is_the_one_value_that_leaves_its_module() -> None:
    graph = chain("['', 'a', 'relu']", "['', 'a', 'relu']", "['', 'b', 'relu']", "['', 'relu']")
    keep_scopes_only(graph)
    name_all(graph, ["a", "b"], ())
    assert [node.outputs[0].name for node in graph] == ["a/Relu", "a", "b", "of ['', 'relu']"]
    assert [node.name for node in graph] == ["a/Relu", "a/Relu_1", "b/Relu", "model/Relu"]


@pytest.mark.parametrize(("tap", "found"), [("c", "none"), ("a", "of .*, of .*")])
def test_a_tap_without_one_value_is_refused(tap: str, found: str) -> None:
    graph = chain("['', 'a', 'relu']", "['', 'b', 'relu']", "['', 'a', 'relu']", "['', 'relu']")
    keep_scopes_only(graph)
    with pytest.raises(ExportError, match=rf"tap {tap}: expected one value to leave the module, got {found}"):
        name_all(graph, [tap], ())
