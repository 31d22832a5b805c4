"""Bundles that were altered, the manifest re-hashed: verify says no, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from ftsf_export.bundle.files import entry_of
from ftsf_export.bundle.golden import read_golden
from ftsf_export.cli.main import ftsf, run
from ftsf_export.errors import BundleError
from ftsf_export.parity.weights import judge_weights
from ftsf_export.pipeline.verify import VerifyResult, verify
from ftsf_export.verdict import Status, Subject, Verdict
from tests.unit.manifests import read_manifest

MECHANISMS = ("fastformer", "performer", "regular")
MakeBundle = Callable[..., Path]
Apply = Callable[..., None]


def grow(value: np.ndarray) -> None:
    value *= value.dtype.type(1.1)


def zero(value: np.ndarray) -> None:
    value[...] = 0


def exchange(value: np.ndarray) -> None:
    value[..., [3, 4]] = value[..., [4, 3]]


def spoil(value: np.ndarray) -> None:
    value.flat[value.size // 2] = np.nan


def parity(result: VerifyResult) -> Verdict:
    (verdict,) = (v for v in result.verdicts if v.gate.startswith("parity."))
    return verdict


@pytest.mark.parametrize(("attn", "precision"), [*((attn, "fp16") for attn in MECHANISMS), ("fastformer", "bf16")])
def test_zeroing_any_one_attention_fails_by_its_outputs_alone(
    bundle: MakeBundle, alter: Apply, rewrite_golden: Apply, attn: str, precision: str
) -> None:
    """Every block's every attention, found without the weights' digests."""
    root = bundle(attn, precision)
    rewrite_golden(root, weights={})
    assert parity(verify(root, record=False)).passed
    whole = (root / "model.onnx").read_bytes()
    for module in ("blocks.0.temporal", "blocks.0.spatial", "blocks.1.temporal", "blocks.1.spatial"):
        (root / "model.onnx").write_bytes(whole)
        alter(root, [f"{module}.attn.to_out.weight"], zero)
        verdict = parity(verify(root, record=False))
        assert verdict.status is Status.FAILED
        assert f"first departs at {module}" in verdict.reason


@pytest.mark.parametrize("attn", MECHANISMS)
@pytest.mark.parametrize(
    ("weights", "how", "where"),
    [
        (["head.weight"], grow, "first departs at head"),
        (["head.weight", "head.bias"], exchange, "first departs at head"),
        (["blocks.1.spatial.attn.to_out.weight"], zero, "blocks.1.spatial"),
        (["blocks.0.temporal.attn.to_out.weight"], zero, "blocks.0.temporal"),
    ],
)
def test_an_altered_weight_is_named(
    bundle: MakeBundle, alter: Apply, attn: str, weights: list[str], how: Callable[[np.ndarray], None], where: str
) -> None:
    root = bundle(attn)
    alter(root, weights, how)
    result = verify(root)
    assert not result.passed
    assert where in result.reason
    assert f"weight {weights[0]} is not the one that was exported" in result.reason
    # On record, and of the file as it is now.
    assert {v.gate: v.status for v in result.bundle.verdicts}["weights"] is Status.FAILED


def test_two_classes_of_near_score_exchanged_are_caught(
    bundle: MakeBundle, alter: Apply, rewrite_golden: Apply
) -> None:
    root = bundle("regular", "fp16")
    golden = rewrite_golden(root)
    scores = golden.logits[0]
    gap = np.abs(scores[:, None] - scores[None, :]) + np.eye(len(scores)) * 9
    first, second = np.unravel_index(int(gap.argmin()), gap.shape)

    def exchange_nearest(value: np.ndarray) -> None:
        value[..., [first, second]] = value[..., [second, first]]

    alter(root, ["head.weight", "head.bias"], exchange_nearest)
    result = verify(root)
    assert not result.passed
    assert "head.weight" in result.reason


@pytest.mark.parametrize("attn", MECHANISMS)
def test_nan_in_any_weight_is_named(bundle: MakeBundle, alter: Apply, attn: str) -> None:
    root = bundle(attn, "fp16")
    whole = (root / "model.onnx").read_bytes()
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    initializers = onnx.load_from_string(whole).graph.initializer
    names = [tensor.name for tensor in initializers if tensor.data_type in floats]
    assert len(names) > 25
    for name in names:
        (root / "model.onnx").write_bytes(whole)
        alter(root, [name], spoil)
        verdict = judge_weights(root / "model.onnx", Subject("model.onnx", "0" * 64), exported={})
        assert verdict.status is Status.FAILED
        assert f"weight {name}: 1 of " in verdict.reason
    # The last one, by the whole command.
    result = verify(root, record=False)
    assert not result.passed
    assert f"weight {name}: 1 of " in result.reason
    assert "NaN" in result.reason


def test_nan_fails_without_the_digests_too(bundle: MakeBundle, alter: Apply, rewrite_golden: Apply) -> None:
    root = bundle("performer", "fp32")
    rewrite_golden(root, weights={})
    alter(root, ["blocks.0.mlp.fc2.weight"], spoil)
    result = verify(root, record=False)
    assert {verdict.gate for verdict in result.failing} == {"weights", "parity.onnx-fp32"}
    assert "first departs at blocks.0.mlp" in parity(result).reason


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_reference_values_fail(bundle: MakeBundle, rewrite_golden: Apply, precision: str) -> None:
    """The other side altered: logits of two clips exchanged, a tap of another module."""
    root = bundle("regular", precision)
    golden = rewrite_golden(root)
    rewrite_golden(root, taps={**golden.taps, "blocks.0.mlp": golden.taps["blocks.1.temporal"][:, ::-1].copy()})
    assert not verify(root, record=False).passed
    rewrite_golden(root, taps=golden.taps, logits=golden.logits[:, ::-1].copy())
    assert "first departs at head" in verify(root, record=False).reason


def test_a_tap_of_another_length_fails(bundle: MakeBundle, rewrite_golden: Apply) -> None:
    root = bundle("regular", "fp32")
    golden = rewrite_golden(root)
    rewrite_golden(root, taps={**golden.taps, "norm": golden.taps["norm"][:, :-1].copy()})
    result = verify(root, record=False)
    assert parity(result).status is Status.FAILED
    assert "norm: expected shape (2, 63), got (2, 64)" in result.reason


def test_a_reference_without_clips_is_refused(bundle: MakeBundle) -> None:
    root = bundle("regular", "fp32")
    with np.load(root / "golden.npz") as stored:
        arrays = {name: value[:0] if name.startswith("tap/") else value for name, value in stored.items()}
    arrays.update({name: arrays[name][:0] for name in ("clip", "logits", "sources")})
    np.savez(root / "golden.npz", **arrays)
    manifest = read_manifest(root)
    files = {name: entry_of(root / name) for name in manifest.files}
    (root / "manifest.json").write_bytes(replace(manifest, files=files).to_bytes())
    with pytest.raises(BundleError, match="at least one clip"):
        verify(root)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_a_byte_changed_behind_the_manifest_is_refused(bundle: MakeBundle, name: str) -> None:
    root = bundle("regular", "fp32")
    data = bytearray((root / name).read_bytes())
    data[len(data) // 2] ^= 1
    (root / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name}: altered or damaged"):
        verify(root)


@pytest.mark.parametrize(
    ("how", "code", "said"), [("nothing", 0, ""), ("head", 1, "head.weight"), ("byte", 2, "altered")]
)
def test_the_commands_exit_codes(
    bundle: MakeBundle, alter: Apply, capfd: pytest.CaptureFixture[str], how: str, code: int, said: str
) -> None:
    root = bundle("regular", "fp32")
    if how == "head":
        alter(root, ["head.weight"], grow)
    if how == "byte":
        (root / "model.onnx").write_bytes((root / "model.onnx").read_bytes()[:-1])
    assert run(ftsf, ["verify", str(root), "--json"], "ftsf") == code
    out, err = capfd.readouterr()
    facts = json.loads(out.strip().splitlines()[-1])
    assert facts["exit_code"] == code
    assert said in facts.get("error", "")
    assert said in err
    assert "Traceback" not in out + err


def test_without_digests_the_weights_are_in_doubt(bundle: MakeBundle, rewrite_golden: Apply) -> None:
    root = bundle("regular", "fp32")
    rewrite_golden(root, weights={})
    result = verify(root)
    assert not result.passed
    assert {v.gate: v.status for v in result.verdicts} == {
        "weights": Status.INCONCLUSIVE,
        "parity.onnx-fp32": Status.PASSED,
        "preprocessing": Status.NOT_RUN,
    }
    assert "hold no digests of the weights" in result.reason


@pytest.mark.parametrize("kept", [(), ("patch_embed", "norm"), ("blocks.0.mlp", "norm")])
def test_without_values_of_a_block_parity_is_in_doubt(
    bundle: MakeBundle, rewrite_golden: Apply, kept: tuple[str, ...]
) -> None:
    root = bundle("regular", "fp32")
    golden = read_golden(root / "golden.npz")
    rewrite_golden(root, taps={name: golden.taps[name] for name in kept})
    manifest = read_manifest(root)
    taps = tuple(tap for tap in manifest.graph.taps if tap.name in kept)
    (root / "manifest.json").write_bytes(replace(manifest, graph=replace(manifest.graph, taps=taps)).to_bytes())
    result = verify(root)
    assert parity(result).status is Status.INCONCLUSIVE
    assert f"outputs of {sum('blocks' in name for name in kept)} of 2 blocks" in result.reason


def test_a_failure_at_ones_own_limit_stands_beside_a_pass_at_the_usual_one(bundle: MakeBundle) -> None:
    root = bundle("regular", "fp32")
    assert not verify(root, rtol=1e-12).passed
    result = verify(root)
    assert result.passed
    (strict,) = result.unjudged
    assert (strict.gate, strict.status, strict.own_limits) == ("parity.onnx-fp32", Status.FAILED, "rtol 1e-12")
    found = [(v.status, v.own_limits, v.recorded_by) for v in result.bundle.verdicts if v.gate == "parity.onnx-fp32"]
    assert found == [(Status.PASSED, "", "verify"), (Status.FAILED, "rtol 1e-12", "verify")]


def test_what_is_on_record_and_was_not_judged_is_said(bundle: MakeBundle, capfd: pytest.CaptureFixture[str]) -> None:
    """The FP32 graph that an FP16 one was made from is not in the bundle: nobody can judge it again."""
    root = bundle("regular", "fp16")
    assert run(ftsf, ["info", str(root)], "ftsf") == 0
    said = capfd.readouterr().out
    assert said.count("(recorded at the export, not judged here)") == 2
    assert run(ftsf, ["verify", str(root), "--json"], "ftsf") == 0
    out, err = capfd.readouterr()
    assert [one["gate"] for one in json.loads(out.splitlines()[-1])["unjudged"]] == ["parity.onnx-fp32"]
    assert "not judged anew by this run: parity.onnx-fp32" in err
    (line,) = (line for line in err.splitlines() if "parity.fp16-emulated" in line)
    assert "not judged here" not in line
