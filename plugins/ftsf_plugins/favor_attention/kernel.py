"""FAVOR+ as one Triton kernel: no feature map, no rotated query and no N x N weight ever leaves the chip.

Letters: B clips, G groups that attend apart, N tokens that attend to each other, H heads, K head width, I = K / 2,
M features, R rows of a tile, V columns of the values that one program takes.

With E(x) = exp(omega x' - |x'|^2 / 2 - s), phi = E + eps, and s a maximum that is known only at the end, sums over E
are kept relative to the maximum so far and scaled when it grows, as in an online softmax; eps, which has another
scale, is added when the maximum is known. Two orders of the same products:

- ``favor_short_kernel``, (phi(q) phi(k)^T) v: all rows of some groups in one tile, features in sweeps. Cheaper where
  N < 2 M K / (M + K), and short sequences share the tile.
- ``favor_long_kernel``, phi(q) (phi(k)^T v): phi(k)^T v (M, V) stays on the chip while the tokens pass, for any N.
"""

# Device functions are typed by Triton when it compiles them; it grows tuples by adding to them.
# mypy: ignore-errors
# ruff: noqa: RUF005

from __future__ import annotations

import triton
import triton.language as tl

from ftsf_plugins.pairs import load_frequencies, load_pairs, load_turned


@triton.jit
def half_square(first, second, WIDTH: tl.constexpr):
    """|x'|^2 / 2 (R,) of tokens, first and second members (R, I)."""
    return tl.sum(first * first + second * second, axis=1) * (0.5 * WIDTH**-0.5)


@triton.jit
def load_omega(
    omega, feature, features, WIDTH: tl.constexpr, HALVES: tl.constexpr, BLOCK_PAIRS: tl.constexpr
):  # fmt: skip
    """Rows of omega, (features of the sweep, I), what meets the first and what meets the second members; 0 beyond M."""
    kind: tl.constexpr = omega.dtype.element_ty
    first, second = load_pairs(
        omega + feature[:, None] * WIDTH, (feature < features)[:, None], WIDTH, HALVES, BLOCK_PAIRS
    )
    return first.to(kind), second.to(kind)


@triton.jit
def add_product(total, left, right, kind: tl.constexpr, EXACT: tl.constexpr):
    """total + left @ right, one of them omega in its type, ``kind``, the other tokens in FP32. Nothing of them is lost:
    what half precision leaves of them is a second product. EXACT: the tokens are numbers of that type anyway."""
    high_left, high_right = left.to(kind), right.to(kind)
    total = tl.dot(high_left, high_right, total, input_precision="ieee")
    if not EXACT and kind != tl.float32:
        if left.dtype == tl.float32:
            total = tl.dot((left - high_left.to(tl.float32)).to(kind), high_right, total, input_precision="ieee")
        else:
            total = tl.dot(high_left, (right - high_right.to(tl.float32)).to(kind), total, input_precision="ieee")
    return total


