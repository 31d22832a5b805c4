"""A measurement in a process of its own: real children, on a tiny ONNX file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.bench.measurement import Measurement, measure_in_child
from ftsf_export.bench.memory import peak_rss_bytes
from ftsf_export.bench.sampling import Schedule
from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.runners.driver import gpu_problem
from ftsf_export.strict_json import plain, structured
from ftsf_export.timing import TimedFile

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FEED = {"clip": np.ones((2, 4), np.float32)}
SCHEDULE = Schedule(iterations=10, seconds=0.0, warmup=1, warmup_seconds=0.0)


def write_model(path: Path, value: float = 2.0) -> None:
    """logits = clip * value."""
    from onnx import TensorProto, helper, numpy_helper

    shape = ["batch", 4]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["clip", "by"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(value, np.float32), "by")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


@pytest.fixture
def measurement(tmp_path: Path, subject: TimedFile) -> Measurement:
    write_model(tmp_path / "model.onnx")
    return Measurement(
        backend="onnxruntime",
        file=tmp_path / "model.onnx",
        shapes={"logits": (2, 4)},
        subject=subject,
        schedule=SCHEDULE,
        threads=1,
    )


def test_a_measurement_survives_its_json_form(measurement: Measurement) -> None:
    assert structured(plain(measurement), Measurement, "file") == measurement
    with pytest.raises(ValueError, match="backend: expected one of onnxruntime, tensorrt, rtx, got 'openvino'"):
        replace(measurement, backend="openvino")


def test_one_timing_of_the_subject(measurement: Measurement, subject: TimedFile) -> None:
    (timing,) = measure_in_child(measurement, FEED)
    assert replace(timing.subject, notes=()) == subject
    assert timing.latency.count == 10
    assert timing.latency.p50_ms > 0
    assert timing.clips_per_s == pytest.approx(2e3 / timing.latency.mean_ms)


def test_memory_is_that_of_the_child_alone(measurement: Measurement) -> None:
    ballast = np.ones(60_000_000)  # 480 MB in this process
    (timing,) = measure_in_child(measurement, FEED)
    here = peak_rss_bytes()
    assert timing.peak_rss_bytes is not None
    assert here is not None
    assert here > ballast.nbytes
    assert 20_000_000 < timing.peak_rss_bytes < 300_000_000


def test_peak_memory_counts_what_was_given_back() -> None:
    script = (
        "from ftsf_export.bench.memory import peak_rss_bytes; before = peak_rss_bytes(); "
        "block = bytearray(200_000_000); del block; print(before, peak_rss_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after - before == pytest.approx(200_000_000, rel=0.1)


def test_a_file_that_the_runtime_refuses(measurement: Measurement) -> None:
    measurement.file.write_bytes(b"no protobuf")
    with pytest.raises(RunError, match=r"model\.onnx: ONNX Runtime refuses the file") as caught:
        measure_in_child(measurement, FEED)
    assert "\n" not in caught.value.message


def test_outputs_that_are_not_finite(measurement: Measurement) -> None:
    write_model(measurement.file, float("nan"))
    with pytest.raises(RunError, match=r"logits is nan at \[0, 0\]; not timed; run: ftsf verify"):
        measure_in_child(measurement, FEED)


@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU here")
@pytest.mark.parametrize("backend", ["tensorrt", "rtx"])
def test_an_engine_without_a_gpu_lacks_one(measurement: Measurement, backend: str) -> None:
    with pytest.raises(EnvironmentLacks, match=r"a GPU is needed to run model\.onnx"):
        measure_in_child(replace(measurement, backend=backend), FEED)


def test_a_process_that_dies_is_an_error(measurement: Measurement, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that aborts while it is imported."""
    folder = measurement.file.parent / "aborting"
    folder.mkdir()
    (folder / "onnxruntime.py").write_text("import os; os.write(2, b'native log'); os.abort()", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(RunError, match=r"model\.onnx: measuring it with onnxruntime died \(SIGABRT\): native log"):
        measure_in_child(measurement, FEED)
