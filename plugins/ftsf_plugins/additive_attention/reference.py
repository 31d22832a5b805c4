"""Additive attention in float64, word for word from the paper (Wu et al. 2021, Fastformer, section 3.1)."""

from __future__ import annotations

import numpy as np

from ftsf_plugins.rotary import Rotation
from ftsf_plugins.stream import Floats, Stream


def additive_attention(
    qkv_BSX: Floats, w_q_HK: Floats, w_k_HK: Floats, stream: Stream, rotary: Rotation | None
) -> Floats:
    """u of every token, before the output projection: packed queries, keys, values (B, S, 3 * H * K) -> (B, S, H * K).

    For each group and head: alpha = softmax_n(w_q . q_n / sqrt K), Q = sum_n alpha_n q_n, p_n = Q * k_n,
    beta = softmax_n(w_k . p_n / sqrt K), G = sum_n beta_n p_n, u_n = G * v_n, with q and k turned.
    """
    q, k, v = stream.parts(qkv_BSX.astype(np.float64), 3)
    if rotary is not None:
        q, k = rotary.turned(q), rotary.turned(k)
    weight_q, weight_k = (w.astype(np.float64)[:, None, :] for w in (w_q_HK, w_k_HK))
    alpha = _softmax((weight_q * q).sum(axis=-1, keepdims=True) * stream.width**-0.5)
    query = (alpha * q).sum(axis=-2, keepdims=True)
    p = query * k
    beta = _softmax((weight_k * p).sum(axis=-1, keepdims=True) * stream.width**-0.5)
    key = (beta * p).sum(axis=-2, keepdims=True)
    return stream.flat(key * v)


def _softmax(logits: Floats) -> Floats:
    """Over the tokens of (..., N, 1)."""
    exponentials: Floats = np.exp(logits - logits.max(axis=-2, keepdims=True))
    shares: Floats = exponentials / exponentials.sum(axis=-2, keepdims=True)
    return shares
