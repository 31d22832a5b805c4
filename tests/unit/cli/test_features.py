"""``--features``: the class token after the last norm as an output, beside the logits or alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import TimesformerModel

from fast_timesformer import FastTimeSformer, save_model
from ftsf_export import Bundle
from ftsf_export.verdict import Status
from tests.unit.checkpoint.original import original_features, original_state
from tests.unit.checkpoint.pretrained import relative, their_model, write_huggingface

BOTH = ["logits", "features"]
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}


def exported(say: Any, path: Path, output: Path, *options: str, code: int = 0) -> Any:
    said = say("export", "--checkpoint", path, "--builder", "none", "-o", output, "--json", *options)
    assert said.code == code, said.err
    return said


def shapes_of(bundle: Bundle) -> dict[str, list[int]]:
    graph = onnx.load(bundle.onnx_path).graph
    return {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in graph.output}


def judged(bundle: Bundle, gate: str) -> dict[tuple[str, str], Any]:
    (verdict,) = (verdict for verdict in bundle.verdicts if verdict.gate == gate)
    assert verdict.status is Status.PASSED, verdict.reason
    return {(measure.output, measure.metric): measure for measure in verdict.measures}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file of the original, whose heads and epsilon are said."""
    state = original_state(dim=64, depth=1)
    path = tmp_path_factory.mktemp("features") / "a.pyth"
    torch.save({"model_state": state, "cfg": "TIMESFORMER:\n  NUM_HEADS: 2\n  NORM_EPS: 1.0e-06\n"}, path)
    return path, state


@pytest.mark.parametrize(
    ("precision", "asked", "names"),
    [("fp16", "also", ["logits", "features"]), ("fp32", "only", ["features"])],
)
def test_beside_the_logits_and_alone(
    say: Any,
    tmp_path: Path,
    original: tuple[Path, dict[str, torch.Tensor]],
    precision: str,
    asked: str,
    names: list[str],
) -> None:
    path, state = original
    said = exported(say, path, tmp_path / "out", "--features", asked, "--precision", precision)
    bundle = Bundle.open(tmp_path / "out")
    assert shapes_of(bundle) == {name: [1, {"logits": 7, "features": 64}[name]] for name in names}
    assert [spec.name for spec in bundle.manifest.outputs] == names
    assert "features: float32 1 x 64 (BD), the class token after the last norm" in said.err
    golden = bundle.golden()
    assert (golden.logits is None) is (asked == "only")
    assert golden.features is not None
    expected = original_features(state, torch.from_numpy(golden.clip).double(), heads=2, eps=1e-6)
    assert relative(torch.from_numpy(golden.features).double(), expected) <= 1e-6
    measures = judged(bundle, "parity.onnx-fp32" if precision == "fp32" else "parity.fp16-emulated")
    assert measures["features", "rel_l2"].limit is not None
    assert ("logits", "top1_agreement") in measures or asked == "only"
    assert (names[0], "clips_apart") in measures
    verified = say("verify", tmp_path / "out")
    assert verified.code == 0, verified.err


