"""``ftsf export --checkpoint``: what is brought along, what is refused, and what every output says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ftsf_export import Bundle
from ftsf_export.bundle import CheckpointWeights
from ftsf_export.verdict import Status
from tests.unit.checkpoint.pretrained import noise, their_model, write_huggingface

LABELS = {str(index): name for index, name in enumerate(("up", "down", "left", "right", "in", "out", "still"))}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theirs = their_model(hidden_size=64, intermediate_size=128, id2label=LABELS)
    return write_huggingface(tmp_path_factory.mktemp("checkpoints") / "tiny-k7", theirs)


@pytest.fixture(scope="module")
def exported(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ftsf_export.cli.main import ftsf, run

    output = tmp_path_factory.mktemp("exported") / "bundle"
    args = ["export", "--checkpoint", str(pretrained), "--builder", "none", "-o", str(output), "-q"]
    assert run(ftsf, args, "ftsf") == 0
    return output


def test_the_bundle_holds_what_the_checkpoint_says(exported: Path) -> None:
    manifest = Bundle.open(exported).manifest
    assert manifest.labels == tuple(LABELS.values())
    assert manifest.weights_described.startswith("checkpoint tiny-k7 (Hugging Face), model.safetensors sha256 ")
    how = manifest.preprocessing
    assert (how.frames, how.resize_short_side, how.crop, how.mean) == (4, 28, (24, 24), (0.4, 0.45, 0.5))
    assert manifest.model.attn_mechanism == "regular"
    assert manifest.asked.given == {"checkpoint", "builder"}
    assert isinstance(manifest.weights, CheckpointWeights)
    assert manifest.weights.trained.qkv_bias is True
    assert "transformers" in manifest.tools
    assert [(v.gate, v.status) for v in Bundle.open(exported).verdicts] == [
        ("parity.huggingface", Status.PASSED),
        ("parity.onnx-fp32", Status.PASSED),
        ("parity.fp16-emulated", Status.PASSED),
        ("parity.preprocessing", Status.PASSED),
    ]


def test_the_reference_is_hugging_faces_own(exported: Path) -> None:
    bundle = Bundle.open(exported)
    assert bundle.manifest.reference.startswith("transformers ")
    golden = bundle.golden()
    with torch.no_grad():
        expected = their_model(hidden_size=64, intermediate_size=128)(torch.from_numpy(golden.clip[:1])).logits
    assert torch.allclose(torch.from_numpy(golden.logits[:1]), expected, rtol=0, atol=1e-6)


def test_info_report_and_json_show_it(say: Any, exported: Path) -> None:
    said = say("info", exported, "--json")
    assert said.code == 0
    assert said.json["labels"] == list(LABELS.values())
    assert said.json["preprocessing"]["mean"] == [0.4, 0.45, 0.5]
    assert (said.json["random_weights"], said.json["needs_fine_tuning"]) == (False, False)
    assert "labels     7: up, down, left, ..., still" in said.err
    assert "weights    checkpoint tiny-k7 (Hugging Face)" in said.err
    report = (exported / "report.md").read_text(encoding="utf-8")
    assert "checkpoint tiny-k7" in report
    assert "| labels | 7: up, down, left, right, in, out, still |" in report
    assert "4 frames, 64 apart, short side to 28 px (bilinear, pillow), centre 24 × 24, RGB, minus 0.4, 0.45" in report

    assert "Reference logits: transformers " in report
    assert "RANDOM WEIGHTS" not in report
    assert str(exported.parent) not in (exported / "manifest.json").read_text()


def test_a_contradiction_is_exit_2_with_both_values(say: Any, pretrained: Path, tmp_path: Path) -> None:
    """--dim 512 is the command's default, and still what was typed."""
    said = say("export", "--checkpoint", pretrained, "--dim", "512", "--attn-type", "joint", "-o", tmp_path / "out")
    assert said.code == 2
    assert "dim: 512 was asked for, the checkpoint tiny-k7 has 64" in said.err
    assert "attn_type: joint was asked for, the checkpoint tiny-k7 has divided" in said.err
    assert not (tmp_path / "out").exists()


def test_another_mechanism_is_said_loudly_and_marked(say: Any, pretrained: Path, tmp_path: Path) -> None:
    args = ("export", "--checkpoint", pretrained, "--attn", "fastformer", "--builder", "none", "-o", tmp_path / "out")
    said = say(*args, "-q")
    assert said.code == 0, said.err
    assert "warning: NEEDS FINE-TUNING: fastformer attention in the place of regular" in said.err
    assert "NOT FINE-TUNED" in said.out
    manifest = Bundle.open(tmp_path / "out").manifest
    assert "NOT FINE-TUNED" in manifest.weights_described
    assert manifest.need_fine_tuning
    assert isinstance(manifest.weights, CheckpointWeights)
    assert len(manifest.weights.fresh) == 8
    assert "NOT FINE-TUNED" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "NOT FINE-TUNED" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert say("info", tmp_path / "out", "--json").json["needs_fine_tuning"] is True
    verdicts = {verdict.gate: verdict for verdict in Bundle.open(tmp_path / "out").verdicts}
    assert verdicts["parity.huggingface"].status is Status.NOT_RUN
    assert manifest.reference == "eager FastTimeSformer"


