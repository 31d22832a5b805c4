"""Files of mmaction2's TimeSformer zoo: the same network under its names, its configuration read and never run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ftsf_export.bundle import Preprocessing
from ftsf_export.checkpoint import describe_checkpoint, load_checkpoint
from ftsf_export.checkpoint.mm_config import settings_of
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError, UsageError
from ftsf_export.pipeline.export import export
from tests.unit.checkpoint.original import State, original_features, original_logits, original_shapes, original_state
from tests.unit.checkpoint.pretrained import noise, relative

# The original's name of a part -> mmaction2's, written down from models/backbones/timesformer.py, models/common/
# transformer.py, models/heads/timesformer_head.py and mmcv's FFN and MultiheadAttention.
_COMMON = (
    (r"^blocks\.", "transformer_layers.layers."),
    (r"^patch_embed\.proj", "patch_embed.projection"),
    (r"\.mlp\.fc1", ".ffns.0.layers.0.0"),
    (r"\.mlp\.fc2", ".ffns.0.layers.1"),
    (r"attn\.qkv\.", "attn.attn.in_proj_"),
    (r"attn\.proj", "attn.attn.out_proj"),
)
_DIVIDED = (
    (r"\.temporal_norm1", ".attentions.0.norm"), (r"\.temporal_fc", ".attentions.0.temporal_fc"),
    (r"\.temporal_attn\.", ".attentions.0."), (r"\.norm1", ".attentions.1.norm"),
    (r"(\d)\.attn\.attn\.", r"\1.attentions.1.attn."), (r"\.norm2", ".ffns.0.norm"),
)  # fmt: skip
_WHOLE = ((r"\.norm1", ".norms.0"), (r"\.norm2", ".norms.1"), (r"(\d)\.attn\.attn\.", r"\1.attentions.0.attn."))


def theirs(state: State) -> dict[str, Any]:
    """``state`` under mmaction2's names."""
    out = {}
    for name, value in state.items():
        divided = any("temporal" in each for each in state)
        for pattern, instead in (*_COMMON, *(_DIVIDED if divided else _WHOLE)):
            name = re.sub(pattern, instead, name)
        out[f"cls_head.fc_cls{name[4:]}" if name.startswith("head.") else f"backbone.{name}"] = value
    return out


CONFIG = """
auto_scale_lr = dict(base_batch_size=64, enable=False)
dataset_type = 'VideoDataset'
file_client_args = dict(io_backend='disk')
launcher = 'none'
model = dict(
    backbone=dict(
        attention_type='divided_space_time',
        embed_dims=64,
        num_frames=4,
        num_heads=2,
        norm_cfg=dict(eps=1e-06, type='LN'),
        type='TimeSformer'),
    cls_head=dict(average_clips='prob', num_classes=7, type='TimeSformerHead'),
    data_preprocessor=dict(
        format_shape='NCTHW',
        mean=[100.0, 110.0, 120.0],
        std=[50.0, 60.0, 70.0],
        type='ActionDataPreprocessor'))
test_pipeline = [
    dict(io_backend='disk', type='DecordInit'),
    dict(clip_len=4, frame_interval=24, num_clips=1, test_mode=True, type='SampleFrames'),
    dict(type='DecordDecode'),
    dict(scale=(-1, 28), type='Resize'),
    dict(crop_size=24, type='ThreeCrop'),
    dict(input_format='NCTHW', type='FormatShape'),
    dict(type='PackActionInputs'),
]
"""
OLD = """img_norm_cfg = dict(mean=[127.5, 127.5, 127.5], std=[51.0, 51.0, 51.0], to_bgr=True)
model = dict(type='Recognizer3D', backbone=dict(type='TimeSformer', num_frames=4, num_heads=2))
test_pipeline = [
    dict(type='SampleFrames', clip_len=4, frame_interval=8, num_clips=1, test_mode=True),
    dict(type='Resize', scale=(-1, 26)),
    dict(type='Normalize', mean=[127.5, 127.5, 127.5], std=[51.0, 51.0, 51.0], to_bgr=True),
]
"""


def write(path: Path, state: State, **meta: Any) -> Path:
    torch.save({"meta": {"epoch": 15, "mmengine_version": "0.10", **meta}, "state_dict": theirs(state)}, path)
    return path


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("attn_type", ["divided", "joint", "space"])
def test_the_same_outputs(tmp_path: Path, attn_type: str, qkv_bias: bool) -> None:
    state = original_state(dim=64, attn_type=attn_type, qkv_bias=qkv_bias)
    path = write(tmp_path / "a.pth", state, cfg=CONFIG)
    ours, checkpoint = load_checkpoint(path, ExportConfig(checkpoint=path))
    clip = noise(4, 24, 24, clips=2)
    with torch.no_grad():
        assert relative(ours.double()(clip), original_logits(state, clip, heads=2, eps=1e-6)) <= 1e-10
    assert (checkpoint.found.kind, checkpoint.model.attn_type, checkpoint.warnings) == ("mmaction2", attn_type, ())
    assert (checkpoint.weights.assumed, checkpoint.unused) == ((), ("meta (dict of 3)",))


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            {"cfg": CONFIG},
            {"stride": 24, "resize_short_side": 28, "mean": (100 / 255, 110 / 255, 120 / 255),
             "std": (50 / 255, 60 / 255, 70 / 255)},
        ),
        (
            {"config": OLD},
            {"stride": 8, "resize_short_side": 26, "mean": (0.5,) * 3, "std": (0.2,) * 3, "color_order": "BGR"},
        ),
        ({}, {"stride": 64, "resize_short_side": 24, "mean": (0.5,) * 3, "std": (0.5,) * 3}),
    ],
)  # fmt: skip
def test_clips_as_its_test_makes_them(tmp_path: Path, meta: dict[str, str], expected: dict[str, Any]) -> None:
    path = write(tmp_path / "a.pth", original_state(dim=64, depth=1), **meta)
    how = describe_checkpoint(path, ExportConfig(checkpoint=path)).preprocessing
    assert how == Preprocessing(frames=4, crop=(24, 24), resizer="opencv", **expected)


