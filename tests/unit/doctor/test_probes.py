"""The probes themselves, in their own processes: what the libraries of this machine really do."""

from __future__ import annotations

from typing import Any

import pytest

from ftsf_export.doctor import probes
from ftsf_export.doctor.examine import run_probe
from ftsf_export.runners.driver import Gpu, gpu_problem


def test_the_identity_model_is_what_it_says() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(probes.IDENTITY_MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node] == [
        ("Identity", ["x"], ["y"])
    ]
    assert (model.ir_version, model.opset_import[0].version) == (8, 13)


def test_onnx_runtime_is_believed_only_where_a_session_says_so() -> None:
    pytest.importorskip("onnxruntime")
    result = run_probe("onnxruntime")
    assert result.works
    assert result.answer["providers"]["CPUExecutionProvider"] == ""
    if gpu_problem():
        others = {name: problem for name, problem in result.answer["providers"].items() if name.startswith("CUDA")}
        assert all(problem and "\n" not in problem for problem in others.values())


def test_a_provider_that_gives_its_place_to_the_cpu_does_not_load() -> None:
    class Session:
        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

    class Runtime:
        class SessionOptions:
            def add_session_config_entry(self, name: str, value: str) -> None:
                assert (name, value) == ("session.disable_cpu_ep_fallback", "1")

        @staticmethod
        def InferenceSession(*_arguments: Any, **_named: Any) -> Session:  # noqa: N802 - its name in ONNX Runtime
            return Session()

    problem = probes._provider_problem(Runtime, "CUDAExecutionProvider")
    assert problem == "the session took ['CPUExecutionProvider'] instead"


def test_pyav_and_its_ffmpeg() -> None:
    pytest.importorskip("av")
    answer = run_probe("av").answer
    assert int(answer["libraries"]["libavcodec"].split(".")[0]) >= 58


def test_what_cannot_be_imported_says_so() -> None:
    assert probes.probe_module(["json", "decoder"][0])["version"]
    with pytest.raises(ModuleNotFoundError):
        probes.probe_module("no_such_module_anywhere")


@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU here")
def test_without_a_driver() -> None:
    assert run_probe("driver").problem.startswith(("no NVIDIA driver", "the NVIDIA driver"))


def test_driver_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=24 << 30, driver_version="580.1", cuda_version="12.9")
    monkeypatch.setattr(probes, "gpus", lambda: (gpu,))
    assert probes.probe_driver() == {
        "cuda_version": "12.9",
        "driver_version": "580.1",
        "gpus": [{"name": "NVIDIA L4", "compute_capability": "8.9", "memory_bytes": 24 << 30}],
    }