@triton.jit
def project(
    left_first, left_second, right_first, right_second, kind: tl.constexpr, WIDTH: tl.constexpr, EXACT: tl.constexpr
):  # fmt: skip
    """omega x', first members and second members: tokens (R, I) by omega (I, features), or the reverse."""
    total = tl.zeros([left_first.shape[0], right_first.shape[1]], tl.float32)
    total = add_product(total, left_first, right_first, kind, EXACT)
    total = add_product(total, left_second, right_second, kind, EXACT)
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
    frequency_rows = load_frequencies(frequencies, WIDTH, AXES, BLOCK_PAIRS)
    q_first, q_second = load_turned(
        rows, mask, positions, frequency_rows, token, tokens, WIDTH, AXES, HALVES, BLOCK_PAIRS
    )
    k_first, k_second = load_turned(
        rows + inner, mask, positions, frequency_rows, token, tokens, WIDTH, AXES, HALVES, BLOCK_PAIRS
    )
    q_half, k_half = half_square(q_first, q_second, WIDTH), half_square(k_first, k_second, WIDTH)
    q_top = tl.full(row.shape, float("-inf"), tl.float32)
    k_top = tl.full(row.shape, float("-inf"), tl.float32)
    q_sum = tl.zeros(row.shape, tl.float32)
    k_sum = tl.zeros(row.shape, tl.float32)
    weights = tl.zeros([BLOCK_GROUPS * BLOCK_TOKENS, BLOCK_GROUPS * BLOCK_TOKENS], tl.float32)
    for start in range(0, features, BLOCK_FEATURES):
        feature = start + tl.arange(0, BLOCK_FEATURES)
        there = (feature < features)[None, :]
        omega_first, omega_second = load_omega(omega, feature, features, WIDTH, HALVES, BLOCK_PAIRS)
        omega_first, omega_second = tl.trans(omega_first), tl.trans(omega_second)
        q_features = project(q_first, q_second, omega_first, omega_second, kind, WIDTH, AXES == 0)
        k_features = project(k_first, k_second, omega_first, omega_second, kind, WIDTH, AXES == 0)
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
    BLOCK_TOKENS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, BLOCK_LAST: tl.constexpr, SWEEPS: tl.constexpr,
    BLOCK_PAIRS: tl.constexpr, BLOCK_VALUES: tl.constexpr, HELD: tl.constexpr,
):  # fmt: skip
    """One sequence (first grid axis), one head (second), BLOCK_VALUES columns of its values (third).

    The features come in SWEEPS sweeps of BLOCK_FEATURES, the last one of BLOCK_LAST. HELD: omega stays in shared
    memory; else it is loaded anew for each tile of tokens. The other arguments are those of ``favor_short_kernel``.
    """
    kind: tl.constexpr = qkv.dtype.element_ty
    inner = tl.num_programs(1) * WIDTH
    batch, group = (tl.program_id(0) // groups).to(tl.int64), tl.program_id(0) % groups
    base = qkv + batch * qkv_batch_stride + group * qkv_group_stride + tl.program_id(1) * WIDTH
    column = (tl.program_id(2) * BLOCK_VALUES + tl.arange(0, BLOCK_VALUES))[None, :]

    frequency_rows = load_frequencies(frequencies, WIDTH, AXES, BLOCK_PAIRS)
    omegas = ()
    keyed = ()  # sum_n E(k_n)^T v_n, (features of a sweep, V) each
    totals = ()  # sum_n E(k_n), (features of a sweep,) each
    tops = ()  # what E(k) is relative to, (features of a sweep,) each: features are apart until all keys have passed
    for _ in tl.static_range(SWEEPS - 1):
        keyed = keyed + (tl.zeros([BLOCK_FEATURES, BLOCK_VALUES], tl.float32),)
    keyed = keyed + (tl.zeros([BLOCK_LAST, BLOCK_VALUES], tl.float32),)
    for sweep in tl.static_range(SWEEPS):
        totals = totals + (tl.zeros([keyed[sweep].shape[0]], tl.float32),)
        tops = tops + (tl.full([keyed[sweep].shape[0]], float("-inf"), tl.float32),)
        if HELD:
            feature = sweep * BLOCK_FEATURES + tl.arange(0, keyed[sweep].shape[0])
            omegas = omegas + (load_omega(omega, feature, features, WIDTH, HALVES, BLOCK_PAIRS),)
    value_sum = tl.zeros([BLOCK_VALUES], tl.float32)
    for start in range(0, tokens, BLOCK_TOKENS):
        token = start + tl.arange(0, BLOCK_TOKENS)
        mask = token < tokens
        rows = base + inner + token * qkv_token_stride
        first, second = load_turned(
            rows, mask, positions, frequency_rows, token, tokens, WIDTH, AXES, HALVES, BLOCK_PAIRS
        )
        half = half_square(first, second, WIDTH)
        values = tl.load((rows + inner)[:, None] + column, mask=mask[:, None] & (column < WIDTH), other=0.0)
        first, second = tl.trans(first), tl.trans(second)
        grown_keyed = ()
        grown_totals = ()
        grown_tops = ()
        for sweep in tl.static_range(SWEEPS):
            if HELD:
                omega_first, omega_second = omegas[sweep]
            else:
                # start is never negative: it keeps the addresses of all sweeps from being held in registers.
                row = sweep * BLOCK_FEATURES + tl.minimum(start, 0) + tl.arange(0, keyed[sweep].shape[0])
                omega_first, omega_second = load_omega(omega, row, features, WIDTH, HALVES, BLOCK_PAIRS)
            projected = project(omega_first, omega_second, first, second, kind, WIDTH, AXES == 0)
            if RELU:
                new_top, kept = tops[sweep], tl.full(tops[sweep].shape, 1.0, tl.float32)
                phi = tl.where(mask[None, :], tl.maximum(projected, 0.0) + EPS, 0.0)
            else:
                projected = tl.where(mask[None, :], projected, float("-inf"))
                new_top = tl.maximum(tops[sweep], tl.max(projected, axis=1))
                kept = tl.exp(tops[sweep] - new_top)
                phi = tl.exp(projected - half[None, :] - new_top[:, None])
            phi = phi.to(kind)
            grown = tl.dot(phi, values, keyed[sweep] * kept[:, None], input_precision="ieee")
            grown_keyed = grown_keyed + (grown,)
            grown_totals = grown_totals + (totals[sweep] * kept + tl.sum(phi.to(tl.float32), axis=1),)
            grown_tops = grown_tops + (new_top,)
        # Last, where fewer registers are in use: earlier, the kernel spills.
        value_sum += tl.sum(values.to(tl.float32), axis=0)
        keyed, totals, tops = grown_keyed, grown_totals, grown_tops

    # Now the keys' maximum over features and tokens is known: phi = E + eps for the features that there are, 0 beyond.
    top = tl.full([1], float("-inf"), tl.float32)
    for sweep in tl.static_range(SWEEPS):
        listed = sweep * BLOCK_FEATURES + tl.arange(0, keyed[sweep].shape[0]) < features
        top = tl.maximum(top, tl.max(tl.where(listed, tops[sweep], float("-inf")), axis=0))
    # A query's feature weighs the mean of the values that the keys gave it, phi(k)^T v / sum phi(k), which is as large
    # as a value, by its share of all keys: half precision holds both, whatever phi's scale and the number of tokens.
    means = ()
    shares = ()
    most = tl.zeros([1], tl.float32)
    for sweep in tl.static_range(SWEEPS):
        listed = sweep * BLOCK_FEATURES + tl.arange(0, keyed[sweep].shape[0]) < features
        if RELU:
            total_phi, sum_phi = totals[sweep], keyed[sweep]
        else:
            scale = tl.exp(tl.minimum(tops[sweep] - top, 0.0))
            total_phi, sum_phi = totals[sweep] * scale + EPS * tokens, keyed[sweep] * scale[:, None]
            sum_phi += EPS * value_sum[None, :]
        means = means + ((sum_phi / total_phi[:, None]).to(kind),)
        shares = shares + (tl.where(listed, total_phi, 0.0),)
        most = tl.maximum(most, tl.max(shares[sweep], axis=0))
    floor_mixed = tl.zeros([BLOCK_VALUES], tl.float32)
    floor_total = tl.zeros([1], tl.float32)
    weights = ()
    for sweep in tl.static_range(SWEEPS):
        weight = shares[sweep] / most
        weights = weights + (weight,)
        floor_mixed += EPS * tl.sum(weight[:, None] * means[sweep].to(tl.float32), axis=0)
        floor_total += EPS * tl.sum(weight, axis=0)
    out_base = out + batch * out_batch_stride + group * out_group_stride + tl.program_id(1) * WIDTH
    for start in range(0, tokens, BLOCK_TOKENS):
        token = start + tl.arange(0, BLOCK_TOKENS)
        mask = token < tokens
        first, second = load_turned(
            base + token * qkv_token_stride, mask, positions, frequency_rows, token, tokens,
            WIDTH, AXES, HALVES, BLOCK_PAIRS,
        )  # fmt: skip
        half = half_square(first, second, WIDTH)
        first, second = tl.trans(first), tl.trans(second)
        row_top = tl.full([BLOCK_TOKENS], float("-inf"), tl.float32)
        mixed = tl.zeros([BLOCK_TOKENS, BLOCK_VALUES], tl.float32)
        total = tl.zeros([BLOCK_TOKENS], tl.float32)
        for sweep in tl.static_range(SWEEPS):
            if HELD:
                omega_first, omega_second = omegas[sweep]
            else:
                # start is never negative: it keeps the addresses of all sweeps from being held in registers.
                row = sweep * BLOCK_FEATURES + tl.minimum(start, 0) + tl.arange(0, keyed[sweep].shape[0])
                omega_first, omega_second = load_omega(omega, row, features, WIDTH, HALVES, BLOCK_PAIRS)
            q_projected = project(omega_first, omega_second, first, second, kind, WIDTH, AXES == 0)
            if RELU:
                q_phi = tl.maximum(q_projected, 0.0)
            else:
                there = sweep * BLOCK_FEATURES + tl.arange(0, keyed[sweep].shape[0]) < features
                q_projected = tl.where(there[:, None], q_projected, float("-inf"))
                new_row_top = tl.maximum(row_top, tl.max(q_projected, axis=0))
                row_kept = tl.exp(row_top - new_row_top)
                q_phi = tl.exp(q_projected - (half + new_row_top)[None, :])
                mixed, total, row_top = mixed * row_kept[:, None], total * row_kept, new_row_top
            q_phi = (q_phi * weights[sweep][:, None]).to(kind)
            mixed = tl.dot(tl.trans(q_phi), means[sweep], mixed, input_precision="ieee")
            total += tl.sum(q_phi.to(tl.float32), axis=0)
        mixed = (mixed + floor_mixed[None, :]) / (total + floor_total)[:, None]
        at = (out_base + token * out_token_stride)[:, None] + column
        tl.store(at, mixed.to(kind), mask=mask[:, None] & (column < WIDTH))