def test_without_a_configuration_heads_are_assumed_or_said(tmp_path: Path) -> None:
    """Of width 64 twelve heads, its own number, cannot be."""
    path = write(tmp_path / "a.pth", original_state(dim=64, depth=1))
    assert describe_checkpoint(path, ExportConfig()).weights.assumed == ("heads 1 of width 64",)
    said = describe_checkpoint(path, ExportConfig(checkpoint=path, heads=2))
    assert (said.model.num_heads, said.weights.assumed, said.model.norm_eps) == (2, (), 1e-6)
    wide = write(tmp_path / "b.pth", original_state(dim=96, depth=1))
    assert describe_checkpoint(wide, ExportConfig()).weights.assumed == ("heads 12 of width 8",)


def test_what_every_published_file_has() -> None:
    from ftsf_export.checkpoint.mmaction import open_file
    from ftsf_export.checkpoint.tensors import TensorFile

    shapes = theirs(original_shapes(dim=768, depth=12, grid=(14, 14), patch=16, frames=8, classes=400))  # type: ignore[arg-type]
    found = open_file(TensorFile(Path("a.pth"), shapes), ExportConfig())
    assert (found.model.num_heads, found.assumed, found.warnings, found.model.num_classes) == (12, (), (), 400)
    how = found.preprocessing
    assert (how.stride, how.resize_short_side, how.crop, how.mean, how.std) == (
        32, 224, (224, 224), (0.5,) * 3, (0.5,) * 3,
    )  # fmt: skip


def test_options_against_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", original_state(dim=64, depth=1), cfg=CONFIG)
    with pytest.raises(ConfigError, match=r"heads: 4 was asked for, the checkpoint a\.pth has 2"):
        describe_checkpoint(path, ExportConfig(checkpoint=path, heads=4))
    other = write(tmp_path / "b.pth", original_state(dim=64, depth=1), cfg=CONFIG.replace("eps=1e-06", "eps=1e-05"))
    with pytest.raises(UsageError, match="expected eps=1e-06 as its blocks have, got 1e-05"):
        describe_checkpoint(other, ExportConfig())
    black = write(tmp_path / "c.pth", original_state(dim=64, depth=1), cfg=CONFIG.replace("std=[50.0", "std=[0.0"))
    with pytest.raises(UsageError, match="its configuration's normalisation: std"):
        describe_checkpoint(black, ExportConfig())
    more = CONFIG.replace("dict(type='DecordDecode'),", "dict(type='DecordDecode'), dict(type='Flip'),")
    flips = write(tmp_path / "d.pth", original_state(dim=64, depth=1), cfg=more)
    assert describe_checkpoint(flips, ExportConfig()).warnings == ("its test has steps that are not followed: Flip",)


def test_buffers_beside_the_network_and_none_but_those(tmp_path: Path) -> None:
    tensors = theirs(original_state(dim=64, depth=1))
    buffers = {"data_preprocessor.mean": torch.zeros(3, 1, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1, 1)}
    torch.save({"state_dict": {**tensors, **buffers}}, tmp_path / "a.pth")
    assert set(describe_checkpoint(tmp_path / "a.pth", ExportConfig()).unused) == set(buffers)
    load_checkpoint(tmp_path / "a.pth", ExportConfig())
    torch.save({"state_dict": {**tensors, "neck.weight": torch.ones(3)}}, tmp_path / "b.pth")
    with pytest.raises(UsageError, match=r"unknown neck\.weight \(3\)"):
        describe_checkpoint(tmp_path / "b.pth", ExportConfig())


def test_its_export(tmp_path: Path) -> None:
    """A backbone alone, as it is saved for other tasks: the class token is what it gives."""
    state = original_state(dim=64, depth=1, classes=0)
    path = write(tmp_path / "a.pth", state, cfg=CONFIG)
    bundle = export(ExportConfig(checkpoint=path, precision="fp32", builder="none"), output=tmp_path / "out")
    golden = bundle.golden()
    assert golden.features is not None
    expected = original_features(state, torch.from_numpy(golden.clip).double(), heads=2, eps=1e-6)
    assert relative(torch.from_numpy(golden.features).double(), expected) <= 1e-6
    assert bundle.passed
    assert "(mmaction2), a.pth sha256 " in bundle.manifest.weights_described


NO_CONFIGURATIONS = ("", "model = ", "x" * 10**7, "(" * 10**5, "model = dict(" * 300, "import os\nos.abort()", "a = a")


@pytest.mark.parametrize("text", [*NO_CONFIGURATIONS, "a = [1" + ",1" * 10**6])
def test_a_configuration_that_is_none_says_nothing(text: str) -> None:
    assert not any(settings_of(text).values())


def test_a_configuration_is_not_run() -> None:
    read = settings_of(
        "a = 3\nb = [a, -2.5, open('x'), {'k': (1, 'two')}]\nmodel = dict(z=__import__('os').abort())\nc.d = 1"
    )
    assert read == {"a": 3, "b": [3, -2.5, None, {"k": [1, "two"]}], "model": {"z": None}}
