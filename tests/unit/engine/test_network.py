"""Work of each kind of product, on stand-ins for the parsed network's layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_export.engine.network import products_of


class Layer:
    """What ``get_layer`` gives; ``products_of`` looks at it as the class of its kind."""

    def __init__(self, kind: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], **own: Any) -> None:
        self.type, self.name, self.num_inputs = SimpleNamespace(name=kind), "a/Node", len(inputs)
        self._tensors = [
            SimpleNamespace(name="x", shape=shape, dtype=SimpleNamespace(name="HALF")) for shape in (*inputs, output)
        ]
        self.__dict__.update(own)

    def get_input(self, index: int) -> Any:
        return self._tensors[index]

    def get_output(self, _index: int) -> Any:
        return self._tensors[-1]


KINDS = {name: type(name, (Layer,), {}) for name in ("Matrix", "Convolution", "Deconvolution", "Einsum")}
TRT = SimpleNamespace(
    MatrixOperation=SimpleNamespace(NONE=0, TRANSPOSE=1),
    IMatrixMultiplyLayer=KINDS["Matrix"],
    IConvolutionLayer=KINDS["Convolution"],
    IDeconvolutionLayer=KINDS["Deconvolution"],
    IEinsumLayer=KINDS["Einsum"],
)
PLAIN = {"op0": 0}


def flops(layer: Layer) -> int | None:
    network = SimpleNamespace(num_layers=1, get_layer=lambda _index: layer)
    (found,) = products_of(TRT, network)
    assert found.types == ("fp16",) * layer.num_inputs
    return found.flops


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Layer("MATRIX_MULTIPLY", [(2, 3, 5), (2, 5, 7)], (2, 3, 7), **PLAIN), 2 * 2 * 3 * 5 * 7),
        (Layer("MATRIX_MULTIPLY", [(5, 3), (5, 7)], (3, 7), op0=1), 2 * 3 * 5 * 7),
        (Layer("MATRIX_MULTIPLY", [(-1, 5), (5, 7)], (-1, 7), **PLAIN), None),
        # Queries (B, H, 3, 5), keys and values (B, H, 11, 5 and 7): scores, and their product with the values.
        (Layer("ATTENTION_INPUT", [(2, 4, 3, 5), (2, 4, 11, 5), (2, 4, 11, 7)], (2, 4, 3, 7)), 2 * 8 * 3 * 11 * 12),
        (
            Layer("CONVOLUTION", [(1, 6, 8, 8)], (1, 9, 4, 4), kernel_size_nd=(2, 2), num_groups=3),
            2 * (9 * 4 * 4) * (6 // 3) * 4,
        ),
        (
            Layer("DECONVOLUTION", [(1, 6, 4, 4)], (1, 9, 8, 8), kernel_size_nd=(2, 2), num_groups=1),
            2 * (6 * 4 * 4) * 9 * 4,
        ),
        (Layer("EINSUM", [(2, 3, 5), (5, 7)], (2, 3, 7), equation="bij,jk->bik"), 2 * 2 * 3 * 5 * 7),
    ],
)
def test_work(layer: Layer, expected: int | None) -> None:
    assert flops(layer) == expected


def test_only_products_are_told_and_attentions_by_their_nodes_name() -> None:
    layers = [Layer("ELEMENTWISE", [(1,)], (1,)), Layer("ATTENTION_INPUT", [(1, 1, 1, 1)] * 3, (1, 1, 1, 1))]
    layers[1].name = "a/Attention_AttentionInput"
    network = SimpleNamespace(num_layers=2, get_layer=lambda index: layers[index])
    (found,) = products_of(TRT, network)
    assert (found.node, found.kind) == ("a/Attention", "ATTENTION")
