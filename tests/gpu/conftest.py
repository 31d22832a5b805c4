"""Bundles with an engine for the GPU of this machine. Every test of this folder needs one.

Written where there was no GPU: what these tests say about hardware holds once they have been run on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ftsf_export import ExportConfig, export
from ftsf_export.bundle import Bundle, EngineEntry
from ftsf_export.config import BatchRange
from ftsf_export.errors import EnvironmentLacks
from ftsf_export.runners.driver import first_gpu, gpu_problem

SMALL = ExportConfig(frames=4, size=64, dim=128, depth=2, num_classes=10, batch=BatchRange(1, 2, 4))

MakeBundle = Callable[..., tuple[Bundle, EngineEntry]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    problem = gpu_problem()
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if problem:
                item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {problem}"))


@pytest.fixture(scope="session")
def gpu_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """Exports a small model once for each configuration; the bundle, and its engine for this GPU.

    Skips where no compiler makes one here: the reason says which is missing.
    """
    made: dict[ExportConfig, Bundle] = {}

    def make(**changes: object) -> tuple[Bundle, EngineEntry]:
        config = replace(SMALL, **changes)  # type: ignore[arg-type]
        if config not in made:
            try:
                made[config] = export(config, output=tmp_path_factory.mktemp("gpu") / "out")
            except EnvironmentLacks as error:
                pytest.skip(f"no engine can be built here: {error.message}")
        bundle = made[config]
        here = first_gpu()
        assert here is not None
        fitting = [engine for engine in bundle.engines if here.capability in engine.compute_capabilities]
        if not fitting:
            pytest.skip(f"no engine for compute capability {here.capability} was built")
        return bundle, fitting[0]

    return make
