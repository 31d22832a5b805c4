"""FAVOR+ as one Triton kernel: no feature map, no rotated query and no N x N weight ever leaves the chip.

Letters: B clips, G groups that attend apart, N tokens that attend to each other, H heads, K head width, I = K / 2,
M features, R rows of a tile, V columns of the values that one program takes.

With E(x) = exp(omega x' - |x'|^2 / 2 - s), phi = E + eps, and s a maximum that is known only at the end, sums over E are
kept relative to the maximum so far and scaled when it grows, as in an online softmax; eps, which has another scale, is
added when the maximum is known. Two orders of the same products:

- ``favor_short_kernel``, (phi(q) phi(k)^T) v: all rows of some groups in one tile, features in sweeps. Cheaper where
  N < 2 M K / (M + K), and short sequences share the tile.
- ``favor_long_kernel``, phi(q) (phi(k)^T v): phi(k)^T v (M, V) stays on the chip while the tokens pass, for any N.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ftsf_plugins.pairs import cosine_sine_of, load_pairs, turned


@triton.jit
def load_turned(
    rows, mask, positions, frequencies, token, tokens,
    WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """Rows (R,) of queries or keys, turned: first and second members (R, I) and |x'|^2 / 2 (R,)."""
    first, second = load_pairs(rows[:, None], mask[:, None], WIDTH, HALVES, BLOCK_PAIRS)
    if AXES > 0:
        cos, sin = cosine_sine_of(positions, frequencies, token, tokens, WIDTH, AXES, BLOCK_PAIRS)
        first, second = turned(first, second, cos, sin)
    return first, second, tl.sum(first * first + second * second, axis=1) * (0.5 * WIDTH**-0.5)


@triton.jit
def load_omega(
    omega, feature, features, WIDTH: tl.constexpr, HALVES: tl.constexpr, BLOCK_PAIRS: tl.constexpr
):  # fmt: skip
    """Columns (I, features of the sweep) for the first and for the second members."""
    kind: tl.constexpr = omega.dtype.element_ty
    first, second = load_pairs(
        omega + feature[:, None] * WIDTH, (feature < features)[:, None], WIDTH, HALVES, BLOCK_PAIRS
    )
    return tl.trans(first.to(kind)), tl.trans(second.to(kind))


@triton.jit
def product(x, omega, total):
    """total + x @ omega, with FP32 ``x`` of which nothing is lost: in half precision its rest is a second product."""
    kind: tl.constexpr = omega.dtype
    high = x.to(kind)
    total = tl.dot(high, omega, total, input_precision="ieee")
    if kind != tl.float32:
        total = tl.dot((x - high.to(tl.float32)).to(kind), omega, total, input_precision="ieee")
    return total


@triton.jit
def project(first, second, omega_first, omega_second, WIDTH: tl.constexpr, EXACT: tl.constexpr):
    """omega x' of rows (R, I) + (R, I): (R, features of the sweep). EXACT: the rows are numbers of omega's type."""
    total = tl.zeros([first.shape[0], omega_first.shape[1]], tl.float32)
    if EXACT:
        kind: tl.constexpr = omega_first.dtype
        total = tl.dot(first.to(kind), omega_first, total, input_precision="ieee")
        total = tl.dot(second.to(kind), omega_second, total, input_precision="ieee")
    else:
        total = product(first, omega_first, total)
        total = product(second, omega_second, total)
    return total * WIDTH**-0.25


@triton.jit
def group_maximum(x, BLOCK_GROUPS: tl.constexpr, BLOCK_TOKENS: tl.constexpr):
    """(G * N,) -> (G * N,): each group's maximum in each of its places."""
    top = tl.max(tl.reshape(x, [BLOCK_GROUPS, BLOCK_TOKENS]), axis=1, keep_dims=True)
    return tl.reshape(tl.broadcast_to(top, [BLOCK_GROUPS, BLOCK_TOKENS]), [BLOCK_GROUPS * BLOCK_TOKENS])


