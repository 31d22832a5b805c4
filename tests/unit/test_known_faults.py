"""The table of known faults: each row speaks where it was met, and is silent one step away."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from ftsf_export.config import BatchRange
from ftsf_export.engine.stacks import engine_warnings
from ftsf_export.engine.targets import CAPABILITIES
from ftsf_export.known_faults import KNOWN_FAULTS, Stack, warnings_for
from tests.unit.manifests import small_manifest

# Issue -> a stack that it is about, and changes of which each makes it another.
MET: dict[str, tuple[Stack, list[dict[str, Any]]]] = {
    "4837": (Stack(tensorrt="10.16.1", capabilities=("12.0",)), [{"half": False}, {"softmax": False}]),
    "4558": (
        Stack(tensorrt="10.3.0.30", capabilities=("8.7",)),
        [{"tensorrt": "10.4.0"}, {"tensorrt": "10.2"}, {"capabilities": ("8.6",)}, {"softmax": False}],
    ),
    "4742": (Stack(tensorrt="10.4.0", capabilities=("8.6",)), [{"tensorrt": "10.5"}, {"capabilities": ("8.0",)}]),
    "4333": (Stack(tensorrt="10.7.0.23", capabilities=("8.9",)), [{"tensorrt": "10.8"}, {"tensorrt": "10.6.5"}]),
    "4732": (Stack(tensorrt="10.16.0.72", capabilities=("8.6",)), [{"operator": False}, {"tensorrt": "10.15"}]),
    "3777": (Stack(tensorrt="10.0.0.6", capabilities=("9.0",)), [{"tensorrt": "10.0.1.6"}, {"half": False}]),
    "3969": (Stack(tensorrt="10.0.1", capabilities=("7.5",)), [{"single_rows": False}, {"tensorrt": "10.2"}]),
    "3665": (
        Stack(tensorrt="10.13", capabilities=("8.0",), score_matrices=40_961),
        [{"score_matrices": 40_960}, {"capabilities": ("9.0",)}, {"half": False}],
    ),
}


def met(stack: Stack, issue: str) -> list[str]:
    return [sentence for sentence in warnings_for(stack) if f"/TensorRT/issues/{issue}" in sentence]


@pytest.mark.parametrize("issue", MET)
def test_a_row_speaks_where_it_was_met_and_nowhere_else(issue: str) -> None:
    stack, others = MET[issue]
    (sentence,) = met(stack, issue)
    assert sentence.startswith(f"TensorRT {stack.tensorrt}, compute capability {stack.capabilities[0]}: ")
    assert "\n" not in sentence
    for change in others:
        assert met(replace(stack, **change), issue) == []


def test_every_row_is_tried_and_has_an_issue_and_a_mend() -> None:
    found = [re.findall(r"https://github\.com/NVIDIA/TensorRT/issues/(\d+)", row.issue) for row in KNOWN_FAULTS]
    assert [issues[0] for issues in found] == list(MET)
    for row in KNOWN_FAULTS:
        assert set(row.capabilities) <= set(CAPABILITIES)
        assert row.mend


def test_a_release_that_nobody_reported_or_that_cannot_be_read_has_no_warning() -> None:
    assert warnings_for(Stack(tensorrt="11.4.1", capabilities=("9.0",))) == ()
    assert warnings_for(Stack(tensorrt="", capabilities=("12.0",))) == ()
    assert warnings_for(Stack(tensorrt="unknown", capabilities=("12.0",))) == ()


def about(**changes: Any) -> str:
    """The warnings about an engine of a regular model of 8 x 224 px."""
    manifest = small_manifest(batch=BatchRange(1, 4, 32))
    model = replace(manifest.model, attn_mechanism=changes.pop("attn", "regular"))
    manifest = replace(manifest, model=model, precision=changes.pop("precision", "fp16"))
    engine = {"builder": "tensorrt", "version": "10.13.3", "capabilities": ("8.0",), "most_clips": 32, **changes}
    return "\n".join(engine_warnings(manifest, **engine))


def test_what_an_engine_is_comes_from_its_bundle() -> None:
    """196 patches of 8 heads: 27 clips have more than 40,960 score matrices over time, 26 do not."""
    assert "81,920 batch x heads" in about(most_clips=27)
    assert about(most_clips=26) == about(attn="fastformer") == about(precision="fp32") == about(builder="rtx") == ""
    assert "4732" not in about(version="10.16", capabilities=("8.6",))  # the graph is of opset 20
    assert "4837" in about(version="10.16", capabilities=("12.0",))
    assert "3969" in about(version="10.1", attn="fastformer")