def test_a_value_that_is_not_the_token_fails(
    say: Any, tmp_path: Path, original: tuple[Path, dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the last norm left out of the graph's features the gate names them."""
    from ftsf_export.graph.forms import model

    class Unnormed(model.Norm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + x.mean(dim=-1, keepdim=True)

    monkeypatch.setattr(model, "Norm", Unnormed)
    said = exported(say, original[0], tmp_path / "out", "--features", "only", "--precision", "fp32", code=1)
    assert "features: rel_l2" in said.json["error"]
    assert "first departs at norm" in said.json["error"]


def test_a_bare_flag_is_also(say: Any, original: tuple[Path, dict[str, torch.Tensor]]) -> None:
    said = say("export", "--checkpoint", original[0], "--dry-run", "--json", "--features")
    assert said.json["plan"]["outputs"] == ["logits", "features"]
    assert say("export", "--features", "some", "--dry-run").code == 2


@pytest.mark.parametrize(("attention_type", "bare"), [("divided_space_time", True), ("space_only", False)])
def test_hugging_faces_model_without_a_head(say: Any, tmp_path: Path, attention_type: str, bare: bool) -> None:
    """As ``TimesformerModel.save_pretrained`` writes it, and with the name of the whole before each tensor."""
    theirs = their_model(attention_type=attention_type, **SMALL)
    base: TimesformerModel = theirs.timesformer
    if bare:
        base.save_pretrained(tmp_path / "m")
    else:
        write_huggingface(tmp_path / "m", theirs)
        torch.save({k: v for k, v in theirs.state_dict().items() if "classifier" not in k}, tmp_path / "m" / "w.bin")
        (tmp_path / "m" / "model.safetensors").unlink()
        (tmp_path / "m" / "w.bin").rename(tmp_path / "m" / "pytorch_model.bin")
    said = exported(say, tmp_path / "m", tmp_path / "out", "--precision", "fp32")
    assert "warning: NO HEAD: the model has no class scores; the graph gives features, (B, 64)" in said.err
    bundle = Bundle.open(tmp_path / "out")
    assert (shapes_of(bundle), bundle.manifest.labels) == ({"features": [1, 64]}, None)
    assert bundle.manifest.reference.endswith("TimesformerModel")
    assert ("features", "rel_l2") in judged(bundle, "parity.huggingface")
    golden = bundle.golden()
    assert golden.features is not None
    clip = torch.from_numpy(golden.clip)
    with torch.no_grad():
        if attention_type == "divided_space_time":
            expected = base(clip).last_hidden_state[:, 0]
        else:
            hidden = base.encoder(base.embeddings(clip), return_dict=True).last_hidden_state[:, 0]
            expected = base.layernorm(hidden.unflatten(0, (len(clip), 4)).mean(dim=1))
    np.testing.assert_allclose(golden.features, expected, rtol=0, atol=1e-5)


def test_hugging_faces_features_beside_its_logits(say: Any, tmp_path: Path) -> None:
    folder = write_huggingface(tmp_path / "m", their_model(**SMALL))
    exported(say, folder, tmp_path / "out", "--features", "--precision", "fp32")
    measures = judged(Bundle.open(tmp_path / "out"), "parity.huggingface")
    assert {output for output, _ in measures} == {"logits", "features"}


def test_a_file_of_the_original_without_a_head(say: Any, tmp_path: Path) -> None:
    state = original_state(dim=64, depth=1, classes=0)
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    options = ("--heads", "2", "--norm-eps", "1e-6", "--precision", "fp32")
    exported(say, tmp_path / "a.pyth", tmp_path / "out", *options)
    golden = Bundle.open(tmp_path / "out").golden()
    assert golden.features is not None
    expected = original_features(state, torch.from_numpy(golden.clip).double(), heads=2, eps=1e-6)
    assert relative(torch.from_numpy(golden.features).double(), expected) <= 1e-6
    refused = exported(say, tmp_path / "a.pyth", tmp_path / "no", *options, "--features", "none", code=2)
    assert "the model has no head: features are all that it gives" in refused.json["error"]
    (tmp_path / "v" / "a").mkdir(parents=True)
    (tmp_path / "v" / "a" / "x.mp4").touch()
    for more in ((), ("--features", "only")):
        asked = (*options, *more, "--held-out", str(tmp_path / "v"))
        refused = exported(say, tmp_path / "a.pyth", tmp_path / "no", *asked, code=2)
        assert "agreement is about class scores" in refused.json["error"]


def test_a_model_of_ours_without_a_head(say: Any, tmp_path: Path) -> None:
    """Also with additive attention and several clips a call: what is judged are its features."""
    torch.manual_seed(0)
    model = FastTimeSformer(2, 3, 32, 32, 0, dim=64, depth=1)
    save_model(model, tmp_path / "a.safetensors")
    exported(say, tmp_path / "a.safetensors", tmp_path / "out", "--batch", "2", "--precision", "fp32")
    golden = Bundle.open(tmp_path / "out").golden()
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(golden.clip))
    assert expected.shape == (2, 64)
    np.testing.assert_allclose(golden.features, expected, rtol=0, atol=1e-5)
