"""Additive attention as one Triton kernel: three sweeps, over the queries, the keys and the values, each read once.

Letters: B clips, G groups that attend apart, N tokens that attend to each other, H heads, K head width, I = K / 2.

With Q the pooled query, w_k . (Q * k_n) = (w_k * Q) . k_n and sum_n beta_n (Q * k_n) = Q * sum_n beta_n k_n, so that
both pools are one function: an online softmax (Milakov and Gimelshein 2018), for any N. The second needs the result of
the first, but not the queries again. A program takes one head of some groups: short sequences share a tile, and the
weights and turns that are the same for all of them.
"""

# Device functions are typed by Triton when it compiles them.
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from ftsf_plugins.pairs import cosine_sine_of, load_frequencies, load_pairs, store_pairs, turned


@triton.jit
def pool(
    rows, token_stride, weight_first, weight_second, positions, frequency_rows, present, tokens,
    WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr,
    BLOCK_GROUPS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """sum_n softmax_n(weight . x_n) x_n of turned rows x_n: members (G, I) each; ``weight`` holds the softmax scale.

    ``rows`` (G,) points at token 0 of each group; ``present`` (G,) says which groups exist.
    """
    top = tl.full([BLOCK_GROUPS], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_GROUPS], tl.float32)
    first_sum = tl.zeros([BLOCK_GROUPS, BLOCK_PAIRS], tl.float32)
    second_sum = tl.zeros([BLOCK_GROUPS, BLOCK_PAIRS], tl.float32)
    for start in range(0, tokens, BLOCK_TOKENS):
        token = start + tl.arange(0, BLOCK_TOKENS)
        at = rows[:, None] + (token * token_stride)[None, :]
        mask = present[:, None] & (token < tokens)[None, :]
        first, second = load_pairs(at[:, :, None], mask[:, :, None], WIDTH, HALVES, BLOCK_PAIRS)
        if AXES > 0:
            cos, sin = cosine_sine_of(positions, frequency_rows, token, tokens, AXES)
            first, second = turned(first, second, cos[None, :, :], sin[None, :, :])
        logits = tl.sum(first * weight_first[:, None, :] + second * weight_second[:, None, :], axis=2)
        logits = tl.where((token < tokens)[None, :], logits, float("-inf"))
        new_top = tl.maximum(top, tl.max(logits, axis=1))
        kept = tl.exp(top - new_top)
        shares = tl.exp(logits - new_top[:, None])
        total = total * kept + tl.sum(shares, axis=1)
        first_sum = first_sum * kept[:, None] + tl.sum(shares[:, :, None] * first, axis=1)
        second_sum = second_sum * kept[:, None] + tl.sum(shares[:, :, None] * second, axis=1)
        top = new_top
    return first_sum / total[:, None], second_sum / total[:, None]


@triton.jit
def additive_attention_kernel(
    qkv, w_q, w_k, positions, frequencies, sequences, groups, tokens,
    qkv_batch_stride, qkv_group_stride, qkv_token_stride, out_batch_stride, out_group_stride, out_token_stride, out,
    WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr,
    BLOCK_GROUPS: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """u_n = G * v_n for one head (second grid axis) of BLOCK_GROUPS of the ``sequences`` = B * G (first grid axis).

    Args:
        qkv, out: packed (B, S, 3 * H * K) and (B, S, H * K), FP32, FP16 or BF16; strides in elements, last one 1.
        w_q, w_k: (H, K), FP32, no gaps.
        positions, frequencies: (N, A) and (A, K / 2), FP32, turns (see ``ftsf_plugins.rotary``); not read if AXES is 0.
    """
    head = tl.program_id(1)
    inner = tl.num_programs(1) * WIDTH
    sequence = tl.program_id(0) * BLOCK_GROUPS + tl.arange(0, BLOCK_GROUPS)
    present = sequence < sequences
    # A batch of long clips has more elements than 32 bits count.
    batch, group = (sequence // groups).to(tl.int64), sequence % groups
    rows = qkv + batch * qkv_batch_stride + group * qkv_group_stride + head * WIDTH
    out_rows = out + batch * out_batch_stride + group * out_group_stride + head * WIDTH

    frequency_rows = load_frequencies(frequencies, WIDTH, AXES, BLOCK_PAIRS)
    everywhere = tl.full([1, 1], True, tl.int1)
    one_head = (tl.zeros([1, 1], tl.int32) + head) * WIDTH
    scale: tl.constexpr = WIDTH**-0.5
    weight_first, weight_second = load_pairs(w_q + one_head, everywhere, WIDTH, HALVES, BLOCK_PAIRS)
    query_first, query_second = pool(
        rows, qkv_token_stride, weight_first * scale, weight_second * scale, positions, frequency_rows, present, tokens,
        WIDTH, AXES, HALVES, BLOCK_GROUPS, BLOCK_TOKENS, BLOCK_PAIRS,
    )  # fmt: skip
    weight_first, weight_second = load_pairs(w_k + one_head, everywhere, WIDTH, HALVES, BLOCK_PAIRS)
    key_first, key_second = pool(
        rows + inner, qkv_token_stride, weight_first * scale * query_first, weight_second * scale * query_second,
        positions, frequency_rows, present, tokens,
        WIDTH, AXES, HALVES, BLOCK_GROUPS, BLOCK_TOKENS, BLOCK_PAIRS,
    )  # fmt: skip
    key_first, key_second = key_first * query_first, key_second * query_second
    for start in range(0, tokens, BLOCK_TOKENS):
        token = start + tl.arange(0, BLOCK_TOKENS)
        mask = (present[:, None] & (token < tokens)[None, :])[:, :, None]
        at = (rows + 2 * inner)[:, None] + (token * qkv_token_stride)[None, :]
        first, second = load_pairs(at[:, :, None], mask, WIDTH, HALVES, BLOCK_PAIRS)
        at = out_rows[:, None] + (token * out_token_stride)[None, :]
        store_pairs(
            at[:, :, None], first * key_first[:, None, :], second * key_second[:, None, :], mask,
            WIDTH, HALVES, BLOCK_PAIRS,
        )  # fmt: skip
