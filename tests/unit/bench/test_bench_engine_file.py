"""The bare engine in a file: what is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_export.errors import ConfigError, EnvironmentLacks, RunError
from ftsf_export.runners import tensorrt
from ftsf_export.runners.driver import gpu_problem
from ftsf_export.runners.tensorrt import load_engine


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "rtx-rtx-fp16.engine"
    path.write_bytes(b"no plan of any library")
    return path


@pytest.fixture
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "require_tensorrt", lambda _builder: None)


def test_another_builder(plan: Path) -> None:
    with pytest.raises(ConfigError, match="an engine is run by tensorrt or rtx, got 'openvino'"):
        load_engine(plan, "openvino")


@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU here")
@pytest.mark.parametrize("builder", ["tensorrt", "rtx"])
def test_without_a_gpu(plan: Path, builder: str) -> None:
    with pytest.raises(EnvironmentLacks):
        load_engine(plan, builder)


@pytest.mark.usefixtures("pretend_gpu")
def test_a_file_that_the_real_library_refuses(plan: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(RunError, match=r"rtx-rtx-fp16\.engine: tensorrt_rtx [\d.]+ refuses it: .*Error Code") as caught:
        load_engine(plan, "rtx")
    assert caught.value.message.endswith("build it here with ftsf build")
    assert caught.value.details


@pytest.mark.usefixtures("pretend_gpu")
def test_the_engine_and_the_librarys_version(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = object()

    class Logger:
        INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2

    class Runtime:
        def __init__(self, log: Any) -> None:
            log.log(Logger.WARNING, "a warning is no error")

        def deserialize_cuda_engine(self, data: bytes) -> object:
            assert data == b"no plan of any library"
            return engine

    library = SimpleNamespace(ILogger=Logger, Runtime=Runtime, __version__="11.1.0")
    monkeypatch.setattr(tensorrt, "import_module", {"tensorrt": library}.__getitem__)
    assert load_engine(plan, "tensorrt") == (engine, "11.1.0")
