"""What the tracer or the converter refuses ends in one line, and what cannot be repeated is not."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import onnx_ir as ir
import pytest
import torch
from torch import nn

from fast_timesformer.model import FastTimeSformer
from ftsf_export.errors import ExportError
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.graph.forms.model import ExportForm
from ftsf_export.graph.rewrite import ALL
from ftsf_export.graph.unroll import unroll

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\nConstraints violated (batch)!\n  - more of it\n  - and more", "Constraints violated (batch)!"),
        ("", "RuntimeError"),
    ],
)
def test_a_refusal_is_one_line(model_of: Make, monkeypatch: pytest.MonkeyPatch, text: str, line: str) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(text)

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ExportError) as caught:
        export_onnx(model_of(), GraphOptions())
    assert caught.value.message == f"torch.onnx.export refused the model: {line}"
    assert caught.value.details == text
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_no_program_is_an_error(model_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: None)
    with pytest.raises(ExportError, match="returned no program"):
        export_onnx(model_of(), GraphOptions())


def test_the_exporters_remarks_are_silenced_for_as_long_as_it_runs(
    model_of: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("torch.onnx")
    level = logger.level

    def talk(*_: Any, **__: Any) -> NoReturn:
        logger.warning("torchvision is not installed")
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        raise RuntimeError("enough")

    monkeypatch.setattr(torch.onnx, "export", talk)
    with pytest.raises(ExportError, match="enough"):
        export_onnx(model_of(), GraphOptions())
    assert capfd.readouterr() == ("", "")
    assert logger.level == level
    with pytest.warns(DeprecationWarning, match="deprecated"):
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)


def test_blocks_that_are_not_alike_are_not_repeated(model_of: Make) -> None:
    model: FastTimeSformer = copy.deepcopy(model_of(depth=4))
    branch: Any = model.blocks[2].get_submodule("mlp")
    branch.fc1, branch.fc2 = nn.Linear(64, 256), nn.Linear(128, 64)
    form, graph = ExportForm(model, ALL), ir.Graph([], [], nodes=[])
    with pytest.raises(ExportError, match=r"blocks\.2: expected the parameters of blocks\.0.*differ"):
        unroll(graph, form)
