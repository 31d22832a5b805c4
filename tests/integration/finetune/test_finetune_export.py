"""From a folder of videos to a verified bundle: trained weights, not noise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fast_timesformer.finetune import Distillation, Motion, MotionClips, Trainer, TrainingSettings, accuracy
from fast_timesformer.model import FastTimeSformer
from fast_timesformer.weights import load_model, save_model
from ftsf_export import Bundle, ExportConfig, export
from ftsf_export.cli.finetune import command
from ftsf_export.cli.main import ftsf, run
from ftsf_export.errors import UsageError, VideoError
from ftsf_export.pipeline import motion_demo
from ftsf_export.pipeline.training import FinetuneRequest, finetune, write_motion
from ftsf_export.verdict import Status

SMALL = ["--frames", "2", "--size", "16", "--patch-size", "8", "--dim", "16", "--depth", "1", "--dim-head", "8"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion") / "videos"
    write_motion(folder, Motion(frames=2, size=16), train=8, held_out=4, seed=0)
    return folder


@pytest.fixture(scope="module")
def trained(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "performer.safetensors"
    code = run(
        command, [str(videos), "-o", str(path), "--attn", "performer", "--epochs", "1", *SMALL, "-q"], "finetune"
    )
    assert code == 0
    return path


def test_the_command_trains_and_says_so(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "a.safetensors"
    args = [str(videos), "-o", str(output), "--epochs", "2", "--seed", "3", *SMALL, "--json"]
    assert run(command, args, "finetune") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["labels"] == ["down", "left", "right", "up"]
    assert [epoch["epoch"] for epoch in said["epochs"]] == [1, 2]
    assert not output.with_name("a.safetensors.training").exists()
    assert load_model(output).config.attn_mechanism == "fastformer"
    assert run(command, args, "finetune") == 2, "the output is there already"


@pytest.mark.long
def test_the_demonstration_at_a_small_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All five trainings and exports, without engines. One epoch of eight clips learns nothing."""

    def without_engines(config: ExportConfig, **rest: Any) -> Bundle:
        return export(config.replaced(builder="none"), **rest)

    monkeypatch.setattr(motion_demo, "export", without_engines)
    small = ["--frames", "2", "--size", "16", "--clips", "8", "--held-out-clips", "4", "--epochs", "1"]
    args = ["finetune", "--demo", "-o", str(tmp_path / "motion"), *small, "--json"]
    assert run(ftsf, args, "ftsf") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = [one["name"] for one in said["trained"]]
    assert names == ["regular", "fastformer", "performer", "fastformer-taught", "performer-taught"]
    for name in names:
        bundle = Bundle.open(tmp_path / "motion" / name)
        assert any(verdict.gate == "agreement.onnx-fp32" and verdict.passed for verdict in bundle.verdicts)
    assert run(ftsf, args, "ftsf") == 2, "something is there already"
    assert run(ftsf, ["finetune", "--demo", "5", "-o", str(tmp_path / "other")], "ftsf") == 2
    assert "directions: expected one of 4, 8, got 5" in capsys.readouterr().err


def test_the_trained_file_is_a_checkpoint_of_the_export(trained: Path, videos: Path, tmp_path: Path) -> None:
    config = ExportConfig(checkpoint=trained, builder="none", held_out=videos / "val")
    bundle = export(config, output=tmp_path / "bundle")
    verdicts = {verdict.gate: verdict for verdict in bundle.verdicts}
    assert bundle.manifest.labels == ("down", "left", "right", "up")
    assert bundle.manifest.preprocessing.resize_short_side == 16
    for gate in ("agreement.onnx-fp32", "agreement.fp16-emulated"):
        assert verdicts[gate].status is Status.PASSED
        found = {measure.metric: measure.value for measure in verdicts[gate].measures}
        assert found["held_out_clips"] == 4
        assert found["eager_top1_accuracy"] == found["graph_top1_accuracy"]
    assert "agreement.fp16-emulated" in (bundle.path / "report.md").read_text(encoding="utf-8")


