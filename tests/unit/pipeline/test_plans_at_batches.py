"""Plans at the batches of a range: the engine's own where it tells them, else compiled; a refusal is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftsf_export.config import BatchRange
from ftsf_export.engine.kernel_plan import Plan
from ftsf_export.engine.request import GraphFacts
from ftsf_export.errors import BuildError
from ftsf_export.pipeline import plan_bundle
from tests.unit.manifests import small_manifest

TOLD, COMPILED = Plan((), unread=("told",)), Plan((), unread=("compiled",))


def plans(monkeypatch: pytest.MonkeyPatch, told: dict[int, Plan], attn: str = "regular") -> tuple[Any, list[int]]:
    """The plans, and the batches that were compiled for them; the compiler refuses 8."""
    asked: list[int] = []

    def compile_at(facts: GraphFacts, *_: object, **__: object) -> Any:
        asked.append(facts.batch.optimum)
        if facts.batch.optimum == 8:
            raise BuildError("too large")
        return SimpleNamespace(plan=COMPILED)

    monkeypatch.setattr(plan_bundle, "compile_at", compile_at)
    batch = BatchRange(1, 2, 8)
    manifest = small_manifest(batch=batch)
    manifest = replace(manifest, model=replace(manifest.model, attn_mechanism=attn))
    facts = GraphFacts(onnx_path=Path("m.onnx"), precision="fp16", batch=batch, input_name="clip", clip_shape=(1,))
    engine: Any = SimpleNamespace(
        plans_at_batch=told, request=SimpleNamespace(builder="rtx", target=None, options=None)
    )
    return plan_bundle._other_plans(engine, facts.at_batch, manifest, (), lambda *_: None), asked


def test_what_an_engine_tells_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {2: TOLD, 1: TOLD, 8: TOLD}
    assert plans(monkeypatch, told) == (told, [])


def test_the_ends_of_the_range_are_compiled_and_a_refusal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = plans(monkeypatch, {})
    assert asked == [1, 8]
    assert found == {1: COMPILED, 8: Plan((), problem="not compiled at batch 8 alone: too large")}


def test_nothing_is_compiled_where_no_attention_is_expected_to_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plans(monkeypatch, {}, attn="fastformer") == ({}, [])
