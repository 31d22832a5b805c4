"""``ftsf info``, ``verify`` and ``build`` on a bundle."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import numpy_helper

from ftsf_export import Bundle
from ftsf_export.bundle.manifest import manifest_schema
from ftsf_export.cli.summary import size_text
from ftsf_export.errors import GateFailed
from ftsf_export.verdict import Measure, Status, Subject, Verdict, raise_for_failed
from tests.unit.manifests import read_manifest, rehash


def change_weights(bundle: Path, change: Any) -> None:
    """Alters one weight of the head's size, and takes the hashes anew: the manifest is no witness any more."""
    path = bundle / "model.onnx"
    model = onnx.load(str(path))
    head = next(i for i in model.graph.initializer if sorted(i.dims) == [10, 64])
    head.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(head)), head.name))
    onnx.save(model, str(path))
    rehash(bundle)


def test_info_says_what_it_is(say: Any, bundle: Path) -> None:
    said = say("info", bundle)
    assert said.code == 0
    for text in ("regular divided, 2 frames of 32 px", "fp16, opset 20", "model.onnx", "engine     none", "passed"):
        assert text in said.out
    assert say("info", bundle, "--json").json["manifest"]["precision"] == "fp16"


@pytest.mark.parametrize("command", ["info", "verify", "build", "bench"])
def test_a_bundle_that_is_missing_or_altered_is_2(say: Any, bundle: Path, tmp_path: Path, command: str) -> None:
    said = say(command, tmp_path / "missing")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    with (bundle / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01\x02")
    said = say(command, bundle, "-q")
    assert said.code == 2
    assert "model.onnx: altered or damaged" in said.err
    assert "Traceback" not in said.err


def test_info_prints_a_manifest_of_the_written_schema(say: Any, bundle: Path) -> None:
    shown = say("info", bundle, "--json").json["manifest"]
    Draft202012Validator(manifest_schema()).validate(shown)
    assert not Draft202012Validator(manifest_schema()).is_valid({**shown, "colour": "blue"})


def test_verify_passes_and_keeps_the_report_true(say: Any, bundle: Path) -> None:
    said = say("verify", bundle, "--json")
    assert said.code == 0, said.err
    assert {verdict["gate"] for verdict in said.json["judged"]} == {"weights", "parity.fp16-emulated", "preprocessing"}
    assert {v.gate for v in Bundle.open(bundle).verdicts} >= {"weights", "parity.fp16-emulated"}
    assert "weights: passed" in (bundle / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda w: (w * 1.1).astype(w.dtype), id="scaled"),
        pytest.param(lambda w: np.zeros_like(w), id="zeroed"),
        pytest.param(lambda w: np.where(np.arange(w.size).reshape(w.shape) == 3, np.nan, w).astype(w.dtype), id="nan"),
    ],
)
def test_verify_says_no_to_another_head(say: Any, bundle: Path, change: Any) -> None:
    change_weights(bundle, change)
    said = say("verify", bundle, "--json")
    assert said.code == 1
    assert said.json["error"].startswith("weights failed: weight head.weight")
    assert "logits" in said.json["error"]
    assert say("info", bundle).code == 0


def test_build_adds_an_engine_and_its_verdict(say: Any, bundle: Path) -> None:
    said = say("build", bundle, "--target", "rtx-40", "--json")
    assert said.code == 0, said.err
    assert [engine["target"] for engine in said.json["engines"]] == ["rtx-40"]
    opened = Bundle.open(bundle)
    assert opened.engine_path(opened.engines[0]).stat().st_size > 0
    assert "rtx-rtx-40-fp16.engine" in (bundle / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--batch", "2"], "the bundle's graph takes exactly 1 clips"),
        (["--batch", "x"], "batch: expected one number or MIN:OPT:MAX"),
        (["--target", "nope"], "target: expected one of"),
        (["--builder", "none"], "expected one of auto, tensorrt, rtx"),
    ],
)
def test_build_refuses(say: Any, bundle: Path, args: list[str], said: str) -> None:
    got = say("build", bundle, *args)
    assert got.code == 2
    assert said in got.err


@pytest.mark.parametrize("command", ["info", "verify", "doctor"])
def test_commands_of_a_device_need_no_torch(bundle: Path, command: str) -> None:
    hidden = (
        "import sys\n"
        "for name in ('torch', 'einops', 'fast_timesformer.model', 'onnxscript'): sys.modules[name] = None\n"
        "from ftsf_export.cli.main import ftsf, run\n"
        f"sys.exit(run(ftsf, {[command] if command == 'doctor' else [command, str(bundle)]!r}, 'ftsf'))"
    )
    ended = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def verdict(status: Status) -> Verdict:
    measure = Measure(output="logits", metric="rel_l2", value=1.0, limit=2.0)
    return Verdict(
        gate=f"gate-{status.value}", status=status, subject=Subject("model.onnx", "0" * 64), reason="why",
        measures=(measure,),
    )  # fmt: skip


def test_only_what_failed_or_stayed_open_is_an_error() -> None:
    raise_for_failed((verdict(Status.PASSED), verdict(Status.NOT_RUN)))
    with pytest.raises(GateFailed, match="gate-inconclusive inconclusive"):
        raise_for_failed((verdict(Status.PASSED), verdict(Status.INCONCLUSIVE)))
    with pytest.raises(GateFailed, match=r"gate-failed failed for model\.onnx: why"):
        raise_for_failed((verdict(Status.INCONCLUSIVE), verdict(Status.FAILED)))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_000_000, "3.0 MB"), (5_000_000_000, "5.0 GB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert size_text(size) == text


def test_names_in_a_strangers_bundle_and_of_a_video_move_no_cursor(bundle: Path, say: Any, tmp_path: Path) -> None:
    hostile = "\x1b[2Jcleared\n      passed  everything\x9b\u202e"
    manifest = read_manifest(bundle)
    labels = (hostile, *(f"class {number}" for number in range(1, manifest.model.num_classes)))
    tools = {**manifest.tools, hostile: hostile}
    altered = replace(manifest, created_by=hostile, labels=labels, tools=tools)
    (bundle / "manifest.json").write_bytes(altered.to_bytes())
    for command in (["info"], ["info", "--json"]):
        said = say(*command, bundle)
        assert said.code == 0, said.err
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", said.out + said.err)
        assert not [line for line in said.out.splitlines() if line.startswith("      passed  everything")]
    missing = say("export", "--video", tmp_path / f"{hostile}.mp4", "-o", tmp_path / "out", "--builder", "none")
    assert missing.code == 2
    assert len(missing.err.splitlines()) == 1
    assert "\x1b" not in missing.err


def test_a_build_for_a_machine_with_a_known_fault_warns(say: Any, bundle: Path) -> None:
    said = say("build", bundle, "--target", "jetson-orin", "--dry-run")
    assert said.code == 0, said.err
    warning = " ".join(said.err.split("warning", 1)[1].split())
    assert "TensorRT 10.3, compute capability 8.7" in warning
    assert "https://github.com/NVIDIA/TensorRT/issues/4558" in warning
    assert "prove the engine on that GPU with ftsf verify" in warning
