"""Softmax attention with the rotation inside, as one Triton kernel: no turned query or key, no score leaves the chip.

Letters: B clips, G groups that attend apart, N tokens that attend to each other, H heads, K head width, I = K / 2,
R queries of a program, C keys of a step.

An online softmax (Milakov and Gimelshein 2018; Dao 2023, FlashAttention-2): the queries of a program and what they have
mixed so far stay in registers while the keys and values pass. Short sequences share a program; a sequence with more
queries than a program takes is read by several, which follow each other in the grid, so that they run side by side
and its keys and values come out of the cache to all but the first.
"""

# Device functions are typed by Triton when it compiles them.
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from ftsf_plugins.pairs import load_frequencies, load_turned


@triton.jit
def rows_of(
    base, first_sequence, sequences, groups, first_token, tokens, batch_stride, group_stride, token_stride,
    BLOCK: tl.constexpr, BLOCK_GROUPS: tl.constexpr,
):  # fmt: skip
    """BLOCK rows that BLOCK_GROUPS sequences share: where each begins, its place among them, its token, and whether it
    is there."""
    row = tl.arange(0, BLOCK)
    place, token = row // (BLOCK // BLOCK_GROUPS), first_token + row % (BLOCK // BLOCK_GROUPS)
    sequence = first_sequence + place
    # A batch of long clips has more elements than 32 bits count.
    batch, group = (sequence // groups).to(tl.int64), sequence % groups
    rows = base + batch * batch_stride + group * group_stride + token * token_stride
    there = (sequence < sequences) & (token < tokens)
    return rows, place, token, there


@triton.jit
def settled(x):
    """x (R, I), computed once.

    Left alone, the compiler for sm_80 to sm_89 and sm_120 lets every warp turn all keys of a step for itself, in the
    registers in which its product wants them: 8 times the work, and a spill. Past a sum, be it of one element, it does
    not move the turning.
    """
    return tl.sum(x[:, :, None], axis=2)


@triton.jit
def rotary_attention_kernel(
    qkv, positions, frequencies, sequences, groups, tokens,
    qkv_batch_stride, qkv_group_stride, qkv_token_stride, out_batch_stride, out_group_stride, out_token_stride, out,
    WIDTH: tl.constexpr, AXES: tl.constexpr, HALVES: tl.constexpr,
    BLOCK_GROUPS: tl.constexpr, BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_PAIRS: tl.constexpr,
):  # fmt: skip
    """BLOCK_QUERIES tokens of one head (second grid axis): of BLOCK_GROUPS of the ``sequences`` = B * G, or a part of
    the tokens of one (first grid axis, the parts of a sequence one after the other).

    Args:
        qkv, out: packed (B, S, 3 * H * K) and (B, S, H * K), FP32, FP16 or BF16; strides in elements, last one 1.
        positions, frequencies: (N, A) and (A, K / 2), FP32, turns (see ``ftsf_plugins.rotary``); not read if AXES is 0.
    """
    kind: tl.constexpr = qkv.dtype.element_ty
    # Powers of two: exp2 is what the hardware has.
    scale: tl.constexpr = WIDTH**-0.5 * 1.4426950408889634
    head = tl.program_id(1) * WIDTH
    inner = tl.num_programs(1) * WIDTH
    parts = tl.cdiv(tokens, BLOCK_QUERIES // BLOCK_GROUPS)
    first_sequence = tl.program_id(0) // parts * BLOCK_GROUPS
    first_token = tl.program_id(0) % parts * (BLOCK_QUERIES // BLOCK_GROUPS)
    frequency_rows = load_frequencies(frequencies, WIDTH, AXES, BLOCK_PAIRS)
    column = tl.arange(0, 2 * BLOCK_PAIRS)[None, :]

    rows, place, token, there = rows_of(
        qkv + head, first_sequence, sequences, groups, first_token, tokens,
        qkv_batch_stride, qkv_group_stride, qkv_token_stride, BLOCK_QUERIES, BLOCK_GROUPS,
    )  # fmt: skip
    q_first, q_second = load_turned(
        rows, there, positions, frequency_rows, tl.where(there, token, tokens), tokens,
        WIDTH, AXES, HALVES, BLOCK_PAIRS,
    )  # fmt: skip
    q_first, q_second = q_first.to(kind), q_second.to(kind)
    top = tl.full([BLOCK_QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_QUERIES], tl.float32)
    mixed = tl.zeros([BLOCK_QUERIES, 2 * BLOCK_PAIRS], tl.float32)
    for start in range(0, tokens, BLOCK_KEYS // BLOCK_GROUPS):
        key_rows, key_place, key_token, key_there = rows_of(
            qkv + head + inner, first_sequence, sequences, groups, start, tokens,
            qkv_batch_stride, qkv_group_stride, qkv_token_stride, BLOCK_KEYS, BLOCK_GROUPS,
        )  # fmt: skip
        k_first, k_second = load_turned(
            key_rows, key_there, positions, frequency_rows, tl.where(key_there, key_token, tokens), tokens,
            WIDTH, AXES, HALVES, BLOCK_PAIRS,
        )  # fmt: skip
        inside = key_there[:, None] & (column < WIDTH)
        values = tl.load((key_rows + inner)[:, None] + column, mask=inside, other=0.0)
        logits = tl.dot(q_first, tl.trans(settled(k_first.to(kind))), input_precision="ieee")
        logits = tl.dot(q_second, tl.trans(settled(k_second.to(kind))), logits, input_precision="ieee")
        attended = (key_token < tokens)[None, :]
        if BLOCK_GROUPS > 1:
            attended = attended & (place[:, None] == key_place[None, :])
        logits = tl.where(attended, logits * scale, float("-inf"))
        new_top = tl.maximum(top, tl.max(logits, axis=1))
        kept = tl.exp2(top - new_top)
        shares = tl.exp2(logits - new_top[:, None])
        total = total * kept + tl.sum(shares, axis=1)
        mixed = tl.dot(shares.to(kind), values, mixed * kept[:, None], input_precision="ieee")
        top = new_top
    mixed = mixed / total[:, None]
    out_rows, _, _, _ = rows_of(
        out + head, first_sequence, sequences, groups, first_token, tokens,
        out_batch_stride, out_group_stride, out_token_stride, BLOCK_QUERIES, BLOCK_GROUPS,
    )  # fmt: skip
    tl.store(out_rows[:, None] + column, mixed.to(kind), mask=there[:, None] & (column < WIDTH))
