"""ExportConfig: what is accepted, what each mistake says, and that every mistake is said at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.config import BatchRange, ExportConfig, Size
from ftsf_export.errors import ConfigError


def problems_of(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        ExportConfig(**fields)
    return caught.value.problems


def test_defaults_are_the_documented_ones() -> None:
    config = ExportConfig()
    assert (config.attn, config.attn_type, config.frames, str(config.size)) == ("fastformer", "divided", 8, "224")
    assert (config.patch_size, config.dim, config.depth, config.dim_head) == (16, 512, 12, 64)
    assert (config.num_classes, config.precision, config.seed, config.builder) == (400, "fp16", 0, "auto")
    assert (config.architecture.num_heads, config.architecture.num_patches) == (8, 14 * 14)


@pytest.mark.parametrize(
    ("written", "size"),
    [("224", Size(224, 224)), ("240x320", Size(240, 320)), (64, Size(64, 64)), ((32, 48), Size(32, 48))],
)
def test_size_as_written(written: Any, size: Size) -> None:
    assert ExportConfig(size=written).size == size
    assert Size.parse(str(size)) == size


@pytest.mark.parametrize(
    "written", ["", "x", "224x", "-224", "1e3", "224x224x3", "9" * 5000, "٢٢٤", 2.5, True, None, ()]
)
def test_size_that_is_not_one(written: Any) -> None:
    (problem,) = problems_of(size=written)
    assert problem.startswith("size: expected 224 or 240x320")


@pytest.mark.parametrize(
    ("written", "batch"), [("4", BatchRange(4, 4, 4)), ("1:4:8", BatchRange(1, 4, 8)), (2, BatchRange(2, 2, 2))]
)
def test_batch_as_written(written: Any, batch: BatchRange) -> None:
    assert ExportConfig(batch=written).batch == batch
    assert BatchRange.parse(str(batch)) == batch
    assert batch.static is (batch.minimum == batch.maximum)


@pytest.mark.parametrize("written", ["0", "1:2", "4:2:8", "1:8:4", "a", "1:2:3:4", -1, 1.5, BatchRange(2, 1, 3), None])
def test_batch_that_is_not_one(written: Any) -> None:
    (problem,) = problems_of(batch=written)
    assert problem.startswith("batch: expected")


def test_height_that_is_no_multiple_names_the_nearest() -> None:
    assert problems_of(size="225x224") == ("size: expected a multiple of patch_size 16, got 225; take 224 or 240",)
    assert problems_of(size="8x224") == ("size: expected a multiple of patch_size 16, got 8; take 16",)
    assert problems_of(size="100") == ("size: expected a multiple of patch_size 16, got 100; take 96 or 112",)
    assert len(problems_of(size="100x20")) == 2


def test_every_problem_is_said_at_once_and_none_twice() -> None:
    problems = problems_of(
        attn="linear", frames=0, size="225", dim=-1, precision="fp4", rtol=float("nan"), targets=["a", "a"]
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "precision", "rtol", "target", "frames", "dim", "attn", "size",
    ]  # fmt: skip


def test_choices_are_listed() -> None:
    assert problems_of(attn="linear") == ("attn: expected one of fastformer, performer, regular, got 'linear'",)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"dim": 500},
            "dim: expected a multiple of dim_head 64 where heads is not given, got 500; "
            "take 448 or 512, or give heads as well",
        ),
        ({"dim": 512, "heads": 4}, "heads: fastformer adds its queries"),
        ({"dim_head": 2, "dim": 64}, "need a multiple of 4, got 2; or turn rotary off"),
        ({"dim_head": 4, "dim": 64, "attn_type": "joint"}, "need a multiple of 8, got 4; or turn rotary off"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"seed": 2**63}, "seed: expected a whole number from 0"),
        ({"atol": 0.0}, "atol: expected a finite number above 0"),
        ({"rtol": float("inf")}, "rtol: expected a finite number above 0"),
        ({"opset": 19}, "opset: expected one of 20, 21, 22, 23, 24, got 19"),
        ({"workspace_mib": 0}, "workspace_mib: expected a whole number of MiB from 1 to 16777216, got 0"),
        ({"workspace_mib": 10**30}, "workspace_mib: expected a whole number of MiB from 1 to 16777216"),
        ({"targets": ("",)}, "target: expected a list of names"),
    ],
)
def test_what_each_rule_says(fields: dict[str, Any], said: str) -> None:
    (problem,) = problems_of(**fields)
    assert said in problem


@pytest.mark.parametrize(
    "fields",
    [
        {"dim_head": 2, "dim": 64, "rotary": False},
        {"dim_head": 4, "dim": 64},
        {"dim_head": 8, "dim": 64, "attn_type": "joint"},
        {"attn": "regular", "heads": 4},
    ],
)
def test_what_the_rules_allow(fields: dict[str, Any]) -> None:
    ExportConfig(**fields)


# Anything a caller may pass by mistake: the answer is ConfigError (or acceptance), never another exception.
_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.lists(st.one_of(st.integers(), st.text(max_size=3), st.none()), max_size=3),
    st.tuples(st.integers(), st.floats()),
    st.just(Size(-1, 0)),
    st.just(Size("a", None)),  # type: ignore[arg-type]
    st.just(BatchRange("a", 1, None)),  # type: ignore[arg-type]
    st.just(object()),
    st.just({"a": 1}),
    st.just(np.zeros(3)),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(ExportConfig)]), _JUNK, max_size=4))
def test_wrong_types_never_crash(fields: dict[str, Any]) -> None:
    problems: tuple[str, ...] = ()
    try:
        hash(ExportConfig(**fields))
    except ConfigError as error:
        problems = error.problems
    assert len(set(problems)) == len(problems)


def test_callers_may_use_other_types_of_the_same_meaning() -> None:
    config = ExportConfig(frames=np.int64(4), targets=["rtx"], videos="a/b.mp4", checkpoint="c/w.pt")
    assert type(config.frames) is int
    assert config.targets == ("rtx",)
    assert config.videos == (Path("a/b.mp4"),)
    assert config.checkpoint == Path("c/w.pt")


def test_json_form_holds_no_path_of_the_machine() -> None:
    written = ExportConfig(checkpoint=Path("/data/w.pt"), videos=(Path("/data/a.mp4"),), batch="1:2:4").as_dict()
    assert (written["checkpoint"], written["videos"], written["batch"]) == ("w.pt", ["a.mp4"], "1:2:4")
    assert "/" not in str(written)


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError, match="frame_count"):
        ExportConfig(frame_count=8)  # type: ignore[call-arg]


def test_what_was_written_is_known() -> None:
    """Also where it is the default, after a change, and in a copy."""
    import copy
    import pickle

    config = ExportConfig(attn="fastformer", frames=4)
    assert config.given == {"attn", "frames"}
    assert config.replaced(dim=64).given == {"attn", "frames", "dim"}
    for same in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert (same, same.given) == (config, config.given)
    assert ExportConfig(frames=8) == ExportConfig()
    assert hash(ExportConfig(frames=8)) == hash(ExportConfig())


def test_with_a_checkpoint_rules_between_fields_wait_for_it() -> None:
    """The defaults of the others may give way: 20 pixels of the default patch are no mistake yet."""
    assert ExportConfig(checkpoint="a/b", size=20).size == Size(20, 20)
    assert problems_of(checkpoint="a/b", size=20, depth=0) == ("depth: expected a whole number of at least 1, got 0",)