@pytest.mark.long
# Small clips that each learns in a minute; of two frames of 16 px fastformer was still at chance after four epochs.
@pytest.mark.parametrize(("attn", "rate", "frames", "patch"), [("fastformer", 4e-3, 4, 8), ("performer", 1e-3, 2, 16)])
def test_motion_is_learnt_and_survives_half_precision(
    attn: str, rate: float, frames: int, patch: int, tmp_path: Path
) -> None:
    """From chance (25%) to over 95% on clips never seen; then 40 videos of them through the FP16 graph."""
    motion = Motion(frames=frames, size=16)
    torch.manual_seed(0)
    sizes = {"patch_size": patch, "dim": 64, "depth": 2, "dim_head": 32}
    model = FastTimeSformer(frames, 3, 16, 16, 4, **sizes, drop_path=0.0, attn_mechanism=attn)
    held_out = MotionClips(motion, 200, seed=1)
    assert accuracy(model, held_out, batch=100) < 0.5
    settings = TrainingSettings(epochs=12, rate=rate, precision="fp32", redraw_every=0)
    trainer = Trainer(model, MotionClips(motion, 4096, seed=0), settings, held_out=held_out)
    # A quarter to a half of the epochs does; the others would only make the test longer.
    for epoch in trainer.fit():
        if epoch.accuracy is not None and epoch.accuracy > 0.97:
            break
    assert accuracy(model, held_out, batch=100) > 0.95
    write_motion(tmp_path / "videos", motion, train=4, held_out=40, seed=5)
    how = {"mean": [0.45] * 3, "std": [0.225] * 3, "resize_short_side": 16, "stride": 1}
    save_model(model, tmp_path / "motion.safetensors", labels=motion.labels, preprocessing=how)
    config = ExportConfig(checkpoint=tmp_path / "motion.safetensors", builder="none", held_out=tmp_path / "videos/val")
    verdicts = {verdict.gate: verdict for verdict in export(config, output=tmp_path / "bundle").verdicts}
    assert all(verdict.passed for verdict in verdicts.values())
    found = {measure.metric: measure.value for measure in verdicts["agreement.fp16-emulated"].measures}
    assert found["top1_agreement"] == 1
    assert found["graph_top1_accuracy"] > 0.9


def test_a_mechanism_is_swapped_and_distilled(trained: Path, videos: Path, tmp_path: Path) -> None:
    request = FinetuneRequest(
        data=videos, output=tmp_path / "fast.safetensors", config=ExportConfig(attn="fastformer"), teacher=str(trained)
    )
    settings = TrainingSettings(epochs=1, rate=1e-12, distillation=Distillation(hidden_weight=1.0))
    done = finetune(request, settings)
    assert any("NEEDS FINE-TUNING" in remark for remark in done.remarks)
    student, teacher = load_model(done.output), load_model(trained)
    assert (student.config.attn_mechanism, teacher.config.attn_mechanism) == ("fastformer", "performer")
    # At a rate of nothing the student still is where it started: at the teacher's weights.
    torch.testing.assert_close(student.blocks[0].mlp.fc1.weight, teacher.blocks[0].mlp.fc1.weight, atol=1e-7, rtol=0)
    torch.testing.assert_close(student.head.weight, teacher.head.weight, atol=1e-7, rtol=0)


def test_a_head_for_other_classes(trained: Path, videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "train"
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.mp4").write_bytes(next((videos / "train" / "up").iterdir()).read_bytes())
    request = FinetuneRequest(
        data=folder.parent, output=tmp_path / "b.safetensors", config=ExportConfig(checkpoint=trained)
    )
    done = finetune(request, TrainingSettings(epochs=1))
    assert done.labels == ("cats", "dogs")
    assert any("the head is drawn anew" in remark for remark in done.remarks)
    assert load_model(done.output).config.num_classes == 2
    with pytest.raises(UsageError, match=r"teacher: .* does not know the classes cats, dogs"):
        finetune(
            FinetuneRequest(
                data=folder.parent, output=tmp_path / "c.safetensors", config=ExportConfig(), teacher=str(trained)
            ),
            TrainingSettings(epochs=1, distillation=Distillation()),
        )
    with pytest.raises(VideoError, match="class 'cats' is not one of the model's"):
        export(ExportConfig(checkpoint=trained, held_out=folder, builder="none"), output=tmp_path / "never")
    assert not (tmp_path / "never").exists()
