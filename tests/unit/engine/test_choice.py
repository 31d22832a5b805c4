"""Which builder makes which engine: every case of what was asked and what the machine has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ftsf_export.engine import choice as module
from ftsf_export.engine.choice import BuildTools, build_tools_here, resolve
from ftsf_export.errors import EnvironmentLacks, FtsfError, UsageError

LAPTOP = BuildTools(None, rtx_installed=True, tensorrt_installed=False)
BARE = BuildTools(None, rtx_installed=False, tensorrt_installed=False)
RTX_PC = BuildTools("8.9", rtx_installed=True, tensorrt_installed=True)
ORIN = BuildTools("8.7", rtx_installed=False, tensorrt_installed=True)
H100 = BuildTools("9.0", rtx_installed=True, tensorrt_installed=True)
H100_WITHOUT_TENSORRT = BuildTools("9.0", rtx_installed=True, tensorrt_installed=False)
GPU_LESS_WITH_TENSORRT = BuildTools(None, rtx_installed=False, tensorrt_installed=True)


@pytest.mark.parametrize(
    ("builder", "targets", "tools", "built", "deferred"),
    [
        ("auto", [], LAPTOP, ["rtx:rtx"], []),
        ("auto", ["rtx-30", "rtx-40"], LAPTOP, ["rtx:rtx-30", "rtx:rtx-40"], []),
        ("auto", ["jetson-orin"], LAPTOP, [], ["jetson-orin"]),
        ("auto", ["h100"], LAPTOP, [], ["h100"]),
        ("auto", ["b200", "rtx"], LAPTOP, ["rtx:rtx"], ["b200"]),
        ("auto", ["jetson-orin"], BARE, [], ["jetson-orin"]),
        ("auto", [], RTX_PC, ["tensorrt:sm_89"], []),
        ("auto", ["l4"], RTX_PC, ["tensorrt:l4"], []),
        ("auto", ["rtx-30"], RTX_PC, ["rtx:rtx-30"], []),
        ("auto", ["rtx"], RTX_PC, ["rtx:rtx"], []),
        ("auto", [], ORIN, ["tensorrt:sm_87"], []),
        ("auto", ["jetson-orin"], ORIN, ["tensorrt:jetson-orin"], []),
        ("auto", ["h200"], H100, ["tensorrt:h200"], []),
        ("auto", ["h100"], H100_WITHOUT_TENSORRT, [], ["h100"]),
        ("auto", [], H100_WITHOUT_TENSORRT, ["rtx:rtx"], []),
        ("rtx", [], LAPTOP, ["rtx:rtx"], []),
        ("rtx", ["a100"], LAPTOP, ["rtx:a100"], []),
        ("tensorrt", [], H100, ["tensorrt:sm_90"], []),
        ("tensorrt", ["h100"], H100, ["tensorrt:h100"], []),
        ("none", [], BARE, [], []),
        ("none", ["jetson-orin", "rtx"], BARE, [], ["jetson-orin", "rtx"]),
    ],
)
def test_what_is_built_here_and_what_is_left(
    builder: str, targets: list[str], tools: BuildTools, built: list[str], deferred: list[str]
) -> None:
    choice = resolve(builder, targets, "fp16", tools)
    assert [f"{one.builder}:{one.target.name}" for one in choice.to_build] == built
    assert [left.target.name for left in choice.deferred] == deferred


@pytest.mark.parametrize(
    ("builder", "targets", "tools", "precision", "error", "says"),
    [
        ("auto", [], BARE, "fp16", EnvironmentLacks, r"pip install 'ftsf-export\[rtx\]'"),
        ("auto", ["rtx-30"], BARE, "fp16", EnvironmentLacks, "--builder none"),
        ("auto", ["rtx-30"], GPU_LESS_WITH_TENSORRT, "fp16", EnvironmentLacks, "rtx-30: no builder"),
        ("rtx", [], BARE, "fp16", EnvironmentLacks, "tensorrt_rtx is not installed"),
        ("rtx", ["jetson-orin"], LAPTOP, "fp16", UsageError, "does not run on Jetson Orin.*--builder tensorrt"),
        ("rtx", ["jetson-orin"], BARE, "fp16", UsageError, "jetson-orin"),
        ("rtx", ["h100"], LAPTOP, "fp16", UsageError, r"covers compute capability 8\.0, .*not 9\.0"),
        ("rtx", ["t4"], LAPTOP, "fp16", UsageError, r"7\.5"),
        ("tensorrt", [], LAPTOP, "fp16", EnvironmentLacks, "package tensorrt is not installed"),
        ("tensorrt", [], GPU_LESS_WITH_TENSORRT, "fp16", EnvironmentLacks, "no GPU was found"),
        ("tensorrt", ["rtx"], RTX_PC, "fp16", UsageError, "builds for the one GPU"),
        ("tensorrt", ["jetson-orin"], RTX_PC, "fp16", UsageError, r"expected compute capability 8\.7.*has 8\.9"),
        ("auto", ["sm_86"], LAPTOP, "fp8", UsageError, r"8\.6 has no fp8; possible: fp32, fp16, bf16"),
        ("none", ["sm_86"], BARE, "fp8", UsageError, "has no fp8"),
        ("auto", ["h100"], LAPTOP, "fp8", UsageError, "this version makes fp32, fp16, bf16"),
        ("auto", [], LAPTOP, "int8", UsageError, "makes no engines in int8, only graphs"),
        ("rtx", [], LAPTOP, "fp8", UsageError, "has no fp8"),
        ("auto", ["jetson"], LAPTOP, "fp16", UsageError, "did you mean jetson-thor"),
        ("cuda", [], LAPTOP, "fp16", UsageError, "expected one of auto, tensorrt, rtx, none"),
    ],
)
def test_what_cannot_be(
    builder: str, targets: list[str], tools: BuildTools, precision: str, error: type[FtsfError], says: str
) -> None:
    with pytest.raises(error, match=says):
        resolve(builder, targets, precision, tools)


def test_a_deferred_engine_says_why_and_what_to_type() -> None:
    (left,) = resolve("auto", ["jetson-orin"], "fp16", LAPTOP).deferred
    assert left.command("out") == "ftsf build out --builder tensorrt --target jetson-orin"
    assert "Jetson Orin" in left.reason
    (left,) = resolve("auto", ["h100"], "fp16", LAPTOP).deferred
    assert "9.0" in left.reason
    (left,) = resolve("none", ["rtx"], "fp16", BARE).deferred
    assert left.command("out") == "ftsf build out --builder rtx --target rtx"


def test_every_wrong_target_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"h100.*jetson-thor"):
        resolve("rtx", ["h100", "jetson-thor"], "fp16", LAPTOP)


@pytest.mark.parametrize("capability", [None, "8.6"])
def test_the_tools_of_this_machine(monkeypatch: pytest.MonkeyPatch, capability: str | None) -> None:
    """By the driver, and by what is installed: importing a compiler would load it."""
    gpu = None if capability is None else SimpleNamespace(capability=capability)
    monkeypatch.setattr(module, "first_gpu", lambda: gpu)
    monkeypatch.setattr(module, "find_spec", lambda name: object() if name == "tensorrt_rtx" else None)
    assert build_tools_here() == BuildTools(capability, rtx_installed=True, tensorrt_installed=False)
