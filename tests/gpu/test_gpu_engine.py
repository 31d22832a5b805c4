"""Engines on the GPU: they give what eager PyTorch gave, and a wrong one is found out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.bench.cuda import Cuda
from ftsf_export.bench.device_loop import DeviceLoop
from ftsf_export.bench.outputs import batch_of_clips
from ftsf_export.bundle import Bundle, EngineEntry, record
from ftsf_export.pipeline.verify import verify
from ftsf_export.runners.child_runner import ChildRunner
from ftsf_export.runners.tensorrt import load_engine
from ftsf_export.verdict import Status

MakeBundle = Callable[..., tuple[Bundle, EngineEntry]]
# Two runs of one engine differ by the order of its sums at most; this is far below the parity limit of fp16, 1e-2.
SAME_ENGINE = 2e-3


def relative_l2(found: np.ndarray, reference: np.ndarray) -> float:
    assert np.isfinite(found).all()
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("attn", ["fastformer", "performer", "regular"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_engine_passes_its_parity_gate(gpu_bundle: MakeBundle, attn: str, precision: str) -> None:
    bundle, engine = gpu_bundle(attn=attn, precision=precision)
    result = verify(bundle.path, runner=engine.builder)
    assert result.passed, result.reason
    judged = [verdict for verdict in result.verdicts if verdict.subject.file == engine.file]
    assert [verdict.status for verdict in judged] == [Status.PASSED]
    assert judged[0].proxy_for == ""


def test_joint_attention_passes_too(gpu_bundle: MakeBundle) -> None:
    bundle, engine = gpu_bundle(attn="regular", attn_type="joint")
    result = verify(bundle.path, runner=engine.builder)
    assert result.passed, result.reason


def test_the_engine_of_other_weights_fails(gpu_bundle: MakeBundle, tmp_path: Path) -> None:
    """The engine of seed 1 in the bundle of seed 0, with every hash right: only the numbers can tell."""
    ours, engine = gpu_bundle(seed=0)
    other, impostor = gpu_bundle(seed=1)
    copy = tmp_path / "copy"
    shutil.copytree(ours.path, copy)
    content = other.engine_path(impostor).read_bytes()
    entry = replace(engine, sha256=impostor.sha256)
    sidecar = (ours.path / engine.sidecar).read_bytes()
    record(Bundle.open(copy), engine=entry, files={engine.file: content, engine.sidecar: sidecar})
    result = verify(copy, runner=engine.builder, record=False)
    assert not result.passed
    assert "logits" in result.reason


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_the_benchmarks_loop_gives_what_the_runner_gives(gpu_bundle: MakeBundle, graph: bool, batch: int) -> None:
    """What is timed is what is verified: own buffers, pinned memory and CUDA graphs change no number."""
    bundle, entry = gpu_bundle()
    golden = bundle.golden()
    feed = {"clip": batch_of_clips(golden.clip, batch)}
    with ChildRunner(bundle.engine_path(entry), backend=entry.builder) as runner:
        reference = np.array(runner.infer(feed)["logits"])
    engine, _version = load_engine(bundle.engine_path(entry), entry.builder)
    with DeviceLoop(engine, feed, graph=graph, cuda=Cuda.load()) as loop:
        for _ in range(3):
            assert loop() > 0
            assert relative_l2(loop.outputs()["logits"], reference) <= SAME_ENGINE
    assert (loop.graph_how == "off") is not graph


def test_each_call_reads_its_inputs_again(gpu_bundle: MakeBundle) -> None:
    """A captured graph must not keep the inputs that it was captured with."""
    bundle, entry = gpu_bundle()
    golden = bundle.golden()
    engine, _version = load_engine(bundle.engine_path(entry), entry.builder)
    with DeviceLoop(engine, {"clip": golden.clip[:1]}, graph=True, cuda=Cuda.load()) as loop:
        loop()
        first = loop.outputs()["logits"]
        loop._inputs[0].host[...] = -golden.clip[:1]
        loop()
        assert relative_l2(loop.outputs()["logits"], first) > SAME_ENGINE
