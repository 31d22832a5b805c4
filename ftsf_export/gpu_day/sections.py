"""The sections of a day, in their order: what costs little and needs little comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftsf_export.gpu_day.day import Section, Step
from ftsf_plugins.register import OPERATIONS
from ftsf_plugins.stream import ALONGS

_HERE = "ftsf_export.gpu_day"
_ATTENTIONS = ("fastformer", "performer", "regular")
_PRECISIONS = ("fp32", "fp16", "bf16")
# What a rehearsal runs instead: kernels and models at sizes that an interpreter gets through.
_REHEARSED: dict[str, Any] = {"frames": 5, "tokens": 66, "heads": 1}
_REHEARSED_MODEL: dict[str, Any] = {"frames": 2, "size": 32, "dim": 64, "depth": 1, "num_classes": 5}
_DOCUMENTED_MODEL: dict[str, Any] = {"frames": 8, "size": 224, "dim": 512, "depth": 12, "num_classes": 400}


def sections_of_a_day(output: Path, *, rehearsal: bool, plugin_kernels: Path | None) -> dict[str, Section]:
    """Name -> section. ``output``: where bundles go; ``plugin_kernels``: a folder of ``scripts/build-plugins``."""
    model = _REHEARSED_MODEL if rehearsal else _DOCUMENTED_MODEL
    listed = (
        Section(
            "machine", "This machine", "its name, its driver and its data sheet.",
            (Step("versions and GPU", f"{_HERE}.children:machine", None, 60),), needs_gpu=False,
        ),
        Section(
            "doctor", "What ftsf doctor says", "whether TensorRT's libraries load with its driver.",
            (Step("ftsf doctor", f"{_HERE}.children:doctor", None, 300),), needs_gpu=False,
        ),
        Section(
            "kernels", "Kernels of the plugins",
            "whether each kernel computes what its float64 reference does, as machine code and as PTX, and how much of "
            "the memory's or the arithmetic's speed it reaches.",
            _kernels(rehearsal, plugin_kernels),
        ),
        Section(
            "models", "Models in PyTorch",
            "how long the models take eager and with torch.compile, what half precision does to them there, and which "
            "kernels take the time.",
            _models(model, rehearsal),
        ),
        Section(
            "engines", "Engines",
            "whether engines compute what PyTorch does, how long they take, and how near each of their kernels comes "
            "to its bound in the plan.",
            _engines(model, output, rehearsal),
        ),
    )  # fmt: skip
    return {section.name: section for section in listed}


def _kernels(rehearsal: bool, folder: Path | None) -> tuple[Step, ...]:
    how = {"elements": ["fp16"], "batch": 1, "repeats": 1, "sizes": _REHEARSED} if rehearsal else {
        "elements": ["fp16", "bf16", "fp32"], "batch": 4, "repeats": 100, "sizes": {},
    }  # fmt: skip
    return tuple(
        Step(
            f"{name} along {along}", f"{_HERE}.children:kernels",
            {"operation": name, "along": along, "kernels": None if folder is None else str(folder), **how}, 600,
        )
        for name in OPERATIONS
        for along in (ALONGS[:1] if rehearsal else ALONGS)
    )  # fmt: skip


def _models(model: dict[str, Any], rehearsal: bool) -> tuple[Step, ...]:
    given = {key: value for key, value in model.items() if key != "size"}
    given |= {"channels": 3, "height": model["size"], "width": model["size"]}
    return tuple(
        Step(
            f"{attn} in {precision}", f"{_HERE}.eager:models",
            {"attn": attn, "precision": precision, "model": given, "repeats": 2 if rehearsal else 50}, 900,
        )
        for attn in (_ATTENTIONS[:1] if rehearsal else _ATTENTIONS)
        for precision in (_PRECISIONS[:1] if rehearsal else _PRECISIONS)
    )  # fmt: skip


def _engines(model: dict[str, Any], output: Path, rehearsal: bool) -> tuple[Step, ...]:
    made = [
        (attn, precision, plugins, builder)
        for builder in ("tensorrt", "rtx")
        for attn in (_ATTENTIONS[:1] if rehearsal else _ATTENTIONS)
        for precision in (_PRECISIONS[1:2] if rehearsal else _PRECISIONS)
        # TensorRT for RTX takes no plugins, and FAVOR+ has no kernel in FP32.
        for plugins in (("none", "all") if builder == "tensorrt" and precision != "fp32" else ("none",))
    ]
    steps = []
    for attn, precision, plugins, builder in made:
        config = {"attn": attn, "precision": precision, "plugins": plugins, "builder": builder, **model}
        folder = str(output / f"{attn}-{precision}-{builder}-{plugins}")
        value = {"config": config, "output": folder, "seconds": 0.2 if rehearsal else 3.0}
        title = " ".join((attn, precision, builder, *(["plugins"] if plugins == "all" else [])))
        steps.append(Step(title, f"{_HERE}.engines:engine", value, 1800))
    return tuple(steps)
