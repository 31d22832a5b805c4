"""``ftsf bench`` on a bundle: what is measured under which heading, and what is refused with which exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.bench.measurement import Measurement
from ftsf_export.bench.request import BenchRequest
from ftsf_export.bench.sampling import Samples
from ftsf_export.bench.statistics import timing_from_samples
from ftsf_export.bundle import (
    Bundle,
    BundleWriter,
    EngineEntry,
    record,
    sha256_of,
)
from ftsf_export.bundle.golden import write_golden
from ftsf_export.cli.main import ftsf, run
from ftsf_export.errors import BundleError, ConfigError, EnvironmentLacks
from ftsf_export.pipeline import bench as pipeline
from ftsf_export.pipeline.bench import CPU_HEADING, measure_bundle
from ftsf_export.runners.driver import Gpu, gpu_problem
from ftsf_export.strict_json import plain, structured
from ftsf_export.timing import TimedFile, Timing
from ftsf_export.verdict import Measure, Status, Subject, Verdict
from tests.unit.manifests import rehash, small_manifest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FRAMES, SIDE, CLASSES = 2, 16, 3
QUICK = BenchRequest(runner="onnxruntime", seconds=0.0, warmup=1)
needs_no_gpu = pytest.mark.skipif(not gpu_problem(), reason="there is a GPU here")


def write_model(path: Path, by: float, kind: int) -> None:
    """logits: three times the sum of a clip, times ``by``, computed in ``kind``."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["clip"], ["typed"], to=kind),
        helper.make_node("ReduceSum", ["typed", "axes"], ["sums"], keepdims=0),
        helper.make_node("Unsqueeze", ["sums", "last"], ["column"]),
        helper.make_node("Cast", ["weights"], ["row"], to=kind),
        helper.make_node("MatMul", ["column", "row"], ["scores"]),
        helper.make_node("Cast", ["scores"], ["logits"], to=TensorProto.FLOAT),
    ]
    constants = {
        "axes": np.array([1, 2, 3, 4]),
        "last": np.array([1]),
        "weights": np.full((1, CLASSES), by, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ["batch", FRAMES, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    # As in an export every value has its type.
    onnx.save(onnx.shape_inference.infer_shapes(model), path)


def make_bundle(output: Path, precision: str = "fp32", by: float = 0.001) -> Bundle:
    kind = {"fp32": onnx.TensorProto.FLOAT, "fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}
    draw = np.random.default_rng(0)
    clip = draw.standard_normal((2, FRAMES, 3, SIDE, SIDE)).astype(np.float32)
    with BundleWriter(output) as writer:
        write_model(writer.path / "model.onnx", by, kind[precision])
        logits = np.repeat(clip.sum(axis=(1, 2, 3, 4))[:, None] * by, CLASSES, axis=1).astype(np.float32)
        write_golden(writer.path / "golden.npz", clip=clip, logits=logits, sources=("noise 0", "noise 1"), taps={})
        return writer.commit(
            small_manifest(frames=FRAMES, side=SIDE, dim=64, depth=1, classes=CLASSES, precision=precision)
        )


def add_engine(bundle: Bundle, builder: str, capabilities: tuple[str, ...]) -> Bundle:
    name = f"engines/{builder}-somewhere-fp32"
    content = f"plan of {builder}".encode()
    path = bundle.path.parent / "plan"
    path.write_bytes(content)
    entry = EngineEntry(
        file=f"{name}.engine",
        sidecar=f"{name}.json",
        builder=builder,
        target="somewhere",
        precision="fp32",
        compute_capabilities=capabilities,
        sha256=sha256_of(path),
    )
    return record(bundle, engine=entry, files={entry.file: content, entry.sidecar: b"{}"})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "out")


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[Measurement]:
    """Measurements are kept instead of run; each gives one timing."""
    kept: list[Measurement] = []

    def measure(measurement: Measurement, _feed: Any, _quota: Any) -> tuple[Timing, ...]:
        kept.append(measurement)
        samples = Samples(warmup_iterations=1, latency_ms=(10.0,) * 100, device_ms=None, elapsed_s=1.0)
        return (timing_from_samples(measurement.subject, samples),)

    monkeypatch.setattr(pipeline, "measure_in_child", measure)
    return kept


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An L4, as far as the pipeline can see."""
    here = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=1, driver_version="580.65.06", cuda_version="13.0")
    monkeypatch.setattr(pipeline, "first_gpu", lambda: here)
    monkeypatch.setattr(pipeline, "require_gpu", lambda _purpose: here)


def test_onnx_runtime_on_the_cpu_under_its_own_heading(bundle: Bundle) -> None:
    (timing,) = measure_bundle(bundle.path, replace(QUICK, threads=1))
    subject = timing.subject
    assert timing.heading == CPU_HEADING
    assert (subject.file, subject.precision, subject.batch) == ("model.onnx", "fp32", 2)
    assert subject.sha256 == sha256_of(bundle.onnx_path)
    assert subject.conditions["provider"] == "CPUExecutionProvider"
    assert subject.conditions["threads"] == "1"
    assert subject.clip_s == pytest.approx(FRAMES * 16 / 30)
    assert timing.latency.count == 10
    assert timing.video_s_per_s == pytest.approx(timing.clips_per_s * 32 / 30)
    assert timing.gpu is None
    assert subject.notes[0].startswith("parity.onnx-fp32 has not passed model.onnx")


@needs_no_gpu
def test_auto_without_a_gpu_is_the_cpu_even_with_engines(bundle: Bundle, measurements: list[Measurement]) -> None:
    add_engine(bundle, "rtx", ("8.9",))
    (timing,) = measure_bundle(bundle.path)
    assert timing.heading == CPU_HEADING
    assert [measurement.backend for measurement in measurements] == ["onnxruntime"]


@pytest.mark.usefixtures("measurements")
@pytest.mark.parametrize(
    ("gate", "status", "notes"),
    [
        ("parity.onnx-fp32", Status.PASSED, []),
        ("parity.onnx-fp32", Status.FAILED, ["parity.onnx-fp32 failed on model.onnx: logits are off"]),
        ("parity.onnx-fp32", Status.NOT_RUN, ["parity.onnx-fp32 has not passed model.onnx"]),
        ("engine.types-rtx", Status.PASSED, ["parity.onnx-fp32 has not passed model.onnx"]),
    ],
)
def test_what_the_gates_said_of_the_file(bundle: Bundle, gate: str, status: Status, notes: list[str]) -> None:
    verdict = Verdict(
        gate=gate,
        status=status,
        subject=Subject("model.onnx", sha256_of(bundle.onnx_path)),
        reason="" if status is Status.PASSED else "logits are off",
        measures=(Measure(output="logits", metric="relative L2", value=0.0, limit=1e-5),),
    )
    bundle.with_verdicts([verdict])
    (timing,) = measure_bundle(bundle.path, QUICK)
    assert len(timing.subject.notes) == len(notes)
    assert all(said.startswith(note) for said, note in zip(timing.subject.notes, notes, strict=True))


def test_fp16_on_a_cpu_says_what_was_computed(tmp_path: Path) -> None:
    (timing,) = measure_bundle(make_bundle(tmp_path / "half", "fp16").path, QUICK)
    assert (timing.heading, timing.subject.precision) == (CPU_HEADING, "fp16")
    assert any("computes fp16 graphs in fp32" in note for note in timing.subject.notes)


def test_bf16_has_no_cpu_figure(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="runs no bf16 graph on a CPU; measure it on a GPU"):
        measure_bundle(make_bundle(tmp_path / "brain", "bf16").path, QUICK)


@pytest.mark.usefixtures("gpu")
def test_engines_that_fit_the_gpu_are_measured_there(bundle: Bundle, measurements: list[Measurement]) -> None:
    add_engine(add_engine(bundle, "rtx", ("8.6", "8.9")), "tensorrt", ("9.0",))
    timings = measure_bundle(bundle.path, BenchRequest(batch=4))
    (measurement,) = measurements
    assert (measurement.backend, measurement.file.name) == ("rtx", "rtx-somewhere-fp32.engine")
    assert (measurement.subject.heading, measurement.subject.precision, measurement.subject.batch) == (
        "NVIDIA L4",
        "fp32",
        4,
    )
    assert measurement.shapes == {"logits": (4, CLASSES)}
    assert len(timings) == 1


def test_the_feed_is_the_golden_clips_over_again(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[Any] = []

    def measure(_measurement: Measurement, feed: dict[str, np.ndarray], _quota: Any) -> tuple[Timing, ...]:
        fed.append(feed["clip"])
        return ()

    monkeypatch.setattr(pipeline, "measure_in_child", measure)
    measure_bundle(bundle.path, replace(QUICK, batch=3))
    np.testing.assert_array_equal(fed[0], bundle.golden().clip[[0, 1, 0]])


@pytest.mark.usefixtures("gpu", "measurements")
def test_a_gpu_that_no_engine_fits_is_said(bundle: Bundle) -> None:
    add_engine(bundle, "tensorrt", ("9.0",))
    (timing,) = measure_bundle(bundle.path)
    assert timing.heading == CPU_HEADING
    reason = "no engine of this bundle runs on NVIDIA L4 (compute capability 8.9); run: ftsf build"
    assert f"not measured on a GPU: {reason}" in timing.subject.notes
    with pytest.raises(EnvironmentLacks, match="no engine of this bundle"):
        measure_bundle(bundle.path, BenchRequest(runner="tensorrt"))


@pytest.mark.usefixtures("gpu")
def test_a_runner_takes_its_own_builders_engines(bundle: Bundle, measurements: list[Measurement]) -> None:
    add_engine(add_engine(bundle, "rtx", ("8.9",)), "tensorrt", ("8.9",))
    measure_bundle(bundle.path, BenchRequest(runner="tensorrt"))
    measure_bundle(bundle.path)
    assert [measurement.backend for measurement in measurements] == ["tensorrt", "rtx", "tensorrt"]


@needs_no_gpu
@pytest.mark.parametrize("runner", ["tensorrt", "rtx"])
def test_an_engine_asked_for_by_name_needs_a_gpu(bundle: Bundle, runner: str) -> None:
    with pytest.raises(EnvironmentLacks, match=f"a GPU is needed to run an engine with {runner}"):
        measure_bundle(bundle.path, BenchRequest(runner=runner))


@pytest.mark.parametrize("batch", [5, 99])
def test_a_batch_that_the_bundle_does_not_take(bundle: Bundle, batch: int) -> None:
    with pytest.raises(ConfigError, match=f"this bundle takes 1 to 4 clips a call, got {batch}"):
        measure_bundle(bundle.path, replace(QUICK, batch=batch))


def test_an_altered_bundle_is_not_measured(bundle: Bundle) -> None:
    bundle.onnx_path.write_bytes(bundle.onnx_path.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="altered or damaged"):
        measure_bundle(bundle.path, QUICK)


def test_every_bad_field_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        BenchRequest(runner="openvino", batch=0, threads=-1, source_fps=0.0, seconds=-1.0, iterations=0, warmup=0)
    fields = [problem.split(":")[0] for problem in caught.value.problems]
    assert fields == ["runner", "batch", "threads", "source_fps", "iterations", "warmup", "seconds"]


def test_the_command_prints_one_json_object_last(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", str(bundle.path), "--runner", "onnxruntime", "--seconds", "0", "--json"]
    assert run(ftsf, arguments, "ftsf") == 0
    out, err = capsys.readouterr()
    (timing,) = structured(json.loads(out.splitlines()[-1])["timings"], tuple[Timing, ...], "stdout")
    assert timing.heading == CPU_HEADING
    assert len(out.splitlines()) == 1
    assert CPU_HEADING in err


@pytest.mark.usefixtures("gpu", "measurements")
def test_the_command_says_the_figures(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ftsf, ["bench", str(bundle.path)], "ftsf") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1] == CPU_HEADING
    assert "weights     random, seed 0" in out
    assert "p50 10.00, p90 10.00, p95 10.00, p99 10.00, mean 10.00 ms" in out
    assert "200.00 clips/s" in out
    assert "213.3 s of video a second, where a clip stands for 2 frames x stride 16 = 32 frames" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--seconds", "-1", "--runner", "x"], 2, "runner: expected one of auto"),
        (["--batch", "9"], 2, "batch: this bundle takes 1 to 4"),
        pytest.param(["--runner", "tensorrt"], 3, "a GPU is needed", marks=needs_no_gpu),
    ],
)
def test_exit_codes(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert run(ftsf, ["bench", str(bundle.path), *arguments], "ftsf") == code
    err = capsys.readouterr().err
    assert f"error: {words}" in err
    assert "Traceback" not in err


def test_nan_outputs_end_the_command_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(tmp_path / "nan")
    write_model(bundle.onnx_path, float("nan"), onnx.TensorProto.FLOAT)
    rehash(bundle.path)
    assert run(ftsf, ["bench", str(bundle.path), "--runner", "onnxruntime"], "ftsf") == 4
    assert "logits is nan at [0, 0]; not timed; run: ftsf verify" in capsys.readouterr().err


def test_subject_of_a_measurement_is_json(bundle: Bundle, measurements: list[Measurement]) -> None:
    measure_bundle(bundle.path, QUICK)
    assert isinstance(measurements[0].subject, TimedFile)
    assert structured(json.loads(json.dumps(plain(measurements[0]))), Measurement, "file") == measurements[0]
