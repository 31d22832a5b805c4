"""Tiny models in which every part matters, their FP32 graphs, and clips; each is made once a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fast_timesformer.model import FastTimeSformer
from ftsf_export.graph.emulate import emulate
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.mechanisms import mechanism_named
from ftsf_export.quantize.stage import QuantizeOptions
from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

TINY = {"frames": 3, "channels": 3, "height": 32, "width": 48, "num_classes": 7, "dim": 64, "dim_head": 16, "depth": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "regular": {},
    "fastformer": {},
    "performer": {},
    "timesformer": {"attn_mechanism": "regular", "qkv_bias": True, "rotary_emb": False, "mlp_act": "gelu"},
}


@cache
def _graph(variant: str) -> OnnxModel:
    options = {"attn_mechanism": variant, **VARIANTS[variant]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FastTimeSformer(**{**TINY, **options}).eval()
        for name, parameter in model.named_parameters():
            # Gains of channels differ as in trained models, by factors: alike channels would need no evening out.
            if "norm" in name and name.endswith("weight"):
                parameter.data.mul_(torch.exp(1.5 * torch.randn(parameter.shape)))
            parameter.data.add_((0.3 if name.endswith((".w_q", ".w_k")) else 0.05) * torch.randn(parameter.shape))
    return export_onnx(model, GraphOptions())


@pytest.fixture(scope="session")
def graph_of() -> Callable[[str], OnnxModel]:
    """Variant -> its FP32 graph; nobody changes it."""
    return _graph


@pytest.fixture(scope="session")
def clips() -> list[np.ndarray]:
    """Four clips, one a call."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((1, 3, 3, 32, 48), dtype=np.float32) for _ in range(4)]


@pytest.fixture(scope="session")
def options_of() -> Callable[..., QuantizeOptions]:
    def made(variant: str, **changes: Any) -> QuantizeOptions:
        mechanism = VARIANTS[variant].get("attn_mechanism", variant)
        return QuantizeOptions(algebra=mechanism_named(mechanism).algebra, heads=4, **changes)

    return made


@pytest.fixture
def logits(tmp_path: Path, clips: list[np.ndarray]) -> Callable[..., np.ndarray]:
    """Graph -> its logits (n, 7) for the clips; ``rounded``: as its precision rounds them."""

    def run(graph: OnnxModel, *, rounded: bool = False, calls: Sequence[np.ndarray] = ()) -> np.ndarray:
        path = tmp_path / "graph.onnx"
        graph.save(path)
        if rounded:
            emulate(path, path)
        with OnnxRuntimeRunner(path, optimize=not rounded) as runner:
            return np.concatenate([runner.infer({"clip": clip})["logits"].copy() for clip in calls or clips])

    return run


def worst(reference: np.ndarray, found: np.ndarray) -> float:
    """Relative L2 error of the worst clip."""
    return float((np.linalg.norm(reference - found, axis=1) / np.linalg.norm(reference, axis=1)).max())
