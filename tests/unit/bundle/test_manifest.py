"""The manifest's JSON: strict to read, the same bytes to write, non-finite measures kept."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import (
    CheckpointWeights,
    EngineEntry,
    FileEntry,
    GivenWeights,
    Island,
    Manifest,
    RandomWeights,
    TapSpec,
    TensorSpec,
    Weights,
)
from ftsf_export.bundle.manifest import json_from_manifest
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.errors import BundleError
from ftsf_export.verdict import Measure, Status, Subject, Verdict
from tests.unit.manifests import small_manifest

SHA = "ab" * 32
TRAINED = TimeSformerConfig(8, 3, 224, 224, 400, dim=512)


def full_manifest() -> Manifest:
    values = (1e-3, math.nan, math.inf, -math.inf)
    measures = tuple(
        Measure(output="logits", metric=f"m{i}", value=value, limit=1e-2, worst_index=(0, i))
        for i, value in enumerate(values)
    )
    engine = "engines/rtx-rtx-fp16.engine"
    return small_manifest(
        weights=CheckpointWeights(
            kind="Hugging Face",
            name="k400",
            revision="",
            file="model.safetensors",
            sha256=SHA,
            trained=TRAINED,
            fresh=("head.weight",),
            unused=("x",),
            warnings=("interpolated",),
        ),
        labels=("archery", "Zürich"),
        batch=BatchRange(1, 4, 8),
        islands=(Island("blocks.*.mlp", "overflows", 2),),
        taps=(TapSpec("norm"), TapSpec("blocks.0.mlp", "class")),
        files={name: FileEntry(SHA, 3) for name in (engine, "model.onnx", "golden.npz")},
        engines=(
            EngineEntry(
                file=engine,
                sidecar="engines/rtx-rtx-fp16.json",
                builder="rtx",
                target="rtx",
                precision="fp16",
                compute_capabilities=("8.6", "8.9"),
                sha256=SHA,
            ),
        ),
        verdicts=(
            Verdict(
                gate="parity.fp16-emulated",
                status=Status.FAILED,
                subject=Subject("model.onnx", SHA),
                reason="logits: not finite",
                proxy_for="fp16 on a GPU",
                measures=measures,
            ),
        ),
    )


def changed(path: tuple[str | int, ...], value: object, *, drop: bool = False) -> bytes:
    data = copy.deepcopy(json_from_manifest(full_manifest()))
    holder: Any = data
    for step in path[:-1]:
        holder = holder[step]
    if drop:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return json.dumps(data).encode()


def all_fields(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every named field at every depth, except below objects whose names are data."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield (*path, name)
            if (*path, name) not in (("asked",), ("tools",)):
                yield from all_fields(child, (*path, name))
    elif isinstance(value, list) and value:
        yield from all_fields(value[0], (*path, 0))


FIELDS = [
    path for path in all_fields(json_from_manifest(full_manifest())) if not (len(path) == 2 and path[0] == "files")
]


def test_round_trip_keeps_values_that_are_not_finite() -> None:
    manifest = full_manifest()
    data = manifest.to_bytes()
    back = Manifest.from_bytes(data)
    values = [measure.value for measure in back.verdicts[0].measures]
    assert values[0] == 1e-3
    assert math.isnan(values[1])
    assert values[2:] == [math.inf, -math.inf]
    assert back.to_bytes() == data
    # verdicts hold a NaN, which differs from itself: compare the rest.
    assert replace(back, verdicts=()) == replace(Manifest.from_bytes(data), verdicts=())
    json.loads(data, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))


def test_same_value_same_bytes_whatever_the_order_and_the_kind_of_number() -> None:
    manifest = full_manifest()
    shuffled = replace(
        manifest,
        files=dict(reversed(manifest.files.items())),
        tools=dict(reversed(manifest.tools.items())),
        preprocessing=replace(manifest.preprocessing, mean=(0, 0, 0)),
    )
    plain = replace(manifest, preprocessing=replace(manifest.preprocessing, mean=(0.0, 0.0, 0.0)))
    assert shuffled.to_bytes() == plain.to_bytes()
    assert "Zürich" in manifest.to_bytes().decode()


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_every_missing_field_is_named(path: tuple[str | int, ...]) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(changed(path, None, drop=True))
    assert str(path[-1]) in caught.value.message
    assert "missing" in caught.value.message


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_every_field_of_another_type_is_named(path: tuple[str | int, ...]) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(changed(path, object_of_no_field()))
    assert str(path[-1]) in caught.value.message


def object_of_no_field() -> list[object]:
    """No field of the schema is a list of lists."""
    return [[[]]]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("inputs",), [], "at least one tensor"),
        (("inputs", 0, "shape"), ["batch", 0, 3, 224, 224], "inputs[0]: shape: "),
        (("inputs", 0, "shape"), ["clips", 8, 3, 224, 224], "inputs[0]: shape: "),
        (("inputs", 0, "shape"), ["batch", True, 3, 224, 224], "inputs[0].shape[1]"),
        (("inputs", 0, "layout"), "BCHW", "one size for each letter"),
        (("preprocessing", "std"), [0.2, 0.2], "preprocessing: std: "),
        (("preprocessing", "std"), [0.2, 0.2, 0.0], "preprocessing.std[2]"),
        (("preprocessing", "mean"), [0.2, 0.2, 10**400], "preprocessing.mean[2]"),
        (("preprocessing", "crop"), [224], "preprocessing.crop"),
        (("preprocessing", "frames"), True, "preprocessing.frames"),
        (("graph", "taps", 0, "tokens"), "some", "all, class"),
        (("engines", 0, "builder"), "evil", "engines[0].builder: expected one of tensorrt, rtx"),
        (("batch", "minimum"), 5, "batch: expected 1 <= MIN <= OPT <= MAX <= 65535, got 5:4:8"),
        (("batch", "maximum"), 10**30, f"batch: expected 1 <= MIN <= OPT <= MAX <= 65535, got 1:4:{10**30}"),
        (("batch",), {"minimum": 9, "optimum": 9, "maximum": 9}, "clip: expected [9, 8, 3, 224, 224] by batch and"),
        (("outputs", 0, "shape"), ["batch", 10**30], "logits: expected ['batch', 400] by batch and model"),
        (("model", "frames"), 10**6, "clip: expected ['batch', 1000000, 3, 224, 224]"),
        (("preprocessing", "frames"), 10**6, "preprocessing: frames: expected 8 as the model has, got 1000000"),
        (("preprocessing", "crop"), [224, 10**30], "preprocessing: crop: expected (224, 224) as the model has"),
        (
            ("preprocessing", "mean"),
            [0.4, 0.4, 1e29],
            "mean: expected numbers from -100 to 100 for pixels in 0..1, got 1",
        ),
        (("preprocessing", "std"), [0.2, 0.2, 1e-3], "std: expected numbers from 0.002 to 1000 for pixels in 0..1"),
        (("preprocessing", "std"), [0.2, 0.2, 1e29], "std: expected numbers from 0.002 to 1000 for pixels in 0..1"),
        (("preprocessing", "dtype"), "uint8", "mean: uint8 is not normalised"),
        (("preprocessing", "dtype"), "int8", "float32, uint8"),
        (("preprocessing", "layout"), "CFHW", "layout: expected that of clip, BFCHW, got BCFHW"),
        (("inputs", 0, "dtype"), "uint8", "dtype: expected that of clip, uint8, got float32"),
        (("files", "model.onnx", "sha256"), SHA.upper(), "files.model.onnx.sha256"),
        (("files", "model.onnx", "size_bytes"), -1, "files.model.onnx.size_bytes"),
        (("verdicts", 0, "status"), "green", "passed, failed, inconclusive, not_run"),
        (("verdicts", 0, "reason"), "", "verdicts[0]"),
        (("verdicts", 0, "status"), "passed", "passed against its evidence"),
        (("verdicts", 0, "subject", "sha256"), "ab", "64 hexadecimal digits"),
        (("verdicts", 0, "measures", 0, "bound"), "about", "at_most, at_least"),
        (("precision",), "fp64", "precision: expected one of fp32, fp16, bf16, int8, got 'fp64'"),
        (("precision",), "fp8", "precision: expected one of fp32, fp16, bf16, int8, got 'fp8'"),
        (
            ("engines", 0, "precision"),
            "half",
            "engines[0].precision: expected one of fp32, fp16, bf16, int8, got",
        ),
        (("engines", 0, "precision"), "bf16", "engines/rtx-rtx-fp16.engine: expected fp16 as the graph is, got bf16"),
        (("asked", "frames"), 16, "asked: frames: expected 8 as was made, got 16"),
        (("asked", "size"), "96x128", "asked: size: expected 224 as was made, got 96x128"),
        (("asked", "attn"), "regular", "asked: attn: expected fastformer as was made, got regular"),
        (("asked", "precision"), "fp32", "asked: precision: expected fp16 as was made, got fp32"),
        (("asked", "input"), "uint8", "asked: input: expected float32 as was made, got uint8"),
        (("asked", "layout"), "bcfhw", "asked: layout: expected BFCHW as was made, got BCFHW"),
        (("asked", "batch"), "2", "asked: batch: expected 1:4:8 as was made, got 2"),
        (("verdicts", 0, "measures", 0, "value"), "large", "measures[0].value"),
        (("verdicts", 0, "measures", 0, "worst_index"), [-1], "measures[0].worst_index[0]"),
        (("weights", "from"), "a hat", "random, checkpoint, caller"),
        (("model", "depth"), 0, "model: depth: expected"),
        (("asked", "frames"), "x", "asked: not a request: frames"),
        (("asked", "franes"), 8, "asked: not a request: franes: not a field of a request"),
        (("asked", "size"), 224, "size: expected a string, got 224"),
        (("asked", "targets"), "rtx", "targets: expected a list, got 'rtx'"),
        (("colour",), "blue", "colour: not a field"),
        (("engines", 0, "colour"), "blue", "engines[0].colour: not a field"),
    ],
)
def test_wrong_values_are_named(path: tuple[str | int, ...], value: object, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(changed(path, value), "out/manifest.json")
    assert message in caught.value.message
    assert caught.value.message.startswith("out/manifest.json: ")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"schema_version": 2, "schema_version": 2}',
        b'{"schema_version": NaN}',
        b'{"schema_version": 2, "created_by": "\\ud800"}',
    ],
    ids=["empty", "list", "cut", "utf-16", "deep", "twice", "NaN", "half a surrogate pair"],
)
def test_what_is_not_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        Manifest.from_bytes(data)


def test_a_verdict_that_says_not_who_recorded_it_is_refused() -> None:
    """It would be shown as judged here and now."""
    data = json_from_manifest(full_manifest())
    data["verdicts"][0]["recorded_by"] = ""
    with pytest.raises(BundleError, match=r"verdicts\[0\]\.recorded_by: expected one of export, verify, build"):
        Manifest.from_bytes(json.dumps(data).encode())


def test_a_new_verdict_replaces_the_one_of_its_gate_and_subject() -> None:
    old = full_manifest().verdicts[0]
    other = replace(old, subject=Subject("engines/x.engine", SHA))
    again = replace(old, reason="judged again", measures=())
    manifest = full_manifest().with_verdicts((other,), "verify").with_verdicts((again,), "verify")
    assert manifest.verdicts == tuple(replace(one, recorded_by="verify") for one in (again, other))


def test_a_pass_at_the_usual_limits_leaves_a_failure_at_ones_own() -> None:
    """What was asked more strictly, and failed, stays asked."""
    measure = Measure(output="logits", metric="rel_l2", value=1e-6, limit=1e-5)
    passed = Verdict(gate="parity.fp32", status=Status.PASSED, subject=Subject("model.onnx", SHA), measures=(measure,))
    strict = replace(passed, status=Status.FAILED, reason="rel_l2 above 1e-09", own_limits="rtol 1e-09")
    recorded = replace(full_manifest(), verdicts=()).with_verdicts((strict,), "export")
    manifest = recorded.with_verdicts((passed,), "verify")
    found = [(one.status, one.own_limits, one.recorded_by) for one in manifest.verdicts]
    assert found == [(Status.FAILED, "rtol 1e-09", "export"), (Status.PASSED, "", "verify")]


def test_random_weights_are_known_as_such() -> None:
    assert small_manifest().random_weights
    assert not full_manifest().random_weights
    assert full_manifest().weights_described.startswith("checkpoint k400 (Hugging Face), model.safetensors sha256")


def test_weights_trained_in_another_mechanism_need_fine_tuning() -> None:
    manifest = full_manifest()
    assert not manifest.need_fine_tuning
    swapped = replace(manifest, asked=ExportConfig(), model=replace(manifest.model, attn_mechanism="performer"))
    assert swapped.need_fine_tuning
    assert "performer attention in the place of fastformer" in swapped.weights_described


@pytest.mark.parametrize("weights", [RandomWeights(0), GivenWeights()])
def test_the_model_is_the_one_that_was_asked_for(weights: Weights) -> None:
    model = replace(small_manifest().model, depth=3)
    with pytest.raises(ValueError, match="asked: depth: expected 3 as was made, got 12"):
        small_manifest(model=model, weights=weights)


def test_another_schema_is_refused_in_one_sentence() -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(changed(("schema_version",), 1))
    assert "schema_version: expected 2, got 1" in caught.value.message
    assert "write the bundle again" in caught.value.message


def test_every_wrong_field_is_said_at_once() -> None:
    data = copy.deepcopy(json_from_manifest(full_manifest()))
    data["precision"], data["graph"]["opset"], data["engines"][0]["sha256"] = 7, 0, "x"
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(json.dumps(data).encode())
    for place in ("precision: expected a string", "graph.opset: expected a whole", "engines[0].sha256: expected 64"):
        assert place in caught.value.message


def test_what_was_asked_is_kept_as_it_was_written() -> None:
    asked = ExportConfig(attn="regular", size="240x320", batch="1:2:4", checkpoint="/data/w.pt")
    usual = small_manifest()
    sizes = {
        "model": replace(usual.model, attn_mechanism="regular", height=240, width=320),
        "inputs": (replace(usual.inputs[0], shape=("batch", 8, 3, 240, 320)),),
        "preprocessing": replace(usual.preprocessing, crop=(240, 320)),
    }
    back = Manifest.from_bytes(small_manifest(asked=asked, **sizes).to_bytes()).asked
    assert back.written() == {"attn": "regular", "size": "240x320", "batch": "1:2:4", "checkpoint": "w.pt"}
    assert back.given == asked.given


def test_specs_refuse_what_they_cannot_mean() -> None:
    with pytest.raises(ValueError, match="layout"):
        TensorSpec("clip", ("batch", 3), "float32", "B", "")
    with pytest.raises(ValueError, match="tokens"):
        TapSpec("norm", "some")
