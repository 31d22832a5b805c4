"""The JSON Schema of the manifest: current, true of manifests, and against what the reader refuses too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ftsf_export.bundle import GivenWeights, Manifest
from ftsf_export.bundle.manifest import manifest_schema
from ftsf_export.json_schema import schema_of
from ftsf_export.strict_json import bytes_from_json
from tests.unit.bundle.test_manifest import FIELDS, changed, full_manifest, object_of_no_field
from tests.unit.manifests import small_manifest

WRITTEN = Path(__file__).parents[3] / "docs" / "manifest.schema.json"


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    Draft202012Validator.check_schema(manifest_schema())
    return Draft202012Validator(manifest_schema())


def test_the_written_schema_is_current() -> None:
    assert WRITTEN.read_bytes() == bytes_from_json(manifest_schema()), "run scripts/manifest-schema"


@pytest.mark.parametrize(
    "manifest",
    [full_manifest(), small_manifest(), small_manifest(weights=GivenWeights())],
    ids=["full", "small", "given"],
)
def test_a_manifest_keeps_it(schema: Draft202012Validator, manifest: Manifest) -> None:
    schema.validate(json.loads(manifest.to_bytes()))


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_a_field_that_is_missing_or_of_another_type_breaks_it(
    schema: Draft202012Validator, path: tuple[str | int, ...]
) -> None:
    assert not schema.is_valid(json.loads(changed(path, None, drop=True)))
    assert not schema.is_valid(json.loads(changed(path, object_of_no_field())))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("colour",), "blue"),
        (("engines", 0, "colour"), "blue"),
        (("weights", "from"), "caller"),
        (("weights", "from"), "a hat"),
        (("asked", "franes"), 8),
        (("asked", "frames"), "x"),
        (("schema_version",), 1),
        (("precision",), "fp64"),
        (("graph", "opset"), 0),
        (("graph", "taps", 0, "tokens"), "some"),
        (("preprocessing", "std"), [0.2, 0.2, 0.0]),
        (("preprocessing", "crop"), [224]),
        (("preprocessing", "crop"), [224, 224, 3]),
        (("files", "model.onnx", "sha256"), "AB" * 32),
        (("files", "model.onnx", "size_bytes"), -1),
        (("verdicts", 0, "status"), "green"),
        (("verdicts", 0, "measures", 0, "bound"), "about"),
        (("verdicts", 0, "measures", 0, "value"), "large"),
        (("verdicts", 0, "measures", 0, "worst_index"), [-1]),
    ],
)
def test_wrong_values_break_it(schema: Draft202012Validator, path: tuple[str | int, ...], value: Any) -> None:
    assert not schema.is_valid(json.loads(changed(path, value)))


def test_what_has_no_form_in_json_has_no_schema() -> None:
    with pytest.raises(TypeError, match="no form in JSON"):
        schema_of(complex, {})
