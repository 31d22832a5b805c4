"""What the kernels read and write, counted from their loads and stores: every byte once, and nothing beside."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest


def sized(tokens: int) -> dict[str, int]:
    """Groups as the model has them: hundreds of short sequences, few long ones."""
    return {"groups": 64 if tokens <= 8 else 8 if tokens <= 16 else 2 if tokens < 100 else 1, "heads": 1}


@pytest.mark.parametrize(
    ("tokens", "element"),
    [*itertools.product((1, 2, 8, 16, 63, 197), ("fp16", "fp32")), (1000, "fp16"), (1024, "bf16")],
)
def test_additive_attention_moves_at_most_a_tenth_more_than_it_must(
    tokens: int, element: str, make_case: Any, run_case: Any, traffic: Any
) -> None:
    """Weights, positions and frequencies are counted; the bound is the packed stream once, the output once."""
    outcome = run_case(make_case("additive", tokens, 64, element, **sized(tokens)))
    moved = traffic.read_bytes + traffic.written_bytes
    assert outcome.bound_bytes <= moved <= 1.1 * outcome.bound_bytes


@pytest.mark.parametrize("tokens", [8, 9, 16, 31, 63, 64, 65, 129, 197, 256])
def test_rotary_attention_moves_at_most_a_tenth_more_than_it_must(
    tokens: int, make_case: Any, run_case: Any, traffic: Any
) -> None:
    """All loads and all stores."""
    outcome = run_case(make_case("rotary", tokens, 64, "fp16", **sized(tokens)))
    moved = traffic.read_bytes + traffic.written_bytes
    assert outcome.bound_bytes <= moved <= 1.1 * outcome.bound_bytes


@pytest.mark.parametrize("tokens", [257, 1600])
def test_rotary_attention_of_many_tokens_reads_them_once_from_memory(
    tokens: int, make_case: Any, run_case: Any, traffic: Any
) -> None:
    """Keys and values of a head are more than a multiprocessor holds, so that several programs read them; all but the
    first out of the L2 cache."""
    outcome = run_case(make_case("rotary", tokens, 64, "fp16", groups=1, heads=2, axes=3))
    assert traffic.read_bytes + traffic.written_bytes > 1.4 * outcome.bound_bytes
    # A quarter of an Orin, of its 16 multiprocessors and its 4 MiB of cache; then all programs at once.
    for at_once in (4, 1000):
        from_memory = traffic.misses(1 << 20, at_once) + traffic.written_bytes
        assert outcome.bound_bytes <= from_memory <= 1.1 * outcome.bound_bytes, at_once


def test_a_cache_that_is_too_small_is_noticed(make_case: Any, run_case: Any, traffic: Any) -> None:
    """One program at a time, and a cache of less than a head's keys and values: each part reads them again."""
    outcome = run_case(make_case("rotary", 600, 64, "fp16", groups=1, heads=1))
    assert traffic.misses(1 << 30, 1) + traffic.written_bytes <= 1.1 * outcome.bound_bytes
    assert traffic.misses(1 << 15, 1) + traffic.written_bytes > 1.9 * outcome.bound_bytes


@pytest.mark.parametrize("operation", ["additive", "favor", "rotary"])
@pytest.mark.parametrize("along", ["time", "space"])
@pytest.mark.parametrize("tokens", [5, 70])
def test_every_element_of_the_stream_once(
    operation: str, along: str, tokens: int, make_case: Any, run_case: Any, traffic: Any
) -> None:
    """No transposed copy, no second look, nothing beside: either regrouping reads the stream where it lies."""
    outcome = run_case(make_case(operation, tokens, 64, "fp16", along=along, batch=2, groups=2, heads=1, gaps=True))
    for tensor, touched in ((outcome.qkv, traffic.reads), (outcome.target, traffic.writes)):
        low = tensor.data_ptr()
        high = low + tensor.element_size() * sum(
            (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        )
        addresses = np.concatenate([one.ravel() for one in touched]).astype(np.int64)
        addresses = addresses[(addresses >= low) & (addresses <= high)]
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        batch, row, column = (np.arange(size) * stride for size, stride in steps)
        wanted = low + tensor.element_size() * (batch[:, None, None] + row[None, :, None] + column[None, None, :])
        np.testing.assert_array_equal(np.sort(addresses), np.sort(wanted.ravel()))


@pytest.mark.parametrize(("tokens", "most"), [(8, 2.15), (63, 2.15), (197, 1.45), (1000, 1.2)])
def test_favor_moves_omega_beside_the_stream(
    tokens: int, most: float, make_case: Any, run_case: Any, traffic: Any
) -> None:
    """Each program reads omega, M x K, once: see the README for what of that leaves the cache."""
    outcome = run_case(make_case("favor", tokens, 64, "fp16", features=266, **sized(tokens)))
    programs = outcome.launch.grid(outcome.case.stream, 1)
    omega = 266 * 64 * 2 * programs[0] * programs[1] * programs[2]
    moved = traffic.read_bytes + traffic.written_bytes
    assert outcome.bound_bytes + omega <= moved <= 1.1 * (outcome.bound_bytes + omega)
    assert moved <= most * outcome.bound_bytes
