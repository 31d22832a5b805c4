"""One attention with inputs for the rig: its node's attributes, its tensors, and what should come out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftsf_plugins.additive_attention.reference import additive_attention
from ftsf_plugins.favor_attention.reference import favor_attention
from ftsf_plugins.rotary import Rotation
from ftsf_plugins.rotary_attention.reference import rotary_attention
from ftsf_plugins.stream import Stream

Array = np.ndarray[Any, Any]
# Sizes that no kernel is compiled for: fewer frames, tokens and heads than those of ``scripts/build-plugins``.
FRAMES, TOKENS, HEADS, WIDTH, FEATURES, EPS = 5, 66, 1, 64, 266, 1e-4
AXES = {"time": 1, "space": 2}


class Attention:
    """``along``: "time" or "space". Inputs are half precision where the plugin's stream is."""

    def __init__(self, name: str, along: str) -> None:
        self.name = name
        self.stream = Stream(FRAMES, TOKENS, HEADS, WIDTH, along)  # type: ignore[arg-type]
        self.attributes: dict[str, Any] = {
            "frames": FRAMES, "tokens": TOKENS, "heads": HEADS, "width": WIDTH, "along": along, "axes": AXES[along],
            "pairs": "neighbours",
        }  # fmt: skip
        if name == "FtsfFavorAttention":
            self.attributes |= {"features": FEATURES, "eps": EPS, "feature": "softmax"}
        rng, axes = np.random.default_rng(3), AXES[along]
        self._tables = [
            rng.normal(size=(self.stream.attending, axes)).astype(np.float32),
            rng.normal(size=(axes, WIDTH // 2)).astype(np.float32),
        ]
        if name == "FtsfFavorAttention":
            self._weights: list[Array] = [rng.normal(size=(FEATURES, WIDTH)).astype(np.float16)]
        elif name == "FtsfRotaryAttention":
            self._weights = []
        else:
            self._weights = [rng.normal(size=(HEADS, WIDTH)).astype(np.float32) for _ in "qk"]

    def inputs(self, batch: int) -> list[Array]:
        """In the plugin's order, the packed stream first; fresh for each batch."""
        shape = (batch, FRAMES * TOKENS, 3 * self.stream.inner)
        return [np.random.default_rng(batch).normal(size=shape).astype(np.float16), *self._weights, *self._tables]

    def out_shape(self, batch: int) -> tuple[int, ...]:
        return batch, FRAMES * TOKENS, self.stream.inner

    def worst(self, out: Array, inputs: list[Array]) -> float:
        """Relative L2 error of the worst head of the worst group; infinite where anything is not a number."""
        double, rotary = inputs[0].astype(np.float64), Rotation(self._tables[0], self._tables[1])
        if self.name == "FtsfFavorAttention":
            omega = self._weights[0].astype(np.float64)
            expected = favor_attention(double, omega, self.stream, rotary, eps=EPS)
        elif self.name == "FtsfRotaryAttention":
            expected = rotary_attention(double, self.stream, rotary)
        else:
            expected = additive_attention(double, self._weights[0], self._weights[1], self.stream, rotary)
        (got,), (wanted,) = self.stream.parts(out, 1), self.stream.parts(expected, 1)
        error = np.linalg.norm(got - wanted, axis=(-2, -1)) / np.linalg.norm(wanted, axis=(-2, -1))
        return float(error.max()) if np.isfinite(error).all() else float("inf")
