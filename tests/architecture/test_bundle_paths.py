"""Files of a bundle are used by what was hashed, never by the path under which they were checked."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "ftsf_export"
# A message may name a path.
SHOWN = {"bench.py": 1}


def path_uses(source: str) -> int:
    """How often ``bundle.onnx_path`` or ``bundle.engine_path`` stands in a module."""
    found = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    return sum(
        node.attr in ("onnx_path", "engine_path") and isinstance(node.value, ast.Name) and node.value.id == "bundle"
        for node in found
    )


def test_no_stage_opens_a_bundles_file_by_its_path() -> None:
    used = {path.name: count for path in ROOT.rglob("*.py") if (count := path_uses(path.read_text(encoding="utf-8")))}
    assert used == SHOWN


def test_the_search_finds_such_a_use() -> None:
    assert path_uses("judge(bundle.onnx_path, bundle.engine_path(engine))") == 2
