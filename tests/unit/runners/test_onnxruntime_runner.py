"""ONNX Runtime: outputs, taps, external data, and refusal to run anywhere but where it was asked to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.runners.onnxruntime import CPU, CUDA, OnnxRuntimeRunner

Graph = Callable[..., Path]
Arrays = dict[str, np.ndarray]


def test_logits_alone(graph: Graph, clips: np.ndarray, expected: Arrays) -> None:
    with OnnxRuntimeRunner(graph()) as runner:
        outputs = runner.infer({"clip": clips})
        assert runner.last_inference_time() > 0
    assert list(outputs) == ["logits"]
    np.testing.assert_allclose(outputs["logits"], expected["logits"], rtol=1e-5)


@pytest.mark.parametrize("external", [False, True])
def test_taps_are_given_beside_the_logits(
    graph: Graph, clips: np.ndarray, expected: Arrays, external: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = graph(external=external)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    # A relative path, from another folder: external data must be looked for beside the model.
    monkeypatch.chdir(tmp_path.parent)
    with OnnxRuntimeRunner(Path(os.path.relpath(path)), taps=["blocks.0.mlp"]) as runner:
        outputs = runner.infer({"clip": clips})
    assert list(outputs) == ["logits", "blocks.0.mlp"]
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_an_unoptimized_graph_keeps_its_pairs_of_casts(graph: Graph, clips: np.ndarray, expected: Arrays) -> None:
    with OnnxRuntimeRunner(graph(half=True), taps=["blocks.0.mlp"], optimize=False, threads=1) as runner:
        outputs = runner.infer({"clip": clips})
    rounded = outputs["blocks.0.mlp"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(outputs["blocks.0.mlp"], rounded)
    assert np.abs(outputs["logits"] - expected["logits"]).max() > 1e-5


def test_a_tap_that_is_not_there_is_named(graph: Graph) -> None:
    with pytest.raises(RunError, match=r"model\.onnx: no node gives a value called 'blocks\.7\.mlp'"):
        OnnxRuntimeRunner(graph(), taps=["blocks.7.mlp"]).activate()


def test_a_graph_without_logits_does_not_run(graph: Graph, clips: np.ndarray) -> None:
    with OnnxRuntimeRunner(graph(output="scores")) as runner, pytest.raises(RunError, match="logits"):
        runner.infer({"clip": clips})


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x00\x01 this is no graph")
    with pytest.raises(RunError, match=r"model\.onnx: ONNX Runtime refuses the file") as error:
        OnnxRuntimeRunner(path).activate()
    # The folder is a private copy's, and another one every time.
    assert str(tmp_path) not in error.value.message
    with pytest.raises(RunError, match=r"model\.onnx: not a readable ONNX file"):
        OnnxRuntimeRunner(path, taps=["norm"]).activate()


class Listed:
    """An ONNX Runtime that lists CUDA and runs on the CPU whatever it is asked, as the GPU wheel does without a GPU."""

    class GraphOptimizationLevel:
        ORT_DISABLE_ALL = 0

    class SessionOptions:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries[key] = value

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses
        self.seen: dict[str, Any] = {}

    def get_available_providers(self) -> list[str]:
        return [CUDA, CPU]

    def InferenceSession(self, _model: object, sess_options: SessionOptions, providers: list[str]) -> Any:  # noqa: N802
        self.seen = {"entries": sess_options.entries, "providers": providers}
        if self.refuses:
            raise RuntimeError("This session contains graph nodes that fallback to CPU is disabled for")
        return type("Session", (), {"get_providers": lambda _: [CPU]})()


@pytest.mark.parametrize(("refuses", "message"), [(False, "runs on CPUExecutionProvider"), (True, "alone")])
def test_a_silent_fallback_to_the_cpu_is_refused(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, refuses: bool, message: str
) -> None:
    fake = Listed(refuses=refuses)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    with pytest.raises(EnvironmentLacks, match=message):
        OnnxRuntimeRunner(graph(), provider=CUDA).activate()
    assert fake.seen["entries"]["session.disable_cpu_ep_fallback"] == "1"
    assert fake.seen["providers"] == [CUDA]


def test_the_real_library_does_not_run_on_the_cpu_what_cuda_was_asked_for(graph: Graph) -> None:
    """Whatever machine this is: CUDA, or a refusal, and never the CPU."""
    runner = OnnxRuntimeRunner(graph(), provider=CUDA)
    try:
        runner.activate()
    except EnvironmentLacks:
        return
    assert runner._session.get_providers()[0] == CUDA
    runner.deactivate()


def test_a_provider_that_this_build_lacks_is_refused(graph: Graph) -> None:
    with pytest.raises(EnvironmentLacks, match="no NowhereExecutionProvider; it has"):
        OnnxRuntimeRunner(graph(), provider="NowhereExecutionProvider").activate()


@pytest.mark.parametrize(("module", "taps"), [("onnxruntime", []), ("onnx", ["blocks.0.mlp"])])
def test_without_the_package_it_says_what_to_install(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, module: str, taps: list[str]
) -> None:
    path = graph()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentLacks, match=r"pip install 'ftsf-export\[onnx\]'"):
        OnnxRuntimeRunner(path, taps=taps).activate()
