"""Opening a bundle: nothing that differs from the manifest, in any way, is taken for a good one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftsf_export.bundle import Bundle, sha256_of
from ftsf_export.bundle.golden import write_golden
from ftsf_export.errors import BundleError
from ftsf_export.strict_json import plain
from ftsf_export.verdict import Status
from tests.unit.manifests import graph_bytes, note_of, rehash


def edit_manifest(bundle: Bundle, **changes: Any) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value


def test_a_written_bundle_opens_as_it_was_written(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.path)
    assert opened == bundle
    assert note_of(opened.onnx_path) == "model bytes"
    assert set(opened.manifest.files) == {"model.onnx", "golden.npz"}
    assert opened.manifest.files["model.onnx"].sha256 == sha256_of(bundle.onnx_path)
    assert [verdict.passed for verdict in opened.verdicts] == [True]
    assert opened.golden().sources == ("noise seed 0", "bikes.mp4 frames 0..16")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_any_listed_file_is_refused(bundle: Bundle, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["model.onnx", "golden.npz"]))
    path = bundle.path / name
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    path.write_bytes(good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :])
    message = refused(bundle.path).message
    assert name in message
    assert sha256_of(path) in message
    assert bundle.manifest.files[name].sha256 in message
    path.write_bytes(good)
    Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_truncated_and_a_missing_file_are_named(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    path.write_bytes(path.read_bytes()[:-1])
    assert name in refused(bundle.path).message
    path.unlink()
    assert f"{name}: missing" in refused(bundle.path).message


def test_no_bundle_at_all(tmp_path: Path) -> None:
    assert "no such bundle" in refused(tmp_path / "nowhere").message
    (tmp_path / "file").write_text("")
    assert "a file, not a bundle" in refused(tmp_path / "file").message
    assert "holds no manifest.json" in refused(tmp_path).message


def test_every_cut_of_the_manifest_is_refused(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    whole = path.read_bytes()
    for size in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:size])
        assert "manifest.json" in refused(bundle.path).message


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, 2.5, True])
def test_another_schema_is_refused_by_number(bundle: Bundle, version: object) -> None:
    edit_manifest(bundle, schema_version=version)
    assert "schema_version" in refused(bundle.path).message


ESCAPES = [
    "../secret",
    "engines/../../secret",
    "/etc/hostname",
    "C:/secret",
    "C:secret",
    "..\\secret",
    "engines\\x",
    "x\0y",
    "",
    ".",
    "./model.onnx",
    "engines//x",
    "engines/",
    "line\nbreak",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_leads_out_of_the_bundle(bundle: Bundle, name: str) -> None:
    # The file is there and its hash is right: the name alone must be reason enough.
    secret = bundle.path.parent / "secret"
    secret.write_bytes(b"secret")
    entry = {"sha256": sha256_of(secret), "size_bytes": 6}
    files = {name_: plain(value) for name_, value in bundle.manifest.files.items()}
    edit_manifest(bundle, files={**files, name: entry})
    assert "the manifest names" in refused(bundle.path).message


@pytest.mark.parametrize("target", ["kept.bin", "../kept.bin", "/etc/hostname"])
def test_a_symbolic_link_is_no_file_of_a_bundle(bundle: Bundle, target: str) -> None:
    model = bundle.path / "model.onnx"
    model.rename(bundle.path / "kept.bin")
    model.symlink_to(target)
    assert "model.onnx: a symbolic link" in refused(bundle.path).message


def test_a_linked_folder_does_not_lead_outside(bundle: Bundle) -> None:
    outside = bundle.path.parent / "outside"
    outside.mkdir()
    (outside / "x.engine").write_bytes(b"engine")
    (bundle.path / "engines").symlink_to(outside)
    entry = {"sha256": sha256_of(outside / "x.engine"), "size_bytes": 6}
    files = {name: plain(value) for name, value in bundle.manifest.files.items()}
    edit_manifest(bundle, files={**files, "engines/x.engine": entry})
    assert "engines: a symbolic link" in refused(bundle.path).message


def test_a_pipe_under_a_listed_name_does_not_hang(bundle: Bundle) -> None:
    bundle.onnx_path.unlink()
    os.mkfifo(bundle.onnx_path)
    assert "regular file" in refused(bundle.path).message


def test_required_files_must_be_listed(bundle: Bundle) -> None:
    files = {name: plain(value) for name, value in bundle.manifest.files.items() if name != "golden.npz"}
    edit_manifest(bundle, files=files)
    assert "'golden.npz' is not listed" in refused(bundle.path).message


def test_a_rehashed_change_opens_and_its_verdict_is_no_longer_green(bundle: Bundle) -> None:
    bundle.onnx_path.write_bytes(graph_bytes("MODEL bytes"))
    rehash(bundle.path)
    opened = Bundle.open(bundle.path)
    assert opened.manifest.verdicts[0].status is Status.PASSED
    (verdict,) = opened.verdicts
    assert verdict.status is Status.NOT_RUN
    assert "model.onnx has changed" in verdict.reason
    assert not verdict.measures


def test_golden_values_must_fit_the_manifest(bundle: Bundle) -> None:
    good = bundle.golden()
    path = bundle.path / "golden.npz"
    parts = {"clip": good.clip, "logits": good.logits, "sources": good.sources, "taps": good.taps}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"clip": good.clip[:, :1]}, "clip: expected clips of shape"),
        ({"clip": good.clip.astype(np.uint8)}, "float32, got .*uint8"),
        ({"logits": good.logits[:, :4]}, "logits: expected clips of shape"),
        ({"features": good.logits}, "expected values of logits as the graph gives, got logits, features"),
        ({"logits": None, "features": good.logits}, "expected values of logits as the graph gives, got features"),
        ({"taps": {"patch_embed": good.taps["patch_embed"]}}, "no values for 'blocks.0.mlp'"),
        ({"taps": {**good.taps, "norm": good.taps["patch_embed"]}}, "values for 'norm'"),
    ]
    for change, message in wrong:
        write_golden(path, **{**parts, **change})
        rehash(bundle.path)
        with pytest.raises(BundleError, match=message):
            Bundle.open(bundle.path).golden()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reference_that_is_not_finite_is_refused(bundle: Bundle, value: float) -> None:
    good = bundle.golden()
    logits = good.logits.copy()
    logits[1, 3] = value
    arrays = {"clip": good.clip, "logits": logits, "sources": np.asarray(good.sources)}
    with open(bundle.path / "golden.npz", "wb") as stream:
        np.savez(stream, **arrays, **{f"tap/{name}": values for name, values in good.taps.items()})
    rehash(bundle.path)
    with pytest.raises(BundleError, match=r"logits: not finite at \[1, 3\]"):
        Bundle.open(bundle.path).golden()
