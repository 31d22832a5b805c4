"""``ftsf export`` on a small model: the bundle, what is said, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export import Bundle
from ftsf_export.bundle import GivenWeights, RandomWeights
from ftsf_export.cli.export import default_name, free_directory
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from ftsf_export.report import record_from_bytes
from ftsf_export.verdict import Status


def test_the_bundle_is_whole_and_judged_on_noise_and_video(exported: Path) -> None:
    bundle = Bundle.open(exported)
    assert bundle.manifest.weights == RandomWeights(0)
    assert bundle.manifest.model.attn_mechanism == "regular"
    golden = bundle.golden()
    assert golden.sources == ("noise seed 0", "carphone_pristine.mp4 frames 0..119 step 119")
    assert golden.clip.shape == (2, 2, 3, 32, 32)
    assert set(golden.taps) == {"patch_embed", "blocks.0.temporal", "blocks.0.spatial", "blocks.0.mlp", "norm"}
    assert golden.weights
    assert [(v.gate, v.status) for v in bundle.verdicts] == [
        ("parity.onnx-fp32", Status.PASSED),
        ("parity.fp16-emulated", Status.PASSED),
    ]
    assert bundle.verdicts[1].proxy_for == "fp16 on a GPU"
    assert {path.name for path in exported.iterdir()} == {
        "manifest.json", "model.onnx", "golden.npz", "report.json", "report.md", "report.html",
    }  # fmt: skip


def test_the_report_shows_the_video_and_what_both_sides_make_of_it(exported: Path) -> None:
    bundle = Bundle.open(exported)
    record = record_from_bytes(bundle.read("report.json"), "report.json")
    assert [(clip.source, len(clip.frames)) for clip in record.clips] == [(bundle.golden().sources[1], 2)] * 2
    logits = bundle.golden().logits
    assert logits is not None
    clip = record.clips[0]
    order = np.argsort(-logits[1], kind="stable")[:5]
    assert [one.index for one in clip.reference] == order.tolist()
    assert {one.index for one in clip.graph} & set(order.tolist())
    assert [one.score for one in clip.graph] == pytest.approx([one.score for one in clip.reference], abs=1e-2)
    page = (exported / "report.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') == 4


def test_no_path_of_this_machine_is_in_the_bundle(exported: Path) -> None:
    for path in exported.iterdir():
        content = path.read_bytes()
        for place in (str(exported.parent), str(Path(__file__).parents[3])):
            assert place.encode() not in content, path.name


def test_random_weights_are_said_in_every_output(say: Any, bundle: Path) -> None:
    for args in (["info", bundle], ["verify", bundle], ["export", "--dry-run"]):
        said = say(*args)
        assert said.code == 0, said.err
        assert "weights    random, seed 0" in said.out
    assert "RANDOM WEIGHTS" in (bundle / "report.md").read_text(encoding="utf-8")


def test_json_holds_plan_verdicts_and_stages(say: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    """With an engine, where TensorRT for RTX is installed."""
    said = say("export", *tiny, "--target", "rtx-40", "--target", "jetson-orin", "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    assert said.out.count("\n") == 1
    facts = said.json
    assert facts["exit_code"] == 0
    assert facts["random_weights"] is True
    assert [engine["target"] for engine in facts["engines"]] == ["rtx-40"]
    assert "engine.types-rtx-rtx-40" in {v["gate"] for v in facts["verdicts"] if v["status"] == "passed"}
    assert {"trace the model", "compile the engines"} <= {stage["stage"] for stage in facts["stages"]}
    command = facts["plan"]["deferred"][0]["command"]
    assert command == f"ftsf build {tmp_path / 'out'} --builder tensorrt --target jetson-orin"
    assert command in said.err
    assert "ftsf build . --builder tensorrt --target jetson-orin" in (tmp_path / "out" / "report.md").read_text()


def test_a_failing_gate_keeps_the_bundle_and_names_the_measure(say: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    said = say("export", *tiny, "--builder", "none", "--rtol", "1e-7", "-o", tmp_path / "out", "--json")
    assert said.code == 1
    error = said.json["error"]
    assert error.startswith("parity.fp16-emulated failed for model.onnx: logits: rel_l2 ")
    assert "limit at most 1e-07, worst at [" in error
    assert said.err.splitlines()[-1] == f"error: {error}"
    assert "Traceback" not in said.err
    failed = [v.gate for v in Bundle.open(tmp_path / "out").verdicts if v.status is Status.FAILED]
    assert failed == ["parity.fp16-emulated"]
    assert "failed" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_only_what_was_typed_is_given_to_the_configuration(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default that was typed is a wish; one that was not gives way to a checkpoint."""
    given: list[frozenset[str]] = []
    resolve = "ftsf_export.pipeline.resolve.resolve_export"

    def look(config: ExportConfig, **_: Any) -> Any:
        given.append(config.given)
        raise UsageError("seen")

    monkeypatch.setattr(resolve, look)
    assert say("export", "--frames", "8", "--target", "rtx", "--no-rotary", "-o", "x").code == 2
    assert given == [frozenset({"frames", "targets", "rotary"})]


