"""FAVOR+ in float64, word for word from the paper (Choromanski et al. 2020, section 2)."""

from __future__ import annotations

import numpy as np

from ftsf_plugins.rotary import Rotation
from ftsf_plugins.stream import Floats, Stream


def favor_attention(
    qkv_BSX: Floats, omega_MK: Floats, stream: Stream, rotary: Rotation | None, *, eps: float, feature: str = "softmax"
) -> Floats:
    """Packed queries, keys, values (B, S, 3 * H * K) -> (B, S, H * K), before the output projection.

    For each group and head: phi(q) (phi(k)^T v) / (phi(q) sum_n phi(k_n)), q and k turned, omega's rows given without
    the factor K^(-1/4).

    feature="softmax": phi(x) = exp(omega x' - |x'|^2 / 2 - s) + eps with x' = x / K^(1/4) and s the maximum of omega x'
    over the features (queries), over features and tokens (keys). "relu": phi(x) = max(omega x', 0) + eps. The paper's
    factor M^(-1/2) cancels.
    """
    q, k, v = stream.parts(qkv_BSX.astype(np.float64), 3)
    if rotary is not None:
        q, k = rotary.turned(q), rotary.turned(k)
    omega = omega_MK.astype(np.float64)
    phi_q = _features(q, omega, (-1,), eps, feature)
    phi_k = _features(k, omega, (-1, -2), eps, feature)
    numerator = phi_q @ (phi_k.swapaxes(-1, -2) @ v)
    denominator = phi_q @ phi_k.sum(axis=-2)[..., None]
    return stream.flat(numerator / denominator)


def _features(x: Floats, omega_MK: Floats, over: tuple[int, ...], eps: float, feature: str) -> Floats:
    """phi without M^(-1/2): (..., N, K) -> (..., N, M)."""
    if feature not in ("softmax", "relu"):
        raise ValueError(f"feature: expected 'softmax' or 'relu', got {feature!r}")
    x = x * x.shape[-1] ** -0.25
    projected: Floats = x @ omega_MK.T
    if feature == "relu":
        return np.maximum(projected, 0) + eps
    half_square = (x * x).sum(axis=-1, keepdims=True) / 2
    features: Floats = np.exp(projected - half_square - projected.max(axis=over, keepdims=True)) + eps
    return features
