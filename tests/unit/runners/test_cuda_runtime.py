"""Where the CUDA runtime is found, and which one the driver runs."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from polygraphy.cuda import cuda as polygraphy_cuda

from ftsf_export.errors import EnvironmentLacks
from ftsf_export.runners import cuda_runtime as found


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    found.cuda_runtime.cache_clear()
    monkeypatch.setattr(polygraphy_cuda, "G_CUDA", None)


def use(monkeypatch: pytest.MonkeyPatch, packages: Path, driver: int, *, loads: bool = True) -> list[str]:
    """A machine with these packages, a driver of that CUDA, and no toolkit; what it loads is listed."""
    loaded: list[str] = []

    def load(name: str) -> Any:
        if "/" not in name or not loads:
            raise OSError(f"{name}: cannot open shared object file")
        loaded.append(name)
        return SimpleNamespace(name=name)

    monkeypatch.setattr(sys, "path", [str(packages)])
    monkeypatch.setattr(found, "_TOOLKITS", ())
    monkeypatch.setattr(found, "_driver_major", lambda: driver)
    monkeypatch.setattr(ctypes, "CDLL", load)
    return loaded


def install(packages: Path, *files: str) -> None:
    for file in files:
        (packages / file).parent.mkdir(parents=True, exist_ok=True)
        (packages / file).touch()


CU12, CU13 = "nvidia/cuda_runtime/lib/libcudart.so.12", "nvidia/cu13/lib/libcudart.so.13"


@pytest.mark.parametrize(("driver", "taken"), [(13, CU13), (12, CU12), (0, CU13)])
def test_the_newest_that_the_driver_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: int, taken: str
) -> None:
    """The package of CUDA 13 has a folder that Polygraphy does not look into; Polygraphy gets the library too."""
    install(tmp_path, CU12, CU13)
    loaded = use(monkeypatch, tmp_path, driver)
    library = found.cuda_runtime()
    assert loaded == [str(tmp_path / taken)]
    assert polygraphy_cuda.wrapper().handle is library
    assert found.cuda_runtime() is library


def test_none_that_the_driver_runs_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, CU13)
    assert use(monkeypatch, tmp_path, 12) == []
    with pytest.raises(EnvironmentLacks, match="pip install nvidia-cuda-runtime-cu12") as caught:
        found.cuda_runtime()
    assert "libcudart.so.13 is of CUDA 13, the driver runs CUDA 12 at most" in caught.value.details


def test_a_file_that_does_not_load_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, CU12)
    use(monkeypatch, tmp_path, 12, loads=False)
    with pytest.raises(EnvironmentLacks) as caught:
        found.cuda_runtime()
    assert f"{tmp_path / CU12}: cannot open" in caught.value.details


@pytest.mark.parametrize(
    ("name", "major"),
    [("libcudart.so.13", 13), ("libcudart.so.11.0", 11), ("cudart64_13.dll", 13), ("cudart64_110.dll", 11), ("x", 0)],
)
def test_the_version_is_in_the_name(name: str, major: int) -> None:
    assert found.major_of(name) == major
