"""A request and the architecture that it asks for say the same, field by field."""

from __future__ import annotations

import dataclasses

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.architecture import FIELDS
from ftsf_export.config import ExportConfig

OTHER = ExportConfig(
    attn="performer", attn_type="joint", frames=4, size="32x48", channels=1, patch_size=8, dim=96, depth=3, heads=2,
    dim_head=32, num_classes=7, rotary=False, norm_eps=1e-4,
)  # fmt: skip


def test_there_and_back() -> None:
    assert ExportConfig().with_architecture(OTHER.architecture) == OTHER
    assert not OTHER.disagreements(OTHER.architecture)


def test_no_field_of_the_table_is_forgotten_on_either_side() -> None:
    """All of them differ from the defaults, and each is named with both values."""
    found = OTHER.disagreements(ExportConfig().architecture)
    assert set(found) == {*FIELDS, "size"} == set(OTHER.given)
    assert found["heads"] == (2, 8)
    assert set(FIELDS) <= {field.name for field in dataclasses.fields(ExportConfig)}
    assert set(FIELDS.values()) <= {field.name for field in dataclasses.fields(TimeSformerConfig)}


def test_only_what_was_written_disagrees() -> None:
    assert ExportConfig(frames=4, heads=None).disagreements(OTHER.architecture) == {}
    assert ExportConfig(depth=12).disagreements(OTHER.architecture) == {"depth": (12, 3)}
