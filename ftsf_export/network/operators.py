"""Which operators a graph of ours may have. Whoever writes a graph and whoever reads one ask here.

Each gives tensors whose shapes follow from the shapes that go in, after work that follows from them too. So a graph of
such nodes ends, and what it takes can be told beforehand. There is no control flow, no graph within a graph, no
sequence, no shape that depends on values, no random number, and no operator of somebody else's.
"""

from __future__ import annotations

STANDARD_DOMAINS = ("", "ai.onnx")
# Of the nodes that plugins compute; each has a function of standard operators in the file.
PLUGIN_DOMAIN = "ftsf"
# Of onnx.ai/onnx/operators: more than today's exports write, so that another version of the converter may choose a
# neighbour of what this one chooses.
_POINTWISE = """
    Abs Add And BitShift Cast CastLike Ceil Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal
    Relu Round Selu Sigmoid Sign Sin Softplus Sqrt Sub Sum Swish Tanh Where Xor
"""
_PRODUCTS = "Attention Conv ConvTranspose Einsum Gemm MatMul RotaryEmbedding"
_ALONG_AXES = """
    ArgMax ArgMin CumSum LayerNormalization LogSoftmax LpNormalization MeanVarianceNormalization RMSNormalization
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Softmax
"""
_PLACES = """
    Concat Constant DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape Slice SpaceToDepth Split
    Squeeze Tile Transpose Trilu Unsqueeze
"""
_EIGHT_BITS = "DequantizeLinear QuantizeLinear"
OPERATORS = frozenset(" ".join((_POINTWISE, _PRODUCTS, _ALONG_AXES, _PLACES, _EIGHT_BITS)).split())


def operator_problem(domain: str, operation: str) -> str:
    """Why no graph of ours has such a node, or "". One of the plugins' domain is ours if the file has its function."""
    if domain in (*STANDARD_DOMAINS, PLUGIN_DOMAIN):
        return "" if domain == PLUGIN_DOMAIN or operation in OPERATORS else f"no export has the operator {operation}"
    return f"the operator {domain}.{operation} is not a standard one"
