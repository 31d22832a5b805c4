"""Fixtures over ``pretrained``: small models as other people's programs write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers.utils import logging

from tests.unit.checkpoint.pretrained import their_model, write_huggingface


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


@pytest.fixture
def huggingface(tmp_path: Path) -> Callable[..., Path]:
    """``huggingface(attention_type=..., ...)``: a directory with a model of that configuration."""

    def make(*, weights: str = "safetensors", name: str = "tiny", **fields: Any) -> Path:
        return write_huggingface(tmp_path / name, their_model(**fields), weights=weights)

    return make
