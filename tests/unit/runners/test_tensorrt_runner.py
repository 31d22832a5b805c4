"""Engines: what is refused before a library is touched, and the runner over a stand-in for Polygraphy's."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polygraphy.backend.trt
import pytest
from polygraphy.common import TensorMetadata
from polygraphy.exception import PolygraphyException
from polygraphy.logger import G_LOGGER

from ftsf_export.errors import ConfigError, EnvironmentLacks, RunError
from ftsf_export.runners import driver, flavour, tensorrt


class Driver:
    """A CUDA driver: the statuses of its calls, and its GPUs' compute capabilities."""

    def __init__(self, *, init: int = 0, count_status: int = 0, gpus: int = 1, query: int = 0) -> None:
        self.init, self.count_status, self.gpus, self.query = init, count_status, gpus, query

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, out: Any) -> int:  # noqa: N802
        out._obj.value = self.gpus
        return self.count_status

    def cuDeviceGet(self, out: Any, index: int) -> int:  # noqa: N802
        out._obj.value = index
        return 0

    def cuDeviceGetAttribute(self, out: Any, attribute: int, _device: Any) -> int:  # noqa: N802
        out._obj.value = {75: 8, 76: 9}[attribute]
        return self.query


def use(monkeypatch: pytest.MonkeyPatch, found: Driver | None) -> None:
    def load(_name: str) -> Driver:
        if found is None:
            raise OSError("libcuda.so.1: cannot open shared object file")
        return found

    monkeypatch.setattr(ctypes, "CDLL", load)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "no NVIDIA driver on this machine"),
        (Driver(init=100), "cuInit returned 100"),
        (Driver(count_status=3), "cuDeviceGetCount returned 3"),
        (Driver(gpus=0), "finds no GPU"),
    ],
)
def test_a_gpu_that_does_not_answer_is_a_lack(
    monkeypatch: pytest.MonkeyPatch, found: Driver | None, problem: str
) -> None:
    use(monkeypatch, found)
    assert problem in driver.gpu_problem()
    assert driver.compute_capability() == ""
    with pytest.raises(EnvironmentLacks, match=problem):
        driver.require_gpu("to run an engine")


def test_a_gpu_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Driver())
    assert driver.gpu_problem() == ""
    assert driver.compute_capability() == "8.9"
    driver.require_gpu("to run an engine")
    use(monkeypatch, Driver(query=1))
    with pytest.raises(RunError, match="status 1"):
        driver.compute_capability()


@pytest.mark.parametrize(("builder", "module"), [("tensorrt", "tensorrt"), ("rtx", "tensorrt_rtx")])
def test_a_library_that_is_not_installed_is_a_lack(monkeypatch: pytest.MonkeyPatch, builder: str, module: str) -> None:
    use(monkeypatch, Driver())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        EnvironmentLacks, match=rf"{module} is not installed; .* pip install 'ftsf-export\[{builder}\]'"
    ):
        tensorrt.require_tensorrt(builder)


def test_a_library_without_a_gpu_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__spec__=SimpleNamespace(name="tensorrt")))
    with pytest.raises(EnvironmentLacks, match="no NVIDIA driver"):
        tensorrt.engine_runner(Path("model.engine"), builder="tensorrt")


def test_an_unknown_builder_is_a_wrong_option() -> None:
    with pytest.raises(ConfigError, match="tensorrt or rtx, got 'auto'"):
        flavour.choose_flavour("auto")


def test_a_process_is_bound_to_one_library() -> None:
    flavour.choose_flavour("tensorrt")
    with pytest.raises(RunError, match="bound to tensorrt and cannot run tensorrt_rtx; start another process"):
        flavour.choose_flavour("rtx")


def test_a_fresh_process_is_bound_by_the_first_choice() -> None:
    code = (
        "from ftsf_export.runners.flavour import choose_flavour; choose_flavour('rtx');"
        "from polygraphy.mod.trt_importer import tensorrt_module_and_version_string as bound; print(bound())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.startswith("tensorrt_rtx")


class Engine:
    """The part of ICudaEngine that the runner asks for the outputs' names."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.num_io_tensors = len(names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "TensorIOMode.INPUT" if name == "clip" else "TensorIOMode.OUTPUT"


class Inner:
    """In place of Polygraphy's TrtRunner: one host buffer, used again by every call."""

    names = ["clip", "logits"]
    fails_to_load = False
    fails_to_run = False

    def __init__(self, engine: bytes) -> None:
        self.bytes = engine
        self.buffer = np.zeros((1, 3), np.float32)
        self.active = False

    def activate(self) -> None:
        if self.fails_to_load:
            G_LOGGER.error("expecting library version 10.3 got 11.1")
            raise PolygraphyException("Could not deserialize engine. See log for details.")
        self.engine = Engine(self.names)
        self.active = True

    def deactivate(self) -> None:
        self.active = False

    def get_input_metadata(self, use_numpy_dtypes: bool) -> Any:
        assert not use_numpy_dtypes
        return TensorMetadata().add("clip", np.float32, (1, 3))

    def infer(self, feed: dict[str, np.ndarray]) -> OrderedDict[str, np.ndarray]:
        if self.fails_to_run:
            G_LOGGER.error("out of memory")
            raise PolygraphyException("`execute_async_v3()` failed.")
        self.buffer[:] = feed["clip"] * 2
        return OrderedDict(logits=self.buffer)

    def last_inference_time(self) -> float:
        return 0.25


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    use(monkeypatch, Driver())
    monkeypatch.setattr(tensorrt, "find_spec", lambda _name: object())
    monkeypatch.setattr(polygraphy.backend.trt, "TrtRunner", type("Inner", (Inner,), {}))
    monkeypatch.setattr(polygraphy.backend.trt, "EngineFromBytes", lambda data: data)
    path = tmp_path / "tensorrt-l4-fp16.engine"
    path.write_bytes(b"plan")
    return path


def test_outputs_outlive_the_next_call(engine: Path) -> None:
    with tensorrt.engine_runner(engine, builder="tensorrt") as runner:
        first = runner.infer({"clip": np.ones((1, 3), np.float32)})
        second = runner.infer({"clip": np.zeros((1, 3), np.float32)})
        assert runner.last_inference_time() == 0.25
    assert first["logits"].tolist() == [[2, 2, 2]]
    assert second["logits"].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("names", [["clip", "scores"], ["clip", "logits", "stray"], ["clip"]])
def test_an_engine_with_other_outputs_is_refused(engine: Path, names: list[str]) -> None:
    polygraphy.backend.trt.TrtRunner.names = names
    with pytest.raises(RunError, match="expected the one output 'logits'"):
        tensorrt.engine_runner(engine, builder="tensorrt").activate()


@pytest.mark.parametrize(
    ("fault", "log"), [("fails_to_load", "expecting library version 10.3 got 11.1"), ("fails_to_run", "out of memory")]
)
def test_the_librarys_own_log_goes_into_the_error(
    engine: Path, fault: str, log: str, capfd: pytest.CaptureFixture[str]
) -> None:
    setattr(polygraphy.backend.trt.TrtRunner, fault, True)
    runner = tensorrt.engine_runner(engine, builder="tensorrt")
    with pytest.raises(RunError, match=rf"tensorrt-l4-fp16\.engine: tensorrt cannot run it: {log}") as caught, runner:
        runner.infer({"clip": np.ones((1, 3), np.float32)})
    assert log in caught.value.details
    assert capfd.readouterr() == ("", "")
