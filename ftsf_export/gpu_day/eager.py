"""The models in PyTorch on the GPU, eager and compiled: all that a machine with PyTorch alone can run of them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from fast_timesformer.model import FastTimeSformer
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell

Call = Callable[[Tensor], Tensor]

_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Relative L2 error of the logits in FP32, without TF32, against the CPU's.
_LIMIT = 1e-4
_DEVICE = "cuda"
_WARM_UPS = 3
_SHOWN = 12


def models(request: Message, tell: Tell) -> Message:
    """Tells how near to FP32 on the CPU one mechanism is in one precision, how long it takes, and the kernels that the
    profiler saw: eager, then compiled. FP32 alone is judged: plain half precision is nothing that this project offers.

    ``request``: ``attn``, ``precision``, ``model`` (arguments of ``FastTimeSformer``), ``repeats``.
    """
    if not torch.cuda.is_available():
        raise EnvironmentLacks(f"torch {torch.__version__} finds no GPU; install a build of PyTorch for CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    asked = request.value
    torch.manual_seed(0)
    model = FastTimeSformer(**asked["model"], attn_mechanism=asked["attn"]).eval()
    config = model.config
    clip = torch.randn(1, config.frames, config.channels, config.height, config.width)
    with torch.inference_mode():
        wanted = model(clip)
        kind = _TYPES[asked["precision"]]
        placed, given = model.to(_DEVICE, kind), clip.to(_DEVICE, kind)
        for how in ("eager", "torch.compile"):
            called: Call = placed if how == "eager" else torch.compile(placed)
            error = _distance(called(given), wanted)
            near = error is not None and error <= _LIMIT
            tell(
                {
                    "attn": asked["attn"],
                    "precision": asked["precision"],
                    "how": how,
                    "error": error,
                    "right": near if asked["precision"] == "fp32" else None,
                    "ms": _median_ms(called, given, asked["repeats"]),
                    "kernels": _profiled(called, given),
                }
            )
    return Message()


def _distance(got: Tensor, wanted: Tensor) -> float | None:
    """Relative L2 error; None where anything is not a number."""
    difference = got.double().cpu() - wanted.double()
    error = float(difference.norm() / wanted.double().norm())
    return error if error < float("inf") else None


def _median_ms(called: Call, clip: Tensor, repeats: int) -> float:
    """Milliseconds on the GPU's own clock from the first kernel of a call to its last."""
    event: Any = torch.cuda.Event
    pairs = [(event(enable_timing=True), event(enable_timing=True)) for _ in range(repeats)]
    for _ in range(_WARM_UPS):
        called(clip)
    for before, after in pairs:
        before.record()
        called(clip)
        after.record()
    torch.cuda.synchronize()
    return float(median(before.elapsed_time(after) for before, after in pairs))


def _profiled(called: Call, clip: Tensor) -> list[dict[str, Any]]:
    """The kernels of one call that take most of its time: name, how often, milliseconds."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        called(clip)
        torch.cuda.synchronize()
    found = sorted(profile.key_averages(), key=lambda one: -one.device_time_total)
    return [
        {"name": one.key, "count": one.count, "ms": one.device_time_total / 1e3}
        for one in found[:_SHOWN]
        if one.device_time_total
    ]