def test_other_frames_and_size_are_interpolated_and_said(say: Any, pretrained: Path, tmp_path: Path) -> None:
    said = say("export", "--checkpoint", pretrained, "--frames", "8", "--size", "32x48", "--dry-run", "--json")
    assert said.code == 0
    assert "warning: time embeddings are interpolated (nearest): trained with 4 frames, asked for 8" in said.err
    assert "warning: space embeddings are interpolated (nearest): trained with 24x24 px, asked for 32x48" in said.err
    plan = said.json["plan"]
    assert (plan["config"]["frames"], plan["config"]["size"]) == (8, "32x48")
    assert plan["output"] == "tiny-k7-8-32x48-fp16"
    assert plan["gates"][0] == "parity.huggingface"
    assert plan["checkpoint"]["kind"] == "Hugging Face"
    assert not list(tmp_path.iterdir())


def test_a_disagreement_with_hugging_face_fails_its_gate(
    say: Any, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two maps of the same shape exchanged in our table of names, the second opinion says so."""
    from ftsf_export.checkpoint import names

    one, other = "temporal.norm", "whole.norm"
    table = names._HUGGING_FACE.in_block
    exchanged = replace(names._HUGGING_FACE, in_block={**table, one: table[other], other: table[one]})
    monkeypatch.setattr(names, "_HUGGING_FACE", exchanged)
    said = say("export", "--checkpoint", pretrained, "--builder", "none", "-o", tmp_path / "out", "--json")
    assert said.code == 1
    assert said.json["error"].startswith("parity.huggingface failed for model.onnx: logits: rel_l2 ")
    failed = [v.gate for v in Bundle.open(tmp_path / "out").verdicts if v.status is Status.FAILED]
    assert failed[0] == "parity.huggingface"


def test_what_is_not_there(say: Any, tmp_path: Path) -> None:
    said = say("export", "--checkpoint", tmp_path / "nothing", "-o", tmp_path / "out")
    assert said.code == 2
    assert "no such file or directory; expected a Hugging Face directory" in said.err
    assert "Traceback" not in said.err


def test_without_transformers_the_reference_is_ours(
    say: Any, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.util import find_spec

    from ftsf_export.checkpoint import huggingface_logits

    monkeypatch.setattr(
        huggingface_logits, "find_spec", lambda name: None if name == "transformers" else find_spec(name)
    )
    said = say("export", "--checkpoint", pretrained, "--builder", "none", "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    (verdict,) = (v for v in said.json["verdicts"] if v["gate"] == "parity.huggingface")
    assert (verdict["status"], "ftsf-export[hub]" in verdict["reason"]) == ("not_run", True)
    assert Bundle.open(tmp_path / "out").manifest.reference == "eager FastTimeSformer"


def test_an_original_file_exports(say: Any, tmp_path: Path) -> None:
    from tests.unit.checkpoint.pretrained import YAML, write_pyth

    theirs = their_model(hidden_size=64, intermediate_size=128, num_attention_heads=1)
    path = write_pyth(tmp_path / "a.pyth", theirs, cfg=f"{YAML}TRAIN:\n  DATASET: ssv2\n")
    assert say("export", "--checkpoint", path, "--builder", "none", "-o", tmp_path / "out").code == 0
    bundle = Bundle.open(tmp_path / "out")
    how = bundle.manifest.preprocessing
    assert (how.stride, how.sampling, how.color_order, how.resizer) == (16, "segments", "BGR", "torch")
    assert bundle.manifest.inputs[0].values == "BGR in 0..1, minus mean, over std"
    said = "4 frames, one from the middle of each of 4 equal parts of the video"
    assert said in say("info", tmp_path / "out").out
    assert said in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert bundle.manifest.labels is None
    clip = torch.from_numpy(bundle.golden().clip)
    assert clip.shape == (2, *noise(4, 24, 24).shape[1:])
    with torch.no_grad():
        expected = theirs(clip).logits
    assert torch.allclose(torch.from_numpy(bundle.golden().logits), expected, rtol=0, atol=1e-5)


def test_what_a_file_cannot_say_is_said_to_be_assumed(say: Any, tmp_path: Path) -> None:
    """Six heads of 32 that nobody named are taken for three of 64: no gate sees it, so every output says so."""
    from tests.unit.checkpoint.original import original_state

    state = {f"model.{name}": tensor for name, tensor in original_state(dim=192, depth=1).items()}
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    args = ("--checkpoint", tmp_path / "a.pyth", "--builder", "none", "--precision", "fp32")
    said = say("export", *args, "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    assumed = ["heads 3 of width 64", "norm_eps 1e-06"]
    assert said.json["assumed"] == assumed
    assert "warning: ASSUMED: heads 3 of width 64 and norm_eps 1e-06" in said.err
    manifest = Bundle.open(tmp_path / "out").manifest
    assert (list(manifest.assumed), manifest.reference) == (
        assumed, "eager FastTimeSformer, which assumes heads 3 of width 64, norm_eps 1e-06",
    )  # fmt: skip
    (opinion,) = (verdict for verdict in manifest.verdicts if verdict.gate == "parity.original")
    assert (opinion.status, "assumed" in opinion.reason) == (Status.NOT_RUN, True)
    for name in ("report.md", "report.html"):
        assert "ASSUMED" in (tmp_path / "out" / name).read_text(encoding="utf-8")
    assert "ASSUMED" in say("info", tmp_path / "out").out
    told = say("export", *args, "--heads", "6", "--norm-eps", "1e-6", "--dry-run", "--json")
    assert (told.json["plan"]["checkpoint"]["assumed"], "ASSUMED" in told.err) == ([], False)
    assert told.json["plan"]["gates"] == ["parity.onnx-fp32", "parity.preprocessing"]
