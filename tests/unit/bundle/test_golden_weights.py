"""The digests of a model's weights, kept beside its reference values."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from ftsf_export.bundle.golden import read_golden, write_golden
from ftsf_export.errors import BundleError

DIGEST = hashlib.sha256(b"weight").hexdigest()
VALUES = {
    "clip": np.zeros((1, 2, 3, 4, 4), np.float32),
    "logits": np.ones((1, 5), np.float32),
    "sources": np.asarray(["noise seed 0"]),
}


def test_weights_come_back(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, **VALUES, taps={}, weights={"head.weight": DIGEST, "blocks.0.mlp.fc1.weight": DIGEST[::-1]})
    assert read_golden(path).weights == {"head.weight": DIGEST, "blocks.0.mlp.fc1.weight": DIGEST[::-1]}


def test_weights_are_optional(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(path, **VALUES, taps={})
    assert read_golden(path).weights == {}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weight_names": np.asarray(["a"])}, "stands alone"),
        ({"weight_names": np.asarray(["a", "a"]), "weight_sha256": np.asarray([DIGEST, DIGEST])}, "different names"),
        ({"weight_names": np.asarray(["a", "b"]), "weight_sha256": np.asarray([DIGEST])}, "one digest for each"),
        ({"weight_names": np.asarray(["a"]), "weight_sha256": np.asarray(["not a digest"])}, "64 hexadecimal digits"),
    ],
)
def test_damaged_digests_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "golden.npz"
    np.savez(path, **VALUES, **arrays)
    with pytest.raises(BundleError, match=message):
        read_golden(path)
