"""Softmax attention with rotary positions in float64, word for word from the papers (Vaswani et al. 2017, section
3.2.1; Su et al. 2021, RoFormer, section 3.2)."""

from __future__ import annotations

import numpy as np

from ftsf_plugins.rotary import Rotation
from ftsf_plugins.stream import Floats, Stream


def rotary_attention(qkv_BSX: Floats, stream: Stream, rotary: Rotation | None) -> Floats:
    """Packed queries, keys, values (B, S, 3 * H * K) -> (B, S, H * K), before the output projection.

    For each group and head: softmax(q k^T / sqrt K) v, with q and k turned.
    """
    q, k, v = stream.parts(qkv_BSX.astype(np.float64), 3)
    if rotary is not None:
        q, k = rotary.turned(q), rotary.turned(k)
    logits = q @ k.swapaxes(-1, -2) * stream.width**-0.5
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return stream.flat(weights @ v)
