"""A Jetson is told by its files, and is advised to use apt where others use pip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from ftsf_export import jetson as module
from ftsf_export.cli.main import ftsf, run
from ftsf_export.doctor import commands, packages
from ftsf_export.doctor.commands import needs_of_commands
from ftsf_export.doctor.examine import ProbeResult, examine
from ftsf_export.doctor.packages import Package, required_packages
from ftsf_export.errors import EnvironmentLacks, install_command
from ftsf_export.jetson import Jetson, jetson
from ftsf_export.runners import cuda_runtime
from ftsf_export.runners.tensorrt import require_tensorrt

RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
MODEL = "NVIDIA Jetson AGX Orin Developer Kit\0"
APT = "sudo apt install python3-libnvinfer"
VENV = "/usr/bin/python3 -m venv --system-site-packages"


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., Path]:
    """A root directory with the files that a Jetson has."""

    def make(*, release: str = RELEASE, model: str = MODEL) -> Path:
        for name, text in (("etc/nv_tegra_release", release), ("proc/device-tree/model", model)):
            if text:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text(text)
        return tmp_path

    return make


@pytest.fixture
def on_a_jetson(root: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROOT", root())


def test_a_jetson_is_told_by_its_files(root: Callable[..., Path]) -> None:
    assert jetson(root()) == Jetson("NVIDIA Jetson AGX Orin Developer Kit", "36.4.3")


def test_in_a_container_the_device_tree_is_enough(root: Callable[..., Path]) -> None:
    assert jetson(root(release="")) == Jetson("NVIDIA Jetson AGX Orin Developer Kit", "")


def test_without_a_device_tree_the_release_is_enough(root: Callable[..., Path]) -> None:
    assert jetson(root(model="")) == Jetson("Jetson", "36.4.3")


def test_another_board_is_none(root: Callable[..., Path], tmp_path: Path) -> None:
    assert jetson(tmp_path) is None
    assert jetson(root(release="", model="Raspberry Pi 5 Model B\0")) is None


def test_advice_elsewhere_is_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    assert install_command("tensorrt") == "pip install 'ftsf-export[tensorrt]'"


@pytest.mark.usefixtures("on_a_jetson")
def test_advice_for_tensorrt_is_apt_and_for_the_rest_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3/dist-packages"])
    assert install_command("tensorrt") == APT
    assert install_command("onnx") == "pip install 'ftsf-export[onnx]'"


@pytest.mark.usefixtures("on_a_jetson")
def test_an_environment_that_does_not_see_the_systems_packages_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/opt/own/lib/python3.10/site-packages"])
    assert install_command("tensorrt").startswith(f"{APT}, and make the virtual environment with: {VENV}")


@pytest.mark.usefixtures("on_a_jetson")
def test_errors_say_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftsf_export.runners.tensorrt.find_spec", lambda _: None)
    with pytest.raises(EnvironmentLacks, match=f"tensorrt is not installed; install it with: {APT}"):
        require_tensorrt("tensorrt")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(EnvironmentLacks, match="tensorrt_rtx has no package for aarch64") as caught:
        require_tensorrt("rtx")
    assert "pip" not in str(caught.value)
    monkeypatch.setattr(cuda_runtime, "candidates", lambda: iter(()))
    monkeypatch.setattr(cuda_runtime, "_driver_major", lambda: 12)
    cuda_runtime.cuda_runtime.cache_clear()
    with pytest.raises(EnvironmentLacks, match=r"install it with: sudo apt install nvidia-cuda$"):
        cuda_runtime.cuda_runtime()


def jetson_packages() -> tuple[Package, ...]:
    """Those of aarch64: setup.py has markers for what there is no wheel for."""
    return tuple(one for one in required_packages() if one.extra != "rtx" and one.name != "nvidia-cuda-runtime")


@pytest.mark.usefixtures("on_a_jetson")
def test_no_command_is_told_to_install_tensorrt_by_pip() -> None:
    needs = needs_of_commands(jetson_packages())
    told = {need.mend for some in needs.values() for need in some if commands.TENSORRT in str(need.ways)}
    assert any(APT in mend for mend in told)
    assert not any("[tensorrt]" in mend or "[rtx]" in mend for mend in told)
    assert not any("nvidia-ml-py" in str(need.ways) for need in needs["bench"])


@pytest.mark.usefixtures("on_a_jetson")
def test_doctor_says_what_it_is_and_apt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A driver with a GPU, and nothing else installed."""

    def missing(_: str) -> str:
        raise metadata.PackageNotFoundError

    gpu = {"name": "Orin", "compute_capability": "8.7", "memory_bytes": 30 << 30}
    monkeypatch.setattr(packages, "required_packages", jetson_packages)
    examined = examine(
        version_of=missing, importable=lambda _: False,
        probe=lambda name: ProbeResult(name, "", {"gpus": [gpu], "cuda_version": "12.6"}),
    )  # fmt: skip
    monkeypatch.setattr("ftsf_export.doctor.examine.examine", lambda: examined)
    assert run(ftsf, ["doctor"], "ftsf") == 0
    said = capsys.readouterr().out
    assert "Jetson   NVIDIA Jetson AGX Orin Developer Kit, L4T 36.4.3" in said
    assert APT in said
    assert "[tensorrt]" not in said
    assert "[rtx]" not in said


def test_the_script_that_installs_asks_the_same(root: Callable[..., Path]) -> None:
    """``python -m ftsf_export.jetson``: exit 0 on a Jetson, 1 elsewhere, by any Python and with no package."""
    code = f"import runpy, pathlib, ftsf_export.jetson as j; j._ROOT = pathlib.Path({str(root())!r}); raise SystemExit"
    assert subprocess.run([sys.executable, "-S", "-m", "ftsf_export.jetson"], check=False).returncode == 1
    assert subprocess.run([sys.executable, "-S", "-c", f"{code}(j.jetson() is None)"], check=False).returncode == 0
