"""The manifest's JSON: strict to read, the same bytes to write, non-finite measures kept."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ftsf_export.bundle import EngineEntry, FileEntry, Manifest, Preprocessing, TapSpec, TensorSpec
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.errors import BundleError
from ftsf_export.verdict import Measure, Status, Subject, Verdict

SHA = "ab" * 32


def full_manifest() -> Manifest:
    values = (1e-3, math.nan, math.inf, -math.inf)
    measures = tuple(
        Measure(output="logits", metric=f"m{i}", value=value, limit=1e-2, worst_index=(0, i))
        for i, value in enumerate(values)
    )
    engine = "engines/rtx-rtx-fp16.engine"
    return Manifest(
        created_by="ftsf-export 0.1.0",
        config=ExportConfig().as_dict(),
        weights="random, seed 0",
        inputs=(TensorSpec("clip", ("batch", 8, 3, 224, 224), "float32", "BFCHW", "RGB, normalised"),),
        outputs=(TensorSpec("logits", ("batch", 400), "float32", "BL", "class scores"),),
        preprocessing=Preprocessing(8, 16, None, (224, 224), (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
        labels=("archery", "Zürich"),
        precision="fp16",
        opset=20,
        islands=(),
        taps=(TapSpec("norm"), TapSpec("blocks.0.mlp", "class")),
        batch=BatchRange(1, 4, 8),
        tools={"torch": "2.13.0", "numpy": "2.3.0"},
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
    data = copy.deepcopy(full_manifest().as_dict())
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
            if (*path, name) not in (("config",), ("tools",)):
                yield from all_fields(child, (*path, name))
    elif isinstance(value, list) and value:
        yield from all_fields(value[0], (*path, 0))


FIELDS = [path for path in all_fields(full_manifest().as_dict()) if not (len(path) == 2 and path[0] == "files")]


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
        (("inputs", 0, "shape"), ["batch", 0, 3, 224, 224], "inputs[0].shape"),
        (("inputs", 0, "shape"), ["clips", 8, 3, 224, 224], "inputs[0].shape"),
        (("inputs", 0, "shape"), ["batch", True, 3, 224, 224], "inputs[0].shape"),
        (("inputs", 0, "layout"), "BCHW", "one size for each letter"),
        (("preprocessing", "std"), [0.2, 0.2], "preprocessing.std"),
        (("preprocessing", "std"), [0.2, 0.2, 0.0], "preprocessing.std"),
        (("preprocessing", "mean"), [0.2, 0.2, 10**400], "preprocessing.mean[2]"),
        (("preprocessing", "crop"), [224], "preprocessing.crop"),
        (("preprocessing", "frames"), True, "preprocessing.frames"),
        (("taps", 0, "tokens"), "some", "all, class"),
        (("batch", "min"), 5, "batch: expected 1 <= min <= opt <= max, got '5:4:8'"),
        (("files", "model.onnx", "sha256"), SHA.upper(), "files.model.onnx.sha256"),
        (("files", "model.onnx", "size_bytes"), -1, "files.model.onnx.size_bytes"),
        (("verdicts", 0, "status"), "green", "passed, failed, inconclusive, not_run"),
        (("verdicts", 0, "reason"), "", "verdicts[0]"),
        (("verdicts", 0, "measures", 0, "value"), "large", "measures[0].value"),
        (("verdicts", 0, "measures", 0, "worst_index"), [-1], "measures[0].worst_index[0]"),
        (("weights",), "", "weights"),
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
        b'{"schema_version": 1, "schema_version": 1}',
        b'{"schema_version": NaN}',
        b'{"schema_version": 1, "created_by": "\\ud800"}',
    ],
    ids=["empty", "list", "cut", "utf-16", "deep", "twice", "NaN", "half a surrogate pair"],
)
def test_what_is_not_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        Manifest.from_bytes(data)


def test_a_new_verdict_replaces_the_one_of_its_gate_and_subject() -> None:
    old = full_manifest().verdicts[0]
    other = replace(old, subject=Subject("engines/x.engine", SHA))
    again = replace(old, reason="judged again", measures=())
    manifest = full_manifest().with_verdicts((other,)).with_verdicts((again,))
    assert manifest.verdicts == (again, other)


def test_random_weights_are_known_as_such() -> None:
    assert full_manifest().random_weights
    assert not replace(full_manifest(), weights="checkpoint timesformer-k400.safetensors").random_weights


def test_specs_refuse_what_they_cannot_mean() -> None:
    with pytest.raises(ValueError, match="layout"):
        TensorSpec("clip", ("batch", 3), "float32", "B", "")
    with pytest.raises(ValueError, match="tokens"):
        TapSpec("norm", "some")
