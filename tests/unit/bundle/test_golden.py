"""golden.npz: exact values back, the same bytes each time, nothing pickled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.bundle.golden import Contrast, read_golden, sample_positions, sample_tap, write_golden
from ftsf_export.errors import BundleError

CONTRAST = Contrast(spread=np.arange(5, dtype=np.float32), clips=8, best_classes=3, untrained="drawn")


def parts(clips: int = 2) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    return {
        "clip": draw.standard_normal((clips, 2, 3, 4, 4)).astype(np.float32),
        "logits": draw.standard_normal((clips, 5)).astype(np.float32),
        "sources": [f"noise seed {seed}" for seed in range(clips)],
        "taps": {"norm": draw.standard_normal((clips, 7)).astype(np.float32)},
    }


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.integers(1, 9000), st.integers(1, 10**9)))
def test_positions_cover_the_whole_tap_evenly(size: int) -> None:
    positions = sample_positions(size)
    assert positions.dtype == np.int64
    assert len(positions) == min(size, 4096)
    assert positions[0] == 0
    assert positions[-1] == size - 1
    steps = np.diff(positions)
    assert (steps >= 1).all()
    assert np.ptp(steps) <= 1 if len(steps) else True


def test_no_tap_is_empty() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        sample_positions(0)


def test_sample_tap_takes_each_clip_by_itself() -> None:
    values = np.arange(2 * 5000, dtype=np.float64).reshape(2, 50, 100)
    sampled = sample_tap(values)
    assert sampled.dtype == np.float32
    np.testing.assert_array_equal(sampled[1], sample_positions(5000) + 5000)


def test_round_trip_and_deterministic_bytes(tmp_path: Path) -> None:
    written = write_golden(tmp_path / "a.npz", **parts(), labels=["archery", "Zürich 走る"])
    write_golden(tmp_path / "b.npz", **parts(), labels=["archery", "Zürich 走る"])
    assert written.features is None
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_golden(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.clip, written.clip)
    np.testing.assert_array_equal(back.logits, written.logits)
    np.testing.assert_array_equal(back.taps["norm"], written.taps["norm"])
    assert back.sources == ("noise seed 0", "noise seed 1")
    assert back.labels == ("archery", "Zürich 走る")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert set(stored.files) == {"clip", "logits", "sources", "labels", "tap/norm"}


def test_the_contrast_comes_back_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, **parts(), contrast=CONTRAST)
    back = read_golden(path).contrast
    assert back is not None
    np.testing.assert_array_equal(back.spread, CONTRAST.spread)
    assert (back.clips, back.best_classes, back.untrained) == (8, 3, "drawn")
    with np.load(path) as stored:
        arrays = dict(stored)
    for name, value in (("spread", None), ("clips", np.float32(8)), ("untrained", np.asarray(["drawn"]))):
        changed = {**arrays, f"contrast/{name}": value} if value is not None else dict(arrays)
        if value is None:
            del changed[f"contrast/{name}"]
        np.savez(path, **changed)
        with pytest.raises(BundleError, match=f"contrast/{name}: expected"):
            read_golden(path)


def test_two_clips_of_the_documented_size_are_below_25_mb(tmp_path: Path) -> None:
    """8 frames of 224 px, 12 blocks of three branches, 400 classes."""
    taps = {f"tap {index}": np.zeros((2, 4096), np.float32) for index in range(3 * 12 + 2)}
    known = replace(CONTRAST, spread=np.zeros(400, np.float32))
    clip, logits = np.zeros((2, 8, 3, 224, 224), np.float32), np.zeros((2, 400), np.float32)
    write_golden(tmp_path / "golden.npz", clip=clip, logits=logits, sources=["a", "b"], taps=taps, contrast=known)
    assert (tmp_path / "golden.npz").stat().st_size < 12e6


def test_features_beside_the_logits_and_alone(tmp_path: Path) -> None:
    features = np.ones((2, 8), np.float32)
    for logits, names in ((parts()["logits"], ["logits", "features"]), (None, ["features"])):
        write_golden(tmp_path / "a.npz", **{**parts(), "logits": logits}, features=features)
        back = read_golden(tmp_path / "a.npz")
        assert list(back.outputs) == names
        np.testing.assert_array_equal(back.features, features)
    with pytest.raises(ValueError, match="expected logits or features, got neither"):
        write_golden(tmp_path / "a.npz", **{**parts(), "logits": None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrast": replace(CONTRAST, spread=np.zeros(4, np.float32))}, r"contrast/spread: .*\(5,\)"),
        ({"contrast": replace(CONTRAST, spread=np.full(5, np.nan, np.float32))}, "contrast/spread: expected finite"),
        ({"contrast": replace(CONTRAST, spread=np.full(5, -1, np.float32))}, "contrast/spread: expected finite"),
        ({"contrast": replace(CONTRAST, clips=1)}, "contrast/clips: expected at least 2"),
        ({"contrast": replace(CONTRAST, best_classes=6)}, "contrast/best_classes: expected 1 to 5, got 6"),
        ({"contrast": replace(CONTRAST, best_classes=0)}, "contrast/best_classes: expected 1 to 5, got 0"),
        ({"features": np.zeros((3, 8), np.float32)}, "features: expected float32, 2 dimensions, 2 clips"),
        ({"clip": np.zeros((0, 2, 3, 4, 4), np.float32)}, "at least one clip"),
        ({"clip": np.float32(1.0)}, "at least one clip"),
        ({"clip": np.zeros((2, 2, 3, 4, 4))}, "clip: expected float32"),
        ({"logits": np.zeros((1, 5), np.float32)}, "logits: expected float32, 2 dimensions, 2 clips"),
        ({"logits": np.zeros((2, 0), np.float32)}, "logits: expected float32"),
        ({"logits": np.full((2, 5), np.nan, np.float32)}, r"logits: not finite at \[0, 0\]"),
        ({"taps": {"norm": np.full((2, 5), np.inf, np.float32)}}, "tap/norm: not finite"),
        ({"taps": {"norm": np.zeros((3, 5), np.float32)}}, "tap/norm: expected float32"),
        ({"sources": ["one"]}, "expected 2 sources"),
        ({"labels": ["one"]}, "as many labels"),
    ],
)
def test_values_that_prove_nothing_are_not_written(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_golden(tmp_path / "golden.npz", **{**parts(), **change})
    assert not (tmp_path / "golden.npz").exists()


def test_damaged_and_foreign_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, **parts())
    whole = path.read_bytes()
    for data in (b"", b"not an archive", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(BundleError, match=r"golden\.npz"):
            read_golden(path)
    with open(path, "wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(BundleError, match="not a readable NumPy archive"):
        read_golden(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"clip": np.zeros(3, np.float32)}, "'sources' is missing"),
        ({"sources": np.asarray([b"bytes", b"bytes"])}, "sources: expected one text a clip"),
        ({"sources": np.asarray([{"a": 1}, None], dtype=object)}, "not a readable NumPy archive"),
        ({"extra": np.zeros(3, np.float32)}, "array 'extra' is unknown"),
    ],
)
def test_arrays_of_other_names_and_types_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    good = {"clip": parts()["clip"], "logits": parts()["logits"], "sources": np.asarray(parts()["sources"])}
    stored = arrays if "clip" in arrays else {**good, **arrays}
    with open(tmp_path / "golden.npz", "wb") as stream:
        np.savez(stream, **stored)
    with pytest.raises(BundleError, match=message):
        read_golden(tmp_path / "golden.npz")


def test_what_unpacks_to_more_than_the_file_has_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """64 MiB of zeros in a file of 64 KiB, and otherwise reference values."""
    path = tmp_path / "golden.npz"
    clip, logits = np.zeros((1, 1, 1, 4096, 4096), np.float32), np.zeros((1, 2), np.float32)
    np.savez_compressed(path, clip=clip, logits=logits, sources=np.asarray(["noise"]))
    assert path.stat().st_size < 1 << 17
    with pytest.raises(BundleError, match=r"it unpacks to 6710\d+ bytes and has \d+; reference values are not packed"):
        read_golden(path)
