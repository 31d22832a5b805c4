"""The table of targets: consistent with itself, and clear about what cannot be."""

from __future__ import annotations

import pytest

from ftsf_export.engine.targets import (
    CAPABILITIES,
    RTX_AHEAD_OF_TIME,
    TARGETS,
    default_opset,
    target_named,
    target_of_capability,
)
from ftsf_export.errors import UsageError
from ftsf_export.precision import PRECISIONS


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_can_be_built_somehow(name: str) -> None:
    target = TARGETS[name]
    assert target.name == name
    assert target.capabilities == tuple(sorted(target.capabilities, key=float))
    assert target.builders
    assert target.precisions[:2] == ("fp32", "fp16")
    assert set(target.precisions) <= set(PRECISIONS)
    assert ("rtx" in target.builders) == (not target.rtx_problem())


@pytest.mark.parametrize(
    ("name", "capabilities"),
    [
        ("rtx", ("8.6", "8.9", "12.0")),
        ("rtx-30", ("8.6",)),
        ("rtx-40", ("8.9",)),
        ("rtx-50", ("12.0",)),
        ("jetson-orin", ("8.7",)),
        ("jetson-thor", ("11.0",)),
        ("a100", ("8.0",)),
        ("h100", ("9.0",)),
        ("sm_86", ("8.6",)),
    ],
)
def test_compute_capabilities(name: str, capabilities: tuple[str, ...]) -> None:
    assert target_named(name).capabilities == capabilities


@pytest.mark.parametrize("spelling", ["sm_89", "SM_89", "sm89", " sm_89 ", "8.9", "compute_89", "SM_8.9"])
def test_a_capability_may_be_spelt_in_the_usual_ways(spelling: str) -> None:
    assert target_named(spelling) is target_of_capability("8.9")


def test_an_unknown_target_lists_the_valid_names_and_tells_the_closest() -> None:
    with pytest.raises(UsageError, match=r"expected one of rtx, rtx-30.*got 'jetson-orim'; did you mean jetson-orin\?"):
        target_named("jetson-orim")
    with pytest.raises(UsageError, match=r"got 'sm_61'"):
        target_named("sm_61")


def test_ahead_of_time_capabilities_are_those_of_the_installed_compiler() -> None:
    compiler = pytest.importorskip("tensorrt_rtx")
    known = {f"{name[2:-1]}.{name[-1]}" for name in compiler.ComputeCapability.__members__ if name.startswith("SM")}
    assert set(RTX_AHEAD_OF_TIME) == known - {"7.5"}
    assert known <= set(CAPABILITIES)


@pytest.mark.parametrize(
    ("name", "builders"),
    [
        ("rtx", ("rtx",)),
        ("rtx-30", ("rtx", "tensorrt")),
        ("jetson-orin", ("tensorrt",)),
        ("jetson-thor", ("tensorrt",)),
        ("sm_87", ("tensorrt",)),
        ("h100", ("tensorrt",)),
        ("b200", ("tensorrt",)),
        ("t4", ("tensorrt",)),
        ("a100", ("rtx", "tensorrt")),
    ],
)
def test_builders(name: str, builders: tuple[str, ...]) -> None:
    assert target_named(name).builders == builders


@pytest.mark.parametrize(
    ("name", "precision", "says"),
    [
        ("sm_86", "fp8", "compute capability 8.6 has no fp8; possible: fp32, fp16, bf16"),
        ("rtx", "fp8", "compute capability 8.6 has no fp8"),
        ("t4", "bf16", "compute capability 7.5 has no bf16; possible: fp32, fp16"),
        ("h100", "fp8", "this version makes fp32, fp16, bf16, int8, not fp8"),
        ("rtx", "int8", "this version makes no engines in int8, only graphs that ONNX Runtime runs on a CPU"),
        ("rtx", "fp16", ""),
        ("jetson-orin", "bf16", ""),
    ],
)
def test_precisions(name: str, precision: str, says: str) -> None:
    problem = target_named(name).precision_problem(precision)
    assert says in problem
    assert bool(says) == bool(problem)


@pytest.mark.parametrize(
    ("targets", "opset"),
    [
        ([], 23),
        (["rtx"], 23),
        (["jetson-orin"], 20),
        (["jetson-thor"], 20),
        (["h100"], 23),
        (["rtx", "jetson-orin"], 20),
    ],
)
def test_the_opset_is_the_newest_that_every_target_parses(targets: list[str], opset: int) -> None:
    assert default_opset(targets) == opset
