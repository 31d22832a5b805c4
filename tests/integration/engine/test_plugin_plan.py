"""The plan of the documented example with the plugins of its softmax attention, for an Orin."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsf_export import ExportConfig, export
from ftsf_export.pipeline.plan_bundle import plan

pytest.importorskip("tensorrt_rtx", reason="a plan needs TensorRT for RTX")


@pytest.mark.long
def test_rotary_attention_spares_kernels_and_bytes(tmp_path: Path) -> None:
    """197 kernels and 1,232 MB without (docs/measurements.md)."""
    bundle = export(ExportConfig(attn="regular", plugins="all", builder="none"), output=tmp_path / "bundle")
    record = plan(bundle.path, target="jetson-orin").record
    assert record.kernels <= 155
    assert record.moved_bytes <= 1095e6
