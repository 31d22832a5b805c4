"""Exact rewrites, one a file: the equation in its docstring, its proof in float64 in ``tests/unit/graph/rewrite``.

A rewrite is known by its ``NAME``; forms ask whether the name is in the set that they were given.
"""

Rewrites = frozenset[str]

ALL: Rewrites = frozenset(
    {
        "additive-class",
        "additive-fusion",
        "attention-bias",
        "class-mean",
        "class-tail",
        "class-values",
        "favor-order",
        "geglu-split",
        "norm-affine",
        "pixel-normalisation",
        "qkv-apart",
        "regrouping",
        "rotation-halves",
        "softmax-scale",
        "temporal-fc",
    }
)