@triton.jit
def favor_short_kernel(
    qkv, omega, positions, frequencies, sequences, groups, tokens, features,
    qkv_batch_stride, qkv_group_stride, qkv_token_stride, out_batch_stride, out_group_stride, out_token_stride, out,
    EPS: tl.constexpr, RELU: tl.constexpr, WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr,
    BLOCK_GROUPS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """All tokens (at most BLOCK_TOKENS) of BLOCK_GROUPS of the B * G sequences (first grid axis), one head (second).

    Args:
        qkv, out: packed (B, S, 3 * H * K) and (B, S, H * K), FP32, FP16 or BF16; strides in elements, last one 1.
        omega: (M, K) of the same type, no gaps, without the factor K^(-1/4).
        positions, frequencies: (N, A) and (A, K / 2), FP32, turns (see ``ftsf_plugins.rotary``); not read if AXES is 0.
    """
    kind: tl.constexpr = qkv.dtype.element_ty
    head = tl.program_id(1)
    inner = tl.num_programs(1) * WIDTH
    row = tl.arange(0, BLOCK_GROUPS * BLOCK_TOKENS)
    token, place = row % BLOCK_TOKENS, row // BLOCK_TOKENS
    sequence = tl.program_id(0) * BLOCK_GROUPS + place
    mask = (sequence < sequences) & (token < tokens)
    batch, group = (sequence // groups).to(tl.int64), sequence % groups
    rows = qkv + batch * qkv_batch_stride + group * qkv_group_stride + token * qkv_token_stride + head * WIDTH
    q_first, q_second, q_half = load_turned(
        rows, mask, positions, frequencies, token, tokens, WIDTH, AXES, HALVES, BLOCK_PAIRS
    )
    k_first, k_second, k_half = load_turned(
        rows + inner, mask, positions, frequencies, token, tokens, WIDTH, AXES, HALVES, BLOCK_PAIRS
    )
    q_top = tl.full(row.shape, float("-inf"), tl.float32)
    k_top = tl.full(row.shape, float("-inf"), tl.float32)
    q_sum = tl.zeros(row.shape, tl.float32)
    k_sum = tl.zeros(row.shape, tl.float32)
    weights = tl.zeros([BLOCK_GROUPS * BLOCK_TOKENS, BLOCK_GROUPS * BLOCK_TOKENS], tl.float32)
    for start in range(0, features, BLOCK_FEATURES):
        feature = start + tl.arange(0, BLOCK_FEATURES)
        there = (feature < features)[None, :]
        omega_first, omega_second = load_omega(omega, feature, features, WIDTH, HALVES, BLOCK_PAIRS)
        q_features = project(q_first, q_second, omega_first, omega_second, WIDTH, AXES == 0)
        k_features = project(k_first, k_second, omega_first, omega_second, WIDTH, AXES == 0)
        if RELU:
            q_phi = tl.where(there, tl.maximum(q_features, 0.0) + EPS, 0.0).to(kind)
            k_phi = tl.where(there, tl.maximum(k_features, 0.0) + EPS, 0.0).to(kind)
        else:
            q_features = tl.where(there, q_features, float("-inf"))
            k_features = tl.where(there & (token < tokens)[:, None], k_features, float("-inf"))
            q_new = tl.maximum(q_top, tl.max(q_features, axis=1))
            k_new = tl.maximum(k_top, group_maximum(tl.max(k_features, axis=1), BLOCK_GROUPS, BLOCK_TOKENS))
            q_kept, k_kept = tl.exp(q_top - q_new), tl.exp(k_top - k_new)
            q_phi = tl.exp(q_features - (q_half + q_new)[:, None]).to(kind)
            k_phi = tl.exp(k_features - (k_half + k_new)[:, None]).to(kind)
            q_sum = q_sum * q_kept + tl.sum(q_phi.to(tl.float32), axis=1)
            k_sum = k_sum * k_kept + tl.sum(k_phi.to(tl.float32), axis=1)
            weights = weights * q_kept[:, None] * k_kept[None, :]
            q_top, k_top = q_new, k_new
        weights = tl.dot(q_phi, tl.trans(k_phi), weights, input_precision="ieee")
    if not RELU:
        # sum_m (E_q + eps)(E_k + eps), once the maxima are known.
        weights += EPS * (q_sum[:, None] + k_sum[None, :]) + EPS * EPS * features
    weights = tl.where((place[:, None] == place[None, :]) & (token < tokens)[None, :], weights, 0.0)
    weights = weights / tl.sum(weights, axis=1)[:, None]
    column = tl.arange(0, 2 * BLOCK_PAIRS)[None, :]
    inside = mask[:, None] & (column < WIDTH)
    values = tl.load((rows + 2 * inner)[:, None] + column, mask=inside, other=0.0)
    mixed = tl.dot(weights.to(kind), values, input_precision="ieee")
    at = out + batch * out_batch_stride + group * out_group_stride + token * out_token_stride + head * WIDTH
    tl.store(at[:, None] + column, mixed.to(kind), mask=inside)


@triton.jit
def favor_long_kernel(
    qkv, omega, positions, frequencies, groups, tokens, features,
    qkv_batch_stride, qkv_group_stride, qkv_token_stride, out_batch_stride, out_group_stride, out_token_stride, out,
    EPS: tl.constexpr, RELU: tl.constexpr, WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, SWEEPS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
    BLOCK_VALUES: tl.constexpr,
):  # fmt: skip
    """One sequence (first grid axis), one head (second), BLOCK_VALUES columns of its values (third).

    SWEEPS * BLOCK_FEATURES is at least M. The other arguments are those of ``favor_short_kernel``.
    """
    kind: tl.constexpr = qkv.dtype.element_ty
    inner = tl.num_programs(1) * WIDTH
    batch, group = (tl.program_id(0) // groups).to(tl.int64), tl.program_id(0) % groups
    base = qkv + batch * qkv_batch_stride + group * qkv_group_stride + tl.program_id(1) * WIDTH
    column = (tl.program_id(2) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES))[None, :]

    omegas = ()
    keyed = ()  # phi(k)^T v, (features of a sweep, V) each
    totals = ()  # sum_n phi(k_n), (features of a sweep,) each
    for sweep in tl.static_range(SWEEPS):
        feature = sweep * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
        omegas = omegas + (load_omega(omega, feature, features, WIDTH, HALVES, BLOCK_PAIRS),)
        keyed = keyed + (tl.zeros([BLOCK_FEATURES, BLOCK_VALUES], tl.float32),)
        totals = totals + (tl.zeros([BLOCK_FEATURES], tl.float32),)
    top = tl.full([1], float("-inf"), tl.float32)
    value_sum = tl.zeros([BLOCK_VALUES], tl.float32)
    for start in range(0, tokens, BLOCK_TOKENS):
        token = start + tl.arange(0, BLOCK_TOKENS)
        mask = token < tokens
        rows = base + inner + token * qkv_token_stride
        first, second, half = load_turned(
            rows, mask, positions, frequencies, token, tokens, WIDTH, AXES, HALVES, BLOCK_PAIRS
        )
        values = tl.load((rows + inner)[:, None] + column, mask=mask[:, None] & (column < WIDTH), other=0.0)
        projected, block_top = project_all(
            first, second, mask, omegas, features, WIDTH, AXES == 0, BLOCK_FEATURES, SWEEPS
        )
        new_top = tl.maximum(top, tl.max(block_top, axis=0))
        kept = tl.exp(top - new_top)
        grown_keyed = ()
        grown_totals = ()
        for sweep in tl.static_range(SWEEPS):
            there = mask[:, None] & (projected[sweep] > float("-inf"))
            if RELU:
                phi = tl.where(there, tl.maximum(projected[sweep], 0.0) + EPS, 0.0).to(kind)
                old_keyed, old_total = keyed[sweep], totals[sweep]
            else:
                phi = tl.where(there, tl.exp(projected[sweep] - half[:, None] - new_top[:, None]), 0.0).to(kind)
                old_keyed, old_total = keyed[sweep] * kept[:, None], totals[sweep] * kept
            grown_keyed = grown_keyed + (tl.dot(tl.trans(phi), values, old_keyed, input_precision="ieee"),)
            grown_totals = grown_totals + (old_total + tl.sum(phi.to(tl.float32), axis=0),)
        keyed, totals, top = grown_keyed, grown_totals, new_top
        value_sum += tl.sum(values.to(tl.float32), axis=0)

    # Sums over many tokens would leave half precision's range: means do not.
    mean_keyed = ()
    mean_totals = ()
    for sweep in tl.static_range(SWEEPS):
        floor = EPS * (sweep * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES) < features)
        if RELU:
            floor = floor * 0.0
        mean_keyed = mean_keyed + (((keyed[sweep] + floor[:, None] * value_sum[None, :]) / tokens).to(kind),)
        mean_totals = mean_totals + (totals[sweep] / tokens + floor,)
    out_base = out + batch * out_batch_stride + group * out_group_stride + tl.program_id(1) * WIDTH
    for start in range(0, tokens, BLOCK_TOKENS):
        token = start + tl.arange(0, BLOCK_TOKENS)
        mask = token < tokens
        first, second, half = load_turned(
            base + token * qkv_token_stride, mask, positions, frequencies, token, tokens,
            WIDTH, AXES, HALVES, BLOCK_PAIRS,
        )  # fmt: skip
        projected, row_top = project_all(
            first, second, mask, omegas, features, WIDTH, AXES == 0, BLOCK_FEATURES, SWEEPS
        )
        mixed = tl.zeros([BLOCK_TOKENS, BLOCK_VALUES], tl.float32)
        total = tl.zeros([BLOCK_TOKENS], tl.float32)
        for sweep in tl.static_range(SWEEPS):
            if RELU:
                phi = (tl.maximum(projected[sweep], 0.0) + EPS).to(kind)
            else:
                phi = (tl.exp(projected[sweep] - (half + row_top)[:, None]) + EPS).to(kind)
            mixed = tl.dot(phi, mean_keyed[sweep], mixed, input_precision="ieee")
            total += tl.sum(phi.to(tl.float32) * mean_totals[sweep][None, :], axis=1)
        at = (out_base + token * out_token_stride)[:, None] + column
        tl.store(at, (mixed / total[:, None]).to(kind), mask=mask[:, None] & (column < WIDTH))


@triton.jit
def project_all(
    first, second, mask, omegas, features,
    WIDTH: tl.constexpr, EXACT: tl.constexpr, BLOCK_FEATURES: tl.constexpr, SWEEPS: tl.constexpr,
):  # fmt: skip
    """omega x' of all sweeps, -inf beyond the features, and each row's maximum (R,), -inf where ``mask`` is false."""
    projected = ()
    top = tl.full([first.shape[0]], float("-inf"), tl.float32)
    for sweep in tl.static_range(SWEEPS):
        there = sweep * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES) < features
        x = project(first, second, omegas[sweep][0], omegas[sweep][1], WIDTH, EXACT)
        x = tl.where(there[None, :], x, float("-inf"))
        projected = projected + (x,)
        top = tl.maximum(top, tl.max(x, axis=1))
    return projected, tl.where(mask, top, float("-inf"))
