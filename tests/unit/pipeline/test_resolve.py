"""What an export will do, and everything that is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.bundle import RandomWeights
from ftsf_export.config import ExportConfig
from ftsf_export.doctor import packages
from ftsf_export.errors import EnvironmentLacks, FtsfError, OutputError, UsageError
from ftsf_export.pipeline.resolve import ResolvedExport, resolve_export
from ftsf_export.precision import FP8, PRECISIONS, OnCpu, Proof


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with TensorRT for RTX and no GPU, whatever runs the tests."""
    from ftsf_export.engine.choice import BuildTools

    monkeypatch.setattr("ftsf_export.engine.choice.build_tools_here", lambda: BuildTools(None, True, False))


def resolved(tmp_path: Path, **fields: Any) -> ResolvedExport:
    return resolve_export(ExportConfig(**fields), output=tmp_path / "out")


def test_the_documented_example(tmp_path: Path) -> None:
    plan = resolved(tmp_path, attn="fastformer", frames=8)
    assert [(one.builder, one.target.name) for one in plan.choice.to_build] == [("rtx", "rtx")]
    assert plan.gates == ("parity.onnx-fp32", "parity.fp16-emulated", "engine.types-rtx-rtx", "plan.work-rtx-rtx")
    assert plan.weights == RandomWeights(0)
    assert (plan.preprocessing.frames, plan.preprocessing.stride, plan.preprocessing.crop) == (8, 32, (224, 224))
    assert not list(tmp_path.iterdir())


def test_json_form_names_every_file(tmp_path: Path) -> None:
    written = resolved(tmp_path, targets=("rtx-40", "jetson-orin")).as_dict()
    assert written["engines"] == [{"builder": "rtx", "target": "rtx-40"}]
    assert [item["target"] for item in written["deferred"]] == ["jetson-orin"]
    assert written["deferred"][0]["command"].startswith("ftsf build ")
    assert set(written["files"]) == {
        "manifest.json", "model.onnx", "golden.npz", "report.json", "report.md", "report.html",
        "engines/rtx-rtx-40-fp16.engine", "engines/rtx-rtx-40-fp16.json",
    }  # fmt: skip


INTEGERS = {"precision": "int8", "builder": "none"}


@pytest.mark.parametrize(
    ("fields", "opset", "operator"),
    [
        ({"attn": "regular"}, 20, False),
        ({"attn": "regular", "attn_type": "joint"}, 20, False),
        ({"attn": "regular", "opset": 22}, 22, False),
        ({"attn": "regular", "opset": 23}, 23, True),
        ({"attn": "regular", "attn_type": "joint", "precision": "bf16", "opset": 24}, 24, True),
        ({"attn": "fastformer", "opset": 23}, 23, False),
        # TensorRT has no FP32 kernel for the operator, and JetPack's parser does not know it.
        ({"attn": "regular", "precision": "fp32", "opset": 23}, 23, False),
        ({"attn": "regular", "opset": 23, "targets": ("rtx", "jetson-orin")}, 23, False),
    ],
)
def test_the_form_of_attention(tmp_path: Path, fields: dict[str, Any], opset: int, operator: bool) -> None:
    plan = resolved(tmp_path, **fields)
    assert (plan.opset, plan.attention_operator) == (opset, operator)


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"targets": ("rtx-60",)}, UsageError, "target: expected one of "),
        ({"targets": ("sm_86",), "precision": "fp8"}, UsageError, "8.6 has no fp8; possible: fp32, fp16, bf16"),
        ({"precision": "fp8", "builder": "none"}, UsageError, "precision: expected one of fp32, fp16, bf16, int8, got"),
        ({"precision": "int8"}, UsageError, "makes no engines in int8, only graphs that ONNX Runtime runs on a CPU"),
        ({"precision": "int8", "builder": "none", "targets": ("rtx-40",)}, UsageError, "makes no engines in int8"),
        ({**INTEGERS, "plugins": "all"}, UsageError, "plugins: their kernels have no int8"),
        (
            {**INTEGERS, "calibration_data": ("no.mp4",)},
            UsageError,
            "expected a video or a folder of videos, found none",
        ),
        ({**INTEGERS, "calibration_data": (Path(__file__).parent,)}, UsageError, "pipeline: expected videos (.3gp"),
        ({"calibration": "max"}, UsageError, "calibration: fp16 has no ranges to observe; leave it out"),
        ({"targets": ("jetson-orin",), "builder": "rtx"}, UsageError, "possible: --builder auto"),
        ({"builder": "tensorrt"}, EnvironmentLacks, "install it with: pip install"),
        ({"videos": ("missing.mp4",)}, UsageError, "video: expected a file, found none at missing.mp4"),
        ({"videos": (__file__,), "channels": 4}, UsageError, "a video gives 3 channels, the model takes 4"),
    ],
)
def test_what_is_refused(tmp_path: Path, fields: dict[str, Any], error: type[FtsfError], said: str) -> None:
    with pytest.raises(error) as caught:
        resolved(tmp_path, **fields)
    assert said in caught.value.message
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(OutputError, match="is not a bundle"):
        resolved(tmp_path)


@pytest.mark.parametrize(
    ("absent", "extra"),
    [*((name, "export") for name in ("onnxscript", "safetensors", "onnxruntime")), ("PIL", "video")],
)
def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str, extra: str) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == absent else find_spec(name))
    with pytest.raises(EnvironmentLacks) as caught:
        resolved(tmp_path, videos=(__file__,))
    assert caught.value.message.startswith(f"{absent}: not installed")
    assert caught.value.install == f"pip install 'ftsf-export[{extra}]'"


@pytest.mark.parametrize("builder", ["none", "rtx"])
def test_a_row_of_the_table_of_precisions_is_refused_until_it_has_a_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: str
) -> None:
    """And with one nothing else has to be told: the gates come from the row."""
    asked = {"precision": "fp8", "builder": builder, "targets": ("rtx-40",)}
    with pytest.raises(UsageError, match="fp32, fp16, bf16"):
        resolved(tmp_path, **asked)
    offered = replace(FP8, proof=Proof(rel_l2=0.1, least_top1=0.9, on_cpu=OnCpu.COMPUTES))
    monkeypatch.setitem(PRECISIONS, "fp8", offered)
    plan = resolved(tmp_path, **asked)
    assert plan.gates[:2] == ("parity.onnx-fp32", "parity.onnx-fp8")
    assert [name for name in plan.engine_files if "fp8" not in name] == []
