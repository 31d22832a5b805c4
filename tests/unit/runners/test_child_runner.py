"""A runner in a child process: the same results, the same errors, and a death that is survived."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.parity.compare import compare
from ftsf_export.runners.child_runner import ChildRunner
from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

Graph = Callable[..., Path]


def test_it_gives_what_the_backend_gives_here(graph: Graph, clips: np.ndarray) -> None:
    path = graph()
    pairs = compare(OnnxRuntimeRunner(path), ChildRunner(path, backend="onnxruntime"), clips)
    assert list(pairs) == ["logits"]
    np.testing.assert_array_equal(pairs["logits"].reference, pairs["logits"].candidate)


def test_an_error_in_the_child_comes_back_as_it_was_raised(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(RunError, match=r"model\.onnx: ONNX Runtime refuses the file"):
        ChildRunner(path, backend="onnxruntime").activate()


def test_a_failing_call_leaves_the_runner_usable(graph: Graph, clips: np.ndarray) -> None:
    with ChildRunner(graph(), backend="onnxruntime") as runner:
        with pytest.raises(RunError, match="onnxruntime failed"):
            runner.infer_impl({"clip": clips[:, :1]})
        assert runner.infer({"clip": clips})["logits"].shape == (3, 4)


@pytest.mark.parametrize("backend", ["tensorrt", "rtx"])
def test_an_engine_without_a_gpu_is_a_lack(tmp_path: Path, backend: str) -> None:
    if os.path.exists("/dev/nvidia0"):
        pytest.skip("this machine has a GPU")
    path = tmp_path / "x.engine"
    path.write_bytes(b"plan")
    with pytest.raises(EnvironmentLacks, match=r"not installed|no NVIDIA driver"):
        ChildRunner(path, backend=backend).activate()


def test_a_child_that_dies_is_an_error_that_says_how(graph: Graph, clips: np.ndarray) -> None:
    with ChildRunner(graph(), backend="onnxruntime") as runner:
        os.kill(runner._child.pid, signal.SIGKILL)
        with pytest.raises(RunError, match=r"model\.onnx: onnxruntime died \(SIGKILL\)"):
            runner.infer({"clip": clips})


def test_the_child_ends_with_the_runner(graph: Graph) -> None:
    runner = ChildRunner(graph(), backend="onnxruntime")
    with runner:
        pid = runner._child.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_runner_that_is_not_active_says_so(graph: Graph, clips: np.ndarray) -> None:
    with pytest.raises(RunError, match="not active"):
        ChildRunner(graph(), backend="onnxruntime").infer_impl({"clip": clips})
