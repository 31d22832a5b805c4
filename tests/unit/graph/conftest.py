"""Tiny models in which every part matters, and their graphs: each is made once a session.

Letters: B clips, F frames, C channels, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import GraphInput
from ftsf_export.bundle.graph_input import USUAL_INPUT
from ftsf_export.config import BatchRange
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.rewrite import ALL, Rewrites
from ftsf_export.runners.eager import EagerRunner
from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

TINY = {"frames": 3, "channels": 3, "height": 32, "width": 48, "num_classes": 7, "dim": 64, "dim_head": 16}

Outputs = dict[str, np.ndarray]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The models are tiny, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def _model(*, disturbed: bool = True, **options: Any) -> FastTimeSformer:
    """Fresh weights are too alike to show a fault: biases are zero, gains one, attention nearly uniform."""
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FastTimeSformer(**{**TINY, "depth": 2, "attn_mechanism": "regular", **options}).eval()
    for name, parameter in model.named_parameters() if disturbed else ():
        scale = 1.0 if name.endswith((".w_q", ".w_k")) else 0.1
        parameter.data.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


@cache
def _graph(
    batch: str,
    opset: int,
    attention_operator: bool,
    rewrites: Rewrites,
    plugins: frozenset[str],
    takes: GraphInput,
    **options: Any,
) -> OnnxModel:
    asked = GraphOptions(
        batch=BatchRange.parse(batch),
        opset=opset,
        attention_operator=attention_operator,
        rewrites=rewrites,
        plugins=plugins,
        takes=takes,
    )
    return export_onnx(_model(**options), asked)


def graph_from(options: dict[str, Any]) -> OnnxModel:
    """What ``graph_of(**options)`` gives."""
    usual = {
        "batch": "1",
        "opset": 20,
        "attention_operator": False,
        "rewrites": ALL,
        "plugins": frozenset(),
        "takes": USUAL_INPUT,
    }
    return _graph(**{**usual, **options})


@pytest.fixture(scope="session")
def model_of() -> Callable[..., FastTimeSformer]:
    """``model_of(depth=..., ...)``: float32, evaluation mode, every weight disturbed; a copy for each call.

    With ``disturbed=False`` fresh from the seed.
    """
    return lambda **options: deepcopy(_model(**options))


@pytest.fixture(scope="session")
def graph_of() -> Callable[..., OnnxModel]:
    """``graph_of(batch="1:2:4", rewrites=..., depth=..., ...)``: the FP32 graph of ``model_of(depth=..., ...)``."""

    return lambda **options: graph_from(options)


@pytest.fixture(scope="session")
def clips() -> Callable[..., np.ndarray]:
    """``clips(n)``: n different clips (n, F, C, H, W)."""

    def make(count: int = 1) -> np.ndarray:
        size = (TINY["frames"], TINY["channels"], TINY["height"], TINY["width"])
        return np.random.default_rng(1).normal(size=(count, *size)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def eager() -> Callable[..., Outputs]:
    """``eager(model, taps, clip, dtype=None)``: logits and taps of the model itself."""

    def run(model: FastTimeSformer, taps: Any, clip: np.ndarray, dtype: torch.dtype | None = None) -> Outputs:
        with EagerRunner(model, taps=taps, dtype=dtype) as runner:
            return dict(runner.infer({"clip": clip}))

    return run


@pytest.fixture(scope="session")
def ort() -> Callable[..., Outputs]:
    """``ort(path, clip, taps=(), optimize=True)``: ONNX Runtime on the CPU."""

    def run(path: Path, clip: np.ndarray, taps: Any = (), *, optimize: bool = True) -> Outputs:
        names = [tap if isinstance(tap, str) else tap.name for tap in taps]
        with OnnxRuntimeRunner(path, taps=names, optimize=optimize) as runner:
            return dict(runner.infer({"clip": clip}))

    return run


@pytest.fixture(scope="session")
def distance() -> Callable[[Any, Any], float]:
    """Relative L2 distance from a reference of exactly the same shape; infinite where anything is not finite."""

    def measure(got: Any, expected: Any) -> float:
        assert got.shape == expected.shape, f"expected shape {expected.shape}, got {got.shape}"
        got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
        norm = float(np.linalg.norm(expected))
        assert norm > 0, "a reference of zeros says nothing"
        if not np.isfinite(got).all():
            return float("inf")
        return float(np.linalg.norm(got - expected)) / norm

    return measure
