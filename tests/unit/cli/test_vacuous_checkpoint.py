"""A checkpoint whose class scores do not depend on the clip: exit 1, at the export and at every ``verify``; one that
gives no numbers: exit 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fast_timesformer import FastTimeSformer, save_model
from ftsf_export import Bundle
from ftsf_export.verdict import Status


def zeros(model: FastTimeSformer) -> None:
    for parameter in model.parameters():
        parameter.zero_()


def a_bias_alone(model: FastTimeSformer) -> None:
    """Every block works; the classifier keeps nothing of it."""
    name, weight = [(name, parameter) for name, parameter in model.named_parameters() if parameter.ndim == 2][-1]
    assert weight.shape == (10, 64), name
    weight.zero_()
    dict(model.named_parameters())[name.replace("weight", "bias")].copy_(torch.linspace(-1, 1, 10))


def huge(model: FastTimeSformer) -> None:
    """Every weight is a number; what comes of them is none."""
    for parameter in model.parameters():
        parameter.fill_(1e30)


def exported(spoil: Callable[[FastTimeSformer], None], say: Any, bundle: Path) -> Any:
    torch.manual_seed(0)
    model = FastTimeSformer(
        frames=2, channels=3, height=32, width=32, num_classes=10, dim=64, depth=1, attn_mechanism="regular"
    )
    with torch.no_grad():
        spoil(model)
    save_model(model, bundle.with_name("spoilt.safetensors"))
    checkpoint = ("--checkpoint", bundle.with_name("spoilt.safetensors"))
    return say("export", *checkpoint, "--precision", "fp32", "--builder", "none", "-o", bundle, "-q")


@pytest.mark.parametrize("spoil", [zeros, a_bias_alone])
def test_it_fails_the_gate(spoil: Any, say: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    said = exported(spoil, say, bundle)
    assert said.code == 1, said.err
    assert "error: parity.onnx-fp32 failed for model.onnx: logits: clips_apart 0, limit at least 1e-05" in said.err
    assert [verdict.status for verdict in Bundle.open(bundle).verdicts] == [Status.FAILED]
    verified = say("verify", bundle)
    assert verified.code == 1
    assert "the reference answers its 2 clips alike" in verified.err


def test_a_model_that_gives_no_numbers_is_refused(say: Any, tmp_path: Path) -> None:
    said = exported(huge, say, tmp_path / "bundle")
    assert said.code == 2, said.err
    (line,) = said.err.splitlines()
    assert "values are NaN or infinite, the first for the clip" in line
    assert not (tmp_path / "bundle").exists()
