"""From packages and probes to a diagnosis: what is a fault, what merely is not there, and what can be done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import pytest

from ftsf_export.doctor import examine as module
from ftsf_export.doctor.examine import Diagnosis, ProbeResult, check_command, examine, require_command, run_probe
from ftsf_export.doctor.machine import Machine, processor_name, this_machine
from ftsf_export.doctor.packages import required_packages
from ftsf_export.errors import EnvironmentLacks, UsageError

CORE = {package.name: "99" for package in required_packages() if package.extra == ""}
ONNX = {"onnx": "1.23", "onnx-ir": "1.1", "ml-dtypes": "0.5", "onnxruntime": "1.22"}
NO_DRIVER = ProbeResult("driver", "no NVIDIA driver (libcuda.so.1 cannot be loaded)", {})
L4 = ProbeResult(
    "driver",
    "",
    {"cuda_version": "13.0", "gpus": [{"name": "NVIDIA L4", "compute_capability": "8.9", "memory_bytes": 24 << 30}]},
)
MACHINE = Machine("3.12.1", "/usr/bin/python3", "Linux", "a processor", 4, 8 << 30)


def diagnose(
    packages: Mapping[str, str], *probes: ProbeResult, importable: tuple[str, ...] = ()
) -> tuple[Diagnosis, list[str]]:
    """The diagnosis of such a machine, and the names of the probes that were run. Probes not given work."""

    def version_of(name: str) -> str:
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return packages[name]

    answers = {"driver": NO_DRIVER, **{probe.name: probe for probe in probes}}
    asked: list[str] = []

    def probe(name: str) -> ProbeResult:
        asked.append(name)
        return answers.get(name, ProbeResult(name, "", {"version": "1.0"}))

    diagnosis = examine(
        version_of=version_of,
        importable=importable.__contains__,
        probe=probe,
        machine=lambda: MACHINE,
    )
    return diagnosis, asked


def test_a_laptop_has_no_fault() -> None:
    diagnosis, asked = diagnose({**CORE, **ONNX})
    assert diagnosis.problems == ()
    assert diagnosis.gpus == ()
    assert sorted(asked) == ["driver", "onnxruntime"]
    assert diagnosis.command("verify").ready
    assert diagnosis.command("bench").ready
    assert not diagnosis.command("export").ready


def test_a_library_that_is_installed_and_does_not_load_is_a_fault() -> None:
    broken = ProbeResult("onnxruntime", "ImportError: libonnxruntime.so", {})
    diagnosis, _ = diagnose({**CORE, **ONNX}, broken)
    assert diagnosis.problems == ("onnxruntime is installed and does not load: ImportError: libonnxruntime.so",)
    assert not diagnosis.command("verify").ready


def test_an_old_release_is_a_fault_and_no_ability() -> None:
    diagnosis, _ = diagnose({**CORE, **ONNX, "onnxruntime": "1.19.2"})
    assert diagnosis.problems == ("onnxruntime 1.19.2 (expected >=1.20)",)
    (lack,) = diagnosis.command("verify").lacks
    assert lack.items == ("onnxruntime 1.19.2 (expected >=1.20)",)


def test_a_command_that_an_old_release_keeps_from_running_names_both_versions() -> None:
    diagnosis, _ = diagnose({**CORE, **ONNX, "torch": "2.8.1"})
    with pytest.raises(
        EnvironmentLacks, match=r"ftsf export cannot run here: torch 2\.8\.1 \(expected >=[0-9.]+\), safetensors"
    ):
        require_command(diagnosis, "export")


def test_two_onnxruntimes_are_a_fault() -> None:
    diagnosis, _ = diagnose({**CORE, **ONNX, "onnxruntime-gpu": "1.22"})
    assert "onnxruntime-gpu and onnxruntime are both installed" in diagnosis.problems[0]


def test_a_gpu_and_an_engine_library_make_bench_unlimited_but_for_nvml() -> None:
    diagnosis, _ = diagnose({**CORE, "tensorrt": "11.1"}, L4)
    bench = diagnosis.command("bench")
    assert bench.ready
    assert [lack.items for lack in bench.limits] == [("nvidia-ml-py",)]
    assert diagnosis.gpus[0]["name"] == "NVIDIA L4"


def test_a_release_that_is_known_to_be_wrong_on_this_gpu_is_a_warning_and_no_fault() -> None:
    bad = ProbeResult("tensorrt", "", {"version": "10.7.0.23"})
    diagnosis, _ = diagnose({**CORE, **ONNX, "tensorrt": "10.7.0.23"}, L4, bad)
    (warning,) = diagnosis.warnings
    assert "TensorRT 10.7.0.23, compute capability 8.9" in warning
    assert "https://github.com/NVIDIA/TensorRT/issues/4333" in warning
    assert "prove the engine on that GPU with ftsf verify" in warning
    assert diagnosis.as_dict()["warnings"] == [warning]
    assert not any("4333" in problem for problem in diagnosis.problems)
    other, _ = diagnose({**CORE, **ONNX, "tensorrt": "10.7.0.23"}, bad)
    assert other.warnings == ()


def test_a_driver_without_a_gpu_is_no_gpu() -> None:
    diagnosis, _ = diagnose(
        {**CORE, "tensorrt": "11.1"}, ProbeResult("driver", "", {"cuda_version": "13.0", "gpus": []})
    )
    assert not diagnosis.command("bench").ready


def test_a_library_of_jetpack_has_no_metadata_and_still_counts() -> None:
    diagnosis, asked = diagnose(CORE, L4, importable=("tensorrt",))
    assert sorted(asked) == ["driver", "tensorrt"]
    assert diagnosis.command("build").ready


def test_json_form() -> None:
    diagnosis, _ = diagnose({**CORE, **ONNX}, L4)
    data = json.loads(json.dumps(diagnosis.as_dict()))
    assert set(data) == {"machine", "packages", "libraries", "problems", "commands", "warnings"}
    torch = next(package for package in data["packages"] if package["name"] == "torch")
    assert (torch["version"], torch["usable"], torch["install"]) == (None, False, "pip install 'ftsf-export[export]'")
    assert data["libraries"]["driver"]["gpus"][0]["compute_capability"] == "8.9"
    assert [command["ready"] for command in data["commands"] if command["command"] == "verify"] == [True]


def test_a_command_that_cannot_run_is_an_error_that_says_what_to_install() -> None:
    diagnosis, _ = diagnose(CORE)
    require_command(diagnosis, "info")
    with pytest.raises(
        EnvironmentLacks, match=r"ftsf verify cannot run here: onnx, .*pip install 'ftsf-export\[onnx\]'"
    ):
        require_command(diagnosis, "verify")
    check_command("verify")
    with pytest.raises(UsageError, match=r"--for: expected one of export, verify, .*, got 'sing'"):
        check_command("sing")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("import os; os.abort()", "its process died (SIGABRT)"),
        ("raise SystemExit('no such thing')", "its process died (exit status 1): no such thing"),
        ("raise ImportError('libnvinfer is not there')", "ImportError: libnvinfer is not there"),
        ("import time; time.sleep(60)", "its process was not done after 1 s and was killed"),
    ],
)
def test_a_probe_that_crashes_or_hangs_harms_nobody(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    (tmp_path / "tensorrt.py").write_text(script)
    monkeypatch.syspath_prepend(tmp_path)
    if "sleep" in script:
        monkeypatch.setattr(module, "_PROBE_TIMEOUT_S", 1.0)
    result = run_probe("tensorrt")
    assert result.problem.startswith(problem)
    assert not result.works


def test_what_a_library_prints_is_no_answer(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("print('hello'); __version__ = '11.1'")
    monkeypatch.syspath_prepend(tmp_path)
    assert run_probe("tensorrt") == ProbeResult("tensorrt", "", {"version": "11.1"})


def test_this_machine() -> None:
    machine = this_machine()
    assert machine.cpus >= 1
    assert machine.memory_bytes is None or machine.memory_bytes > 1 << 28
    assert machine.python.startswith("3.")
    assert machine.processor


def test_the_processors_name(tmp_path: Any) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Fast One @ 3 GHz\nmodel name\t: another\n")
    assert processor_name(info) == "A Fast One @ 3 GHz"
    assert processor_name(tmp_path / "none")
