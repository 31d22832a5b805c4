"""``ftsf plan`` of files that we did not write: plain exports of transformers' models, and engines' layers."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.inspector_records import inspector_json

pytest.importorskip("tensorrt_rtx", reason="a plan needs TensorRT for RTX")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Say = Callable[..., Any]
DEPTH, PATCHES, WIDTH, HIDDEN = 2, 4, 64, 128


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """transformers' ViT with random weights in half precision, by each of PyTorch's exporters; the batch is dynamic."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=2, intermediate_size=HIDDEN, image_size=32,
        patch_size=16, attn_implementation="eager",
    )  # fmt: skip
    model, pixels = transformers.ViTForImageClassification(config).eval().half(), torch.rand(2, 3, 32, 32).half()
    folder = tmp_path_factory.mktemp("vit")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamic = {"pixel_values": {0: torch.export.Dim("batch")}}
        torch.onnx.export(model, (pixels,), folder / "new.onnx", dynamo=True, dynamic_shapes=dynamic, verbose=False)
        torch.onnx.export(
            model,
            (pixels,),
            folder / "old.onnx",
            dynamo=False,
            input_names=["pixels"],
            dynamic_axes={"pixels": {0: "b"}},
        )
    assert (folder / "new.onnx.data").exists()
    return {"new": folder / "new.onnx", "old": folder / "old.onnx"}


def test_a_plain_export_is_compiled_and_read(say: Say, vit: dict[str, Path]) -> None:
    before = {path.name: path.read_bytes() for path in vit["new"].parent.iterdir()}
    said = say("plan", vit["new"], "--by", "module", "--json")
    assert said.code == 0, said.err
    plan = said.json["plan"]
    assert said.json["file"].endswith("new.onnx")
    assert (plan["precision"], plan["batch"], plan["shapes"]) == ("fp16", None, {"pixel_values": [1, 3, 32, 32]})
    assert len(plan["expected_attentions"]) == DEPTH
    assert plan["unfused_attentions"] == []
    assert plan["least_ms"] > 0
    assert plan["reference_card"] == "GeForce RTX 3090"
    # Patches, class token; q, k, v, output and MLP of each layer; scores and mix; the classifier of two classes.
    n = PATCHES + 1
    layer = 2 * n * WIDTH * (4 * WIDTH + 2 * HIDDEN) + 4 * n * n * WIDTH
    assert plan["gemm_flops"] == DEPTH * layer + 2 * PATCHES * 3 * 16 * 16 * WIDTH + 2 * WIDTH * 2
    assert {"vit.layers.*.mlp.fc1", "vit.layers.*.attention", "classifier"} <= {g["name"] for g in plan["by_module"]}
    assert {"vit.layers.0", "vit.layers.1"} <= {group["name"] for group in plan["by_block"]}
    assert next(group for group in plan["by_kind"] if group["name"] == "norm")["kernels"] >= DEPTH
    assert "2 of 2 became one kernel" in said.err
    assert "--shapes=pixel_values:1x3x32x32" in said.err
    assert {path.name: path.read_bytes() for path in vit["new"].parent.iterdir()} == before


def test_both_exporters_are_compared_at_the_shape_that_is_asked(say: Say, vit: dict[str, Path]) -> None:
    """Their inputs have other names; a shape without a name is that of either's only input."""
    said = say("plan", vit["old"], "--shape", "3x3x32x32", "--diff", vit["new"], "--by", "block", "--json")
    assert said.code == 0, said.err
    assert said.json["plan"]["shapes"] == {"pixels": [3, 3, 32, 32]}
    assert said.json["other_plan"]["shapes"] == {"pixel_values": [3, 3, 32, 32]}
    rows = {row["name"]: row for row in said.json["difference"]}
    assert {"(all)", "vit.layers.0", "vit.layers.1", "classifier"} <= rows.keys()
    assert rows["(all)"]["flops"] == rows["(all)"]["other_flops"]
    assert said.json["plan"]["unfused_attentions"] == []


def test_an_export_of_ours_against_a_plain_one(say: Say, vit: dict[str, Path], bundle: Path) -> None:
    """Options for one of the two do not disturb the other."""
    said = say("plan", bundle, "--diff", vit["old"], "--shape", "2x3x32x32", "--batch", "1", "--json")
    assert said.code == 0, said.err
    assert said.json["other_plan"]["shapes"] == {"pixels": [2, 3, 32, 32]}
    whole = said.json["difference"][0]
    assert (whole["name"], whole["moved_bytes"]) == ("(all)", said.json["plan"]["moved_bytes"])
    assert whole["other_kernels"] == said.json["other_plan"]["kernels"] > 0


