"""Engines of TensorRT with the plugins: against the reference values, and timed beside the same without.

Written where there was no GPU: what these tests say about hardware holds once they have been run on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsf_export.bench.request import BenchRequest
from ftsf_export.bundle import Bundle, EngineEntry
from ftsf_export.pipeline.bench import measure_bundle
from ftsf_export.pipeline.verify import verify
from ftsf_export.verdict import Status

MakeBundle = Callable[..., tuple[Bundle, EngineEntry]]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("attn", ["fastformer", "performer", "regular"])
def test_an_engine_with_plugins_passes_its_parity_gate(gpu_bundle: MakeBundle, attn: str, precision: str) -> None:
    """Of one clip and of four: the range of the small bundle."""
    bundle, engine = gpu_bundle(attn=attn, precision=precision, plugins="all", builder="tensorrt")
    result = verify(bundle.path, runner="tensorrt")
    assert result.passed, result.reason
    judged = [verdict for verdict in result.verdicts if verdict.subject.file == engine.file]
    assert [verdict.status for verdict in judged] == [Status.PASSED]


@pytest.mark.parametrize("attn", ["fastformer", "performer", "regular"])
def test_the_same_engine_with_and_without_plugins_in_milliseconds(gpu_bundle: MakeBundle, attn: str) -> None:
    """Printed (pytest -s), not judged: the small model says little, ``ftsf bench`` on a full-size bundle more."""
    medians = {}
    for plugins in ("none", "all"):
        bundle, _ = gpu_bundle(attn=attn, plugins=plugins, builder="tensorrt")
        timings = measure_bundle(bundle.path, BenchRequest(runner="tensorrt", batch=1))
        medians[plugins] = [timing.latency.p50_ms for timing in timings]
    print(attn, medians)
    assert all(value > 0 for values in medians.values() for value in values)


@pytest.mark.parametrize("along", ["time", "space"])
@pytest.mark.parametrize("operation", ["FtsfAdditiveAttention", "FtsfFavorAttention", "FtsfRotaryAttention"])
def test_enqueue_of_the_plugin_for_tensorrt_10_3(operation: str, along: str) -> None:
    """Kernel, driver calls and arguments as in an engine, without TensorRT."""
    driver = Path(__file__).with_name("enqueue_driver.py")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ended = subprocess.run(
        [sys.executable, str(driver), operation, along], capture_output=True, text=True, env=environment, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    measured = json.loads(ended.stdout.splitlines()[-1])
    print(operation, along, measured)
    assert measured["worst"] <= 2e-3
    assert measured["latency_ms"] > 0
