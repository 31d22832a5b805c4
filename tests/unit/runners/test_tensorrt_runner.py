"""Engines: what is refused before a library is touched, and the runner over a stand-in for Polygraphy's."""

from __future__ import annotations

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
from ftsf_export.runners.driver import Gpu
from ftsf_export.runners.specialised import HELD, SPECIALISED, specialised_context

L4 = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=24 << 30, driver_version="", cuda_version="13.0")


def use(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    monkeypatch.setattr(driver, "gpus", lambda: gpus)


@pytest.mark.parametrize(("builder", "module"), [("tensorrt", "tensorrt"), ("rtx", "tensorrt_rtx")])
def test_a_library_that_is_not_installed_is_a_lack(monkeypatch: pytest.MonkeyPatch, builder: str, module: str) -> None:
    use(monkeypatch, L4)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        EnvironmentLacks, match=rf"{module} is not installed; .* pip install 'ftsf-export\[{builder}\]'"
    ):
        tensorrt.require_tensorrt(builder)


def test_a_library_without_a_gpu_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__spec__=SimpleNamespace(name="tensorrt")))
    with pytest.raises(EnvironmentLacks, match="finds no GPU"):
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
    use(monkeypatch, L4)
    monkeypatch.setattr(tensorrt, "find_spec", lambda _name: object())
    monkeypatch.setattr(polygraphy.backend.trt, "TrtRunner", type("Inner", (Inner,), {}))
    monkeypatch.setattr(polygraphy.backend.trt, "EngineFromBytes", lambda data: lambda: data)
    path = tmp_path / "tensorrt-l4-fp16.engine"
    path.write_bytes(b"plan")
    return path


def test_outputs_outlive_the_next_call(engine: Path) -> None:
    with tensorrt.engine_runner(engine, builder="tensorrt") as runner:
        first = runner.infer({"clip": np.ones((1, 3), np.float32)})
        second = runner.infer({"clip": np.zeros((1, 3), np.float32)})
        assert runner.last_inference_time() == 0.25
        assert runner.kernels == HELD
    assert first["logits"].tolist() == [[2, 2, 2]]
    assert second["logits"].tolist() == [[0, 0, 0]]


def test_an_engine_of_rtx_is_compared_with_the_kernels_of_its_shape() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    strategies = rtx.DynamicShapesKernelSpecializationStrategy
    config = SimpleNamespace(dynamic_shapes_kernel_specialization_strategy=strategies.LAZY)
    engine = SimpleNamespace(create_runtime_config=lambda: config, create_execution_context=lambda given: given)
    context, kernels = specialised_context(engine)
    assert context is config
    assert kernels == SPECIALISED
    assert config.dynamic_shapes_kernel_specialization_strategy == strategies.EAGER


@pytest.mark.parametrize("engine_", [SimpleNamespace(), SimpleNamespace(create_runtime_config=SimpleNamespace)])
def test_an_engine_of_tensorrt_is_run_as_it_is(engine_: Any) -> None:
    loaded, kernels = specialised_context(engine_)
    assert loaded is engine_
    assert kernels == HELD


@pytest.mark.parametrize(
    "names", [["clip", "scores"], ["clip", "logits", "stray"], ["clip", "features", "stray"], ["clip"]]
)
def test_an_engine_with_other_outputs_is_refused(engine: Path, names: list[str]) -> None:
    polygraphy.backend.trt.TrtRunner.names = names
    with pytest.raises(RunError, match="expected outputs logits and features, got "):
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
