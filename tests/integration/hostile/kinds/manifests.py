"""A bundle's manifest as a forger handles it: raw JSON, and hashes that agree with what was altered."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from tests.integration.hostile.case import Case

BUNDLE = "bundle"
# An accepted input is judged by its JSON: one that was not asked for costs a second run.
FLAGS = ((), ("-v",), ("--json",), ("--json",), ("--json",))
_COMMANDS = {
    "info": ("info", BUNDLE),
    "verify": ("verify", BUNDLE, "--runner", "onnxruntime"),
    "bench": ("bench", BUNDLE, "--runner", "onnxruntime", "--seconds", "0.01", "--iterations", "1", "--warmup", "1"),
    "plan": ("plan", BUNDLE, "--target", "rtx-30"),
    "build": ("build", BUNDLE, "--builder", "rtx", "--target", "rtx-40"),
}


def copied_bundle(clean: Path, work: Path, base: str) -> Path:
    return Path(shutil.copytree(clean / base, work / BUNDLE))


def read(root: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((root / "manifest.json").read_bytes())
    return manifest


def write(root: Path, manifest: Any) -> None:
    (root / "manifest.json").write_text(json.dumps(manifest, indent=2))


def list_anew(root: Path, *names: str) -> None:
    """The manifest agrees with these files as they are, as one who hides an alteration would leave it."""
    manifest = read(root)
    for name in names:
        data = (root / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for engine in manifest["engines"]:
            if engine["file"] == name:
                engine["sha256"] = manifest["files"][name]["sha256"]
    write(root, manifest)


def case_of(draw: Random, what: str, base: str, weights: dict[str, int], *, refused: bool = False) -> Case:
    """A command drawn by ``weights``, sometimes with ``--json``."""
    command = draw.choices(list(weights), list(weights.values()))[0]
    args = (*_COMMANDS[command], *draw.choice(FLAGS))
    return Case(what, base, args, refused=refused)