@pytest.mark.parametrize("release", [10, 11])
def test_an_engine_by_its_layers(say: Say, tmp_path: Path, release: int) -> None:
    layers = tmp_path / "layers.json"
    layers.write_text(inspector_json("attention_fp16", release), encoding="utf-8")
    said = say("plan", layers, "--json", "-v")
    assert said.code == 0, said.err
    plan = said.json["plan"]
    assert (plan["kernels"], plan["moved_bytes"], plan["fused_attentions"]) == (6, 311_560, 1)
    assert (plan["precision"], plan["least_ms"], plan["compiled_for"]) == ("fp16", None, [])
    assert "5 in fp16; layers do not tell how much work they are" in said.err
    assert "bound      none: give the GPU with --target" in said.err
    bounded = say("plan", layers, "--target", "a100", "--diff", layers, "--json")
    assert bounded.json["plan"]["least_ms"] == pytest.approx(311_560 / 2039e9 * 1e3)
    assert all(row["moved_bytes"] == row["other_moved_bytes"] for row in bounded.json["difference"])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("gone.onnx",), "gone.onnx: cannot be read: No such file"),
        (("gone.json",), "gone.json: expected an engine's layers, found nothing there"),
        (("new.onnx", "--batch", "2"), "no bundle; give the shapes of an ONNX file's inputs with --shape"),
        (("new.onnx", "--shape", "pixel_values:2x3x32x33"), "pixel_values: the file has ?x3x32x32, got 2x3x32x33"),
        (("new.onnx", "--shape", "video:2x3x32x32"), "'video': the inputs are pixel_values"),
        (("new.onnx", "--shape", "pixel_values:0x3"), "expected NAME:1x8x3x224x224"),
        (("new.onnx", "--target", "rtx-20"), "target: expected one of"),
        (("layers.json", "--shape", "1x2"), "shapes are for ONNX files"),
        (("names.json",), "names of its 1 layers alone"),
        (("dynamic.json",), "does not tell its sizes"),
    ],
)
def test_wrong_usage(say: Say, vit: dict[str, Path], args: tuple[str, ...], says: str) -> None:
    folder = vit["new"].parent
    (folder / "layers.json").write_text(inspector_json("attention_fp16", 11), encoding="utf-8")
    (folder / "dynamic.json").write_text(inspector_json("attention_fp16", 10, dynamic=True), encoding="utf-8")
    (folder / "names.json").write_text(json.dumps({"Layers": ["a"], "Bindings": []}), encoding="utf-8")
    said = say("plan", folder / args[0], *args[1:])
    assert said.code == 2, said.err
    assert says in said.err
    assert "Traceback" not in said.err


def test_shapes_are_no_option_of_a_bundle(say: Say, bundle: Path) -> None:
    said = say("plan", bundle, "--shape", "clip:1x2x3x32x32")
    assert said.code == 2
    assert "its clips in a call are given with --batch" in said.err


def test_a_file_that_the_compiler_refuses_exits_4(say: Say, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])] for name in ("x", "y")]
    node = helper.make_node("Unheard", ["x"], ["y"], name="odd", domain="own")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    save(helper.make_model(helper.make_graph([node], "g", *ends), opset_imports=opsets), tmp_path / "odd.onnx")
    said = say("plan", tmp_path / "odd.onnx")
    assert said.code == 4
    assert "refused odd.onnx" in said.err


def test_a_convolutional_network_is_read_as_well(say: Say, tmp_path: Path) -> None:
    """transformers' ResNet: no attention, and products that the compiler calls correlations."""
    config = transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic")
    model = transformers.ResNetForImageClassification(config).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.rand(1, 3, 32, 32),), tmp_path / "resnet.onnx", dynamo=False)
    said = say("plan", tmp_path / "resnet.onnx", "--json")
    assert said.code == 0, said.err
    plan = said.json["plan"]
    convolutions = [kernel for kernel in plan["kernel_list"] if any("Conv" in node for node in kernel["nodes"])]
    assert len(convolutions) == 6
    assert {kernel["kind"] for kernel in convolutions} == {"product"}
    assert (plan["precision"], plan["expected_attentions"]) == ("fp32", [])
    assert "" not in {group["name"] for group in plan["by_module"]}
