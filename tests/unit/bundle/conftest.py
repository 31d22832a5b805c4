"""A small bundle, made the way the pipeline makes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ftsf_export.bundle import (
    Bundle,
    BundleWriter,
    Island,
    Manifest,
    TapSpec,
    sha256_of,
)
from ftsf_export.bundle.golden import write_golden
from ftsf_export.verdict import Measure, Status, Subject, Verdict
from tests.unit.manifests import graph_bytes, small_manifest

FRAMES, SIDE, CLASSES, SAMPLES = 2, 32, 5, 8

WriteBundle = Callable[..., Bundle]


def manifest_of(precision: str = "fp16") -> Manifest:
    return small_manifest(
        frames=FRAMES,
        side=SIDE,
        classes=CLASSES,
        dim=64,
        depth=1,
        precision=precision,
        islands=(Island("blocks.*.temporal.attn.softmax", "half precision overflows", 4),),
        taps=(TapSpec("patch_embed"), TapSpec("blocks.0.mlp", "class")),
    )


def fill(folder: Path, model: str = "model bytes", precision: str = "fp16") -> None:
    """The files of a bundle, without the manifest; ``model`` is noted in the graph."""
    draw = np.random.default_rng(0)
    (folder / "model.onnx").write_bytes(graph_bytes(model, precision))
    write_golden(
        folder / "golden.npz",
        clip=draw.standard_normal((2, FRAMES, 3, SIDE, SIDE)).astype(np.float32),
        logits=draw.standard_normal((2, CLASSES)).astype(np.float32),
        sources=("noise seed 0", "bikes.mp4 frames 0..16"),
        taps={name: draw.standard_normal((2, SAMPLES)).astype(np.float32) for name in ("patch_embed", "blocks.0.mlp")},
    )


def verdict_about(
    folder: Path, name: str = "model.onnx", gate: str = "parity.fp16-emulated", value: float = 1e-3
) -> Verdict:
    """A verdict of its own weight: passed when the value is finite and at most 1e-2."""
    measure = Measure(output="logits", metric="relative L2", value=value, limit=1e-2, worst_index=(1, 3))
    return Verdict(
        gate=gate,
        status=Status.PASSED if measure.passed else Status.FAILED,
        subject=Subject(name, sha256_of(folder / name)),
        reason="" if measure.passed else measure.sentence(),
        proxy_for="fp16 on a GPU",
        measures=(measure,),
    )


@pytest.fixture
def small() -> SimpleNamespace:
    """The parts of a small bundle, for tests that put it together otherwise."""
    return SimpleNamespace(fill=fill, manifest=manifest_of, verdict=verdict_about)


@pytest.fixture
def write_bundle() -> WriteBundle:
    def write(output: Path, *, overwrite: bool = False, model: str = "model bytes", precision: str = "fp16") -> Bundle:
        with BundleWriter(output, overwrite=overwrite) as writer:
            fill(writer.path, model, precision)
            verdicts = (verdict_about(writer.path),)
            return writer.commit(manifest_of(precision).with_verdicts(verdicts, "export"))

    return write


@pytest.fixture
def bundle(tmp_path: Path, write_bundle: WriteBundle) -> Bundle:
    return write_bundle(tmp_path / "out")
