"""Bundles as a forger makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftsf_export.bundle import Bundle
from ftsf_export.bundle.files import entry_of
from ftsf_export.errors import BundleError
from tests.unit.manifests import read_manifest, rehash


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert "\n" not in caught.value.message
    return caught.value.message


def list_file(root: Path, name: str, content: bytes) -> None:
    """Lists a file in the manifest that is not at its place."""
    draft = root.parent / "draft"
    draft.write_bytes(content)
    manifest = read_manifest(root)
    manifest = replace(manifest, files={**manifest.files, name: entry_of(draft)})
    (root / "manifest.json").write_bytes(manifest.to_bytes())


def with_graph(bundle: Bundle, data: bytes) -> Path:
    """The bundle with another graph, its manifest re-hashed."""
    bundle.onnx_path.write_bytes(data)
    rehash(bundle.path)
    return bundle.path
