"""Bundles: the manifest, what lies in the directory, and damage with and without hashes that agree."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from random import Random

from tests.integration.hostile.case import LINKED, Case
from tests.integration.hostile.clean import BUNDLES
from tests.integration.hostile.damage import damaged, put_special
from tests.integration.hostile.kinds import manifests
from tests.integration.hostile.wild import altered_json, json_text, shown

_WEIGHTS = {"info": 50, "verify": 32, "bench": 10, "plan": 6, "build": 2}
_NAMES = (
    "../outside/secret", "/etc/hostname", "engines/../../outside/x", "a//b", "./model.onnx", "engines", "manifest.json",
    ".pending/x", "a" * 300, "engines/\x1b[2J.engine", "C:\\x", "caf\u00e9", "report.md", "engines/x.engine", "",
)  # fmt: skip


def forge(draw: Random, clean: Path, work: Path) -> Case:
    base = draw.choice(BUNDLES)
    root = manifests.copied_bundle(clean, work, base)
    ways = (
        (_wild_manifest, 40), (_odd_manifest, 6), (_damaged_file, 12), (_damaged_and_listed, 12), (_special, 12),
        (_swapped, 4), (_extra, 4), (_renamed, 4), (_listed_name, 6), (_pending, 8), (_directory, 2),
    )  # fmt: skip
    way = draw.choices([one for one, _ in ways], [weight for _, weight in ways])[0]
    what, refused = way(draw, root, work / "outside")
    return manifests.case_of(draw, what, base, _WEIGHTS, refused=refused)


def _wild_manifest(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    manifest, what = altered_json(draw, manifests.read(root))
    manifests.write(root, manifest)
    return f"manifest: {what}", False


def _odd_manifest(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    data, what = json_text(draw, manifests.read(root))
    (root / "manifest.json").write_bytes(data)
    return f"manifest: {what}", False


def _damaged_file(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    """A listed file, and the manifest knows nothing of it: refused, whatever the damage."""
    name = draw.choice(sorted(manifests.read(root)["files"]))
    data, what = damaged(draw, (root / name).read_bytes())
    (root / name).write_bytes(data)
    return f"{name}: {what}", True


def _damaged_and_listed(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    name = draw.choice(sorted(manifests.read(root)["files"]))
    data, what = damaged(draw, (root / name).read_bytes())
    (root / name).write_bytes(data)
    manifests.list_anew(root, name)
    return f"{name}: {what}, re-hashed", False


def _special(draw: Random, root: Path, outside: Path) -> tuple[str, bool]:
    names = [*sorted(manifests.read(root)["files"]), "manifest.json"]
    name = draw.choice([*names, *(["engines"] if (root / "engines").exists() else [])])
    what = put_special(draw, root / name, outside)
    return f"{name}: {what}", True


def _swapped(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    """Two files under each other's name, half of the time with the hashes exchanged too."""
    one, other = draw.sample(sorted(manifests.read(root)["files"]), 2)
    held = (root / one).read_bytes()
    (root / one).write_bytes((root / other).read_bytes())
    (root / other).write_bytes(held)
    if draw.random() < 0.5:
        manifests.list_anew(root, one, other)
        return f"{one} and {other} exchanged, re-hashed", False
    return f"{one} and {other} exchanged", True


def _extra(draw: Random, root: Path, outside: Path) -> tuple[str, bool]:
    name = draw.choice(
        ("notes.txt", "model.onnx.data", "engines/other.engine", ".pending.old", "sub/deep/file", "\x1b[2J")
    )
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    what = "a file of noise"
    if draw.random() < 0.4:
        what = put_special(draw, path, outside)
    else:
        path.write_bytes(draw.randbytes(100))
    return f"{name!r} beside the files, unlisted: {what}", False


def _renamed(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    name = draw.choice(sorted(manifests.read(root)["files"]))
    there = draw.choice((name.upper(), name + " ", name + "\u200b", f"sub/{name}"))
    (root / there).parent.mkdir(parents=True, exist_ok=True)
    (root / name).rename(root / there)
    return f"{name} renamed to {shown(there)}", True


def _listed_name(draw: Random, root: Path, outside: Path) -> tuple[str, bool]:
    """The manifest lists one file more, by a name that leads somewhere."""
    name, manifest = draw.choice(_NAMES), manifests.read(root)
    data = (outside / "secret").read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    manifests.write(root, manifest)
    return f"manifest: lists {name!r}", True


def _pending(draw: Random, root: Path, outside: Path) -> tuple[str, bool]:
    """What looks like an update that was interrupted."""
    name = draw.choice(("engines/authorized_keys", "model.onnx", "engines/a.engine", "report.md", "manifest.json"))
    waiting = root / ".pending" / name
    waiting.parent.mkdir(parents=True)
    listed = draw.random() < 0.7 and name != "manifest.json"
    content = (root / name).read_bytes() if (root / name).exists() else b"waiting"
    waiting.write_bytes(content)
    what = f".pending holds {name}"
    if listed:
        manifest = manifests.read(root)
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        manifests.write(root, manifest)
        what += ", which is listed"
    if draw.random() < 0.6:
        place = draw.choice((root / ".pending", waiting.parent, waiting, root / "engines"))
        if place.exists() or place == root / "engines":
            linked = outside / "linked"
            if place.exists():
                shutil.move(place, linked)
            else:
                linked.mkdir()
            place.symlink_to(os.path.relpath(linked, place.parent))
            what += f", {place.relative_to(root)} is a link out of the bundle"
    return what, False


def _directory(draw: Random, root: Path, _outside: Path) -> tuple[str, bool]:
    """The directory is a link, or a file, or another name of it is typed."""
    there = root.with_name(LINKED)
    root.rename(there)
    if draw.random() < 0.5:
        root.symlink_to(there.name)
        return "the bundle's directory is a link to it", False
    root.write_bytes((there / "manifest.json").read_bytes())
    return "a manifest in the place of the bundle's directory", True
