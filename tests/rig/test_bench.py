"""What times engines, over a CUDA runtime that checks every argument; and a driver that is too old for TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Say = Callable[..., Any]


@pytest.mark.parametrize(("graph", "how"), [("plain", "off"), ("graph", "stream captured")])
def test_the_loop_asks_for_nothing_that_cuda_refuses(say: Say, graph: str, how: str) -> None:
    """Two arrays of 24 bytes: registered as they lie, the second is on a page that is registered already (712)."""
    told = say("bench_loop.py", graph)
    assert told["results"] == [[[0, 1, 2], [3, 4, 5]]] * 2
    assert told["how"] == how
    assert told["complaints"] == []
    assert told["live"] == {}
    assert "cudaHostAlloc" in told["calls"]


@pytest.mark.parametrize("version", ["10.3", "11.4"])
def test_a_driver_that_is_too_old_is_said(say: Say, version: str) -> None:
    kind, message, code = say("old_driver.py", tensorrt=version)
    assert (kind, code) == ("EnvironmentLacks", 3)
    assert f"tensorrt {version}" in message
    assert "does not start with driver" in message
    assert "(CUDA 12.4) on NVIDIA A100-SXM4-80GB" in message