def test_dry_run_writes_nothing(say: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    said = say("export", "--dry-run", "--json", "--attn", "performer")
    assert said.code == 0
    assert said.json["dry_run"] is True
    assert said.json["plan"]["config"]["attn"] == "performer"
    assert said.json["plan"]["output"] == "performer-divided-8x224-fp16"
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_replaced_only_when_asked(say: Any, bundle: Path, tiny: tuple[str, ...]) -> None:
    before = (bundle / "manifest.json").read_bytes()
    said = say("export", *tiny, "--builder", "none", "-o", bundle)
    assert said.code == 2
    assert said.err.splitlines() == [
        f"error: {bundle}: a bundle is there already; give --overwrite, or another directory"
    ]
    assert (bundle / "manifest.json").read_bytes() == before
    assert say("export", *tiny, "--builder", "none", "--seed", "7", "-o", bundle, "--overwrite").code == 0
    assert Bundle.open(bundle).manifest.weights == RandomWeights(7)


def test_a_video_that_is_none_leaves_nothing_behind(say: Any, tiny: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("text")
    said = say("export", *tiny, "--video", tmp_path / "a.mp4", "-o", tmp_path / "deep" / "out", "-q")
    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_same_export_twice_gives_the_same_files(
    say: Any, exported: Path, tiny: tuple[str, ...], video: Path, tmp_path: Path
) -> None:
    args = ["export", *tiny, "--builder", "none", *["--video", video] * 2, "-o", tmp_path / "again"]
    assert say(*args).code == 0
    for name in ("model.onnx", "golden.npz"):
        assert (tmp_path / "again" / name).read_bytes() == (exported / name).read_bytes(), name


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    """From Python: the model brings its architecture, and is left as it was."""
    import torch

    from fast_timesformer.model import FastTimeSformer
    from ftsf_export import export

    torch.manual_seed(1)
    model = FastTimeSformer(2, 3, 32, 16, 7, dim=64, depth=1, attn_mechanism="regular", rotary_emb=False).train()
    bundle = export(ExportConfig(frames=2, builder="none"), model=model, output=tmp_path / "out")
    assert model.training
    assert bundle.manifest.weights == GivenWeights()
    assert bundle.manifest.inputs[0].shape == (1, 2, 3, 32, 16)
    assert (bundle.manifest.model.height, bundle.manifest.model.width) == (32, 16)
    assert bundle.manifest.asked.written() == {"frames": 2, "builder": "none"}
    assert all(verdict.passed for verdict in bundle.verdicts)
    golden = bundle.golden()
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(golden.clip)).numpy()
    np.testing.assert_allclose(golden.logits, expected, rtol=0, atol=1e-5)


def test_without_o_a_free_name_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    name = default_name(ExportConfig(size="32x48"))
    assert name == "fastformer-divided-8x32x48-fp16"
    assert free_directory(name, overwrite=False) == Path(name)
    for taken in (name, f"{name}-2"):
        Path(taken).mkdir()
    assert free_directory(name, overwrite=False) == Path(f"{name}-3")
    assert free_directory(name, overwrite=True) == Path(name)
