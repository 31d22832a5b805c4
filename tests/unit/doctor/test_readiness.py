"""Which command can run with which abilities."""

from __future__ import annotations

import pytest

from ftsf_export.cli.main import COMMANDS
from ftsf_export.doctor.commands import (
    GPU,
    ONNX_RUNTIME,
    TENSORRT,
    TENSORRT_RTX,
    Lack,
    Readiness,
    needs_of_commands,
    readiness,
)
from ftsf_export.doctor.packages import required_packages

PACKAGES = required_packages()
NEEDS = needs_of_commands(PACKAGES)
CORE = {package.name for package in PACKAGES if package.extra == ""}
ONNX = CORE | {"onnx", "onnx-ir", "ml-dtypes", ONNX_RUNTIME}
EVERYTHING = {package.name for package in PACKAGES} | {GPU, ONNX_RUNTIME, TENSORRT, TENSORRT_RTX}


def command(name: str, abilities: set[str]) -> Readiness:
    return {one.command: one for one in readiness(abilities, NEEDS)}[name]


def test_every_command_has_its_needs() -> None:
    assert tuple(NEEDS) == COMMANDS


def test_every_need_names_something_that_can_be_there() -> None:
    named = {item for needs in NEEDS.values() for need in needs for way in need.ways for item in way}
    assert named <= EVERYTHING


def test_with_everything_all_are_ready_and_unlimited() -> None:
    assert all(one.ready and not one.limits for one in readiness(EVERYTHING, NEEDS))


def test_with_the_core_alone() -> None:
    assert {one.command for one in readiness(CORE, NEEDS) if one.ready} == {"targets", "info", "doctor"}


def test_with_nothing_nothing_is_ready() -> None:
    assert not any(one.ready for one in readiness(set(), NEEDS))


def test_verify_needs_no_torch() -> None:
    verify = command("verify", ONNX)
    assert verify.ready
    assert [lack.purpose for lack in verify.limits] == ["to judge an engine"]


def test_verify_can_do_with_an_engine_and_its_gpu() -> None:
    verify = command("verify", CORE | {TENSORRT, GPU})
    assert verify.ready
    assert [lack.items for lack in verify.limits] == [("onnx-ir", "ml-dtypes")]


@pytest.mark.parametrize("ability", [ONNX_RUNTIME, "onnx"])
def test_verify_needs_the_onnx_extra(ability: str) -> None:
    (lack,) = command("verify", ONNX - {ability}).lacks
    assert lack == Lack((ability,), "pip install 'ftsf-export[onnx]'")


def test_packages_of_one_extra_are_one_lack() -> None:
    lacks = command("export", CORE).lacks
    assert [(lack.items, lack.mend) for lack in lacks] == [
        (("torch", "safetensors", "onnxscript", "jinja2"), "pip install 'ftsf-export[export]'"),
        (("onnx", "onnx-ir", "ml-dtypes", "ONNX Runtime"), "pip install 'ftsf-export[onnx]'"),
    ]
    assert lacks[0].sentence().startswith("torch, safetensors, onnxscript, jinja2: pip install")


def test_export_runs_without_a_builder_but_says_so() -> None:
    export = command("export", EVERYTHING - {TENSORRT_RTX, TENSORRT, GPU})
    assert export.ready
    (lack,) = export.limits
    assert lack.items == (TENSORRT_RTX,)
    assert "--builder none" in lack.purpose


@pytest.mark.parametrize(
    ("abilities", "ready"),
    [
        ({TENSORRT_RTX}, True),
        ({TENSORRT, GPU}, True),
        ({TENSORRT}, False),
        ({GPU}, False),
    ],
)
def test_tensorrt_builds_only_with_a_gpu_and_rtx_without(abilities: set[str], ready: bool) -> None:
    assert command("build", CORE | abilities).ready is ready


@pytest.mark.parametrize(
    ("abilities", "ready"),
    [
        ({ONNX_RUNTIME}, True),
        ({TENSORRT_RTX, GPU}, True),
        ({TENSORRT, GPU}, True),
        ({TENSORRT_RTX, TENSORRT}, False),
        (set(), False),
    ],
)
def test_bench_measures_a_cpu_or_a_gpu(abilities: set[str], ready: bool) -> None:
    assert command("bench", CORE | abilities).ready is ready
