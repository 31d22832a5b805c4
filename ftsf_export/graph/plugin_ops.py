"""The operations that ``plugins/`` has kernels for, as they stand in the graph: nodes of the domain ``ftsf``.

Each comes with the same operation as a model-local function of standard operators, so that the file runs where no
plugin is. One function serves all attentions of a model, along time and along space: what differs between them is
inferred (the number of tokens) or an attribute that its body refers to (the orders of two transpositions). Two
functions that differ in their overload alone would be legal ONNX, but TensorRT's parser knows functions by name and
takes one for the other (seen with 1.7.1 for RTX, ``tests/unit/plugins/test_parser_order.py``).

``plugin_namespace`` tells TensorRT's parser where to look for the plugin; as an attribute of the node it must be one of
the function, too. Needs neither torch nor ftsf_plugins: a test compares names and order with the registrations there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftsf_export.network.operators import PLUGIN_DOMAIN

DOMAIN = PLUGIN_DOMAIN
DOMAIN_VERSION = 1
# What attentions of one model may differ in, and a body may not depend on but through a reference.
OWN_ATTRIBUTES = ("tokens", "along", "axes", "split_order", "merge_order")


@dataclass(frozen=True)
class PluginOp:
    """An operation as the graph knows it."""

    name: str  #: Of the operation, in the domain ``ftsf``.
    inputs: tuple[str, ...]  #: Their names, in order.
    half: tuple[str, ...]  #: Those of them that take the graph's precision; the others stay FP32.

    def stays_fp32(self, slot: int) -> bool:
        return self.inputs[slot] not in self.half


ADDITIVE = PluginOp("FtsfAdditiveAttention", ("qkv", "w_q", "w_k", "positions", "frequencies"), ("qkv",))
FAVOR = PluginOp("FtsfFavorAttention", ("qkv", "omega", "positions", "frequencies"), ("qkv", "omega"))
ROTARY = PluginOp("FtsfRotaryAttention", ("qkv", "positions", "frequencies"), ("qkv",))
PLUGIN_OPS = {op.name: op for op in (ADDITIVE, FAVOR, ROTARY)}
