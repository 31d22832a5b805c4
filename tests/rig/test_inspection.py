"""TensorRT's inspector at the shapes of a profile, through NVIDIA's own bindings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftsf_export.engine.inspector_json import plan_from_inspector
from tests.unit.engine.inspector_records import inspector_json

Say = Callable[..., Any]
CLIP = [8, 3, 224, 224]


@pytest.mark.parametrize(("version", "release"), [("10.3", 10), ("10.13", 10), ("11.4", 11)])
def test_a_context_at_each_batch_tells_the_types(say: Say, version: str, release: int) -> None:
    layers = inspector_json("attention_fp16", release)
    told = say("inspected_engine.py", layers, tensorrt=version)
    assert told["problem"] == ""
    assert [one.pop("shape") for one in told["layers"]] == [[2, *CLIP], [1, *CLIP], [4, *CLIP]]
    assert {str(one) for one in told["layers"]} == {str(told["layers"][0])}
    assert plan_from_inspector(layers).operand_types() == {"fp16": 5}


@pytest.mark.parametrize(("refused", "shapes"), [(2, [None]), (4, [[2, *CLIP], [1, *CLIP]])])
def test_a_shape_that_the_context_refuses_is_said(say: Say, refused: int, shapes: list[Any]) -> None:
    told = say("inspected_engine.py", inspector_json("attention_fp16", 10), refused, tensorrt="10.3")
    assert told["problem"] == f"its context takes no input of shape {[refused, *CLIP]}"
    assert [one["shape"] for one in told["layers"]] == shapes
