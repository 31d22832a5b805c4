"""The clean inputs, made once, and one worker in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.integration.hostile import worker
from tests.integration.hostile.clean import make_clean


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("hostile") / "clean"
    make_clean(folder)
    return folder


@pytest.fixture(scope="session")
def pool(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    context, root = multiprocessing.get_context("spawn"), tmp_path_factory.mktemp("arena")
    with ProcessPoolExecutor(1, context, initializer=worker.start, initargs=(str(clean), str(root), False)) as made:
        yield made
