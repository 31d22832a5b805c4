"""Models that a caller made: exported as they are, or refused by name where the graph would be another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import TimesformerConfig, TimesformerForVideoClassification

from fast_timesformer.model import FastTimeSformer
from ftsf_export import Bundle, ConfigError, ExportConfig, UsageError, export

SHAPE = (2, 3, 32, 16, 7)
NONE = ExportConfig(builder="none", precision="fp32")


def small(**fields: Any) -> FastTimeSformer:
    return FastTimeSformer(*SHAPE, **{"dim": 64, "depth": 1, "attn_mechanism": "regular", **fields})


class Sub(FastTimeSformer):
    def forward(self, x_BFCHW: Tensor) -> Tensor:
        return 2 * super().forward(x_BFCHW)


class OtherPositions(FastTimeSformer):
    def learned_positions(self) -> Tensor | None:
        return None


class Named(FastTimeSformer):
    """A subclass that only says how it is made."""

    def __init__(self) -> None:
        super().__init__(*SHAPE, dim=64, depth=1, attn_mechanism="regular")
        self.note = "mine"


class Adapter(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(base.in_features, 2), nn.Linear(2, base.out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def with_hook(module: nn.Module) -> None:
    module.register_forward_hook(lambda _module, _args, output: 2 * output)


def with_pre_hook(module: nn.Module) -> None:
    module.register_forward_pre_hook(lambda _module, args: (2 * args[0],))


def altered(name: str) -> FastTimeSformer:
    model = small()
    attention = model.blocks[0].spatial.attn
    if name == "a wrapper":
        attention.to_qkv = Adapter(attention.to_qkv)
    elif name == "a parametrization":
        torch.nn.utils.parametrizations.weight_norm(attention.to_qkv)
    elif name == "a hook":
        with_hook(attention.to_out)
    elif name == "a hook on the model":
        with_pre_hook(model)
    elif name == "a method of the object":
        attention.forward = lambda x_BND: x_BND
    elif name == "other heads":
        model.blocks[0].spatial.attn = type(attention)(64, 16)
    elif name == "another activation":
        model.norm = nn.RMSNorm(64)
    else:
        model.head = nn.Identity()
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Sub(*SHAPE, dim=64, depth=1), "the model itself: Sub.forward, which is not FastTimeSformer's"),
        (OtherPositions(*SHAPE, dim=64, depth=1), "the model itself: OtherPositions.learned_positions"),
        (altered("a wrapper"), r"blocks\.0\.spatial\.attn\.to_qkv: Adapter in the place of Linear"),
        (altered("a parametrization"), r"blocks\.0\.spatial\.attn\.to_qkv: a parametrization of weight"),
        (altered("a hook"), r"blocks\.0\.spatial\.attn\.to_out: a hook \(with_hook"),
        (altered("a hook on the model"), r"the model itself: a hook \(with_pre_hook"),
        (altered("a method of the object"), r"blocks\.0\.spatial\.attn: RegularAttention\.forward"),
        (altered("other heads"), r"blocks\.0\.spatial\.attn: heads 4 in the place of 1"),
        (altered("another activation"), "norm: RMSNorm in the place of LayerNorm"),
        (altered("no head"), "head: Identity in the place of Linear"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_what_the_graph_would_leave_out_is_refused_by_name(model: FastTimeSformer, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        export(NONE, model=model, output=tmp_path / "out")
    assert len(caught.value.message) < 500
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
def test_a_subclass_that_computes_the_same_is_exported_and_so_is_what_torch_compile_returns(tmp_path: Path) -> None:
    model = Named().eval()
    bundle = export(NONE, model=torch.compile(model), output=tmp_path / "out")
    assert bundle.passed
    bundle.raise_for_failed()
    golden = bundle.golden()
    with torch.no_grad():
        expected = model(torch.from_numpy(golden.clip)).numpy()
    np.testing.assert_allclose(golden.logits, expected, rtol=0, atol=1e-5)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = small()


class Merges(nn.Module):
    def merge_and_unload(self) -> None: ...


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear(2, 2), "got Linear; other architectures are not known"),
        (Around(), r"got Around; it holds one: export\(\.\.\., model=model\.backbone\)"),
        (nn.DataParallel(small()), r"got DataParallel; it holds one: export\(\.\.\., model=model\.module\)"),
        (Merges(), r"merge the adapters first"),
    ],
)
def test_another_module_is_told_how_to_go_on(model: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        export(NONE, model=model, output=tmp_path / "out")


def test_fields_that_were_written_must_agree_with_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        export(NONE.replaced(frames=16, attn="performer"), model=small(), output=tmp_path / "out")
    assert sorted(caught.value.problems) == [
        "attn: performer was asked for, the model has regular",
        "frames: 16 was asked for, the model has 2",
    ]
    with pytest.raises(UsageError, match=r"got a model and the checkpoint w\.pth"):
        export(NONE.replaced(checkpoint="w.pth"), model=small(), output=tmp_path / "out")


def hugging_face() -> TimesformerForVideoClassification:
    fields: dict[str, Any] = {"image_size": 32, "num_frames": 2, "hidden_size": 64, "num_hidden_layers": 1}
    config = TimesformerConfig(**fields, num_attention_heads=1, intermediate_size=128, num_labels=5)
    torch.manual_seed(3)
    return TimesformerForVideoClassification(config).eval()


def test_a_model_of_transformers_is_exported_as_its_saved_directory_would_be(tmp_path: Path) -> None:
    model = hugging_face()
    bundle = export(NONE, model=model, output=tmp_path / "out")
    assert bundle.passed
    assert "parity.huggingface" in {verdict.gate for verdict in bundle.verdicts}
    golden = Bundle.open(tmp_path / "out").golden()
    with torch.no_grad():
        expected = model(torch.from_numpy(golden.clip)).logits.numpy()
    np.testing.assert_allclose(golden.logits, expected, rtol=0, atol=1e-5)
    assert bundle.manifest.asked.written()["checkpoint"] == "TimesformerForVideoClassification"


def test_one_that_was_altered_is_refused(tmp_path: Path) -> None:
    model = hugging_face()
    with_hook(model.classifier)
    with pytest.raises(UsageError, match=r"classifier: a hook \(with_hook"):
        export(NONE, model=model, output=tmp_path / "out")


def test_what_is_printed_is_one_short_line_each(tmp_path: Path) -> None:
    bundle = export(NONE, model=small(), output=tmp_path / "out")
    assert repr(bundle) == f"<Bundle {tmp_path / 'out'}: regular, fp32, gates: 1 passed>"
    assert repr(bundle.verdicts[0]) == "<parity.onnx-fp32 passed for model.onnx>"
    assert bool(bundle.verdicts[0])
    assert repr(NONE) == "ExportConfig(precision='fp32', builder='none')"
    assert repr(ExportConfig(size=(240, 320), batch="1:2:4")) == "ExportConfig(size='240x320', batch='1:2:4')"
