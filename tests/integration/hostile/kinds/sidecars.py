"""What stands beside the graph: an engine and its sidecar, the report, a timing cache, kernels of plugins."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from tests.integration.hostile.case import Case
from tests.integration.hostile.damage import damaged, put_special
from tests.integration.hostile.kinds import manifests
from tests.integration.hostile.wild import altered_json, json_text

_BASE = "fp16"
_WEIGHTS = {"info": 40, "verify": 35, "bench": 18, "build": 7}
# Options of ``build`` that name a file of their own.
BESIDE = ("--timing-cache", "--plugin-kernels")
_BUILD = ("build", "bundle", "--builder", "rtx", "--target", "rtx-40")


def forge(draw: Random, clean: Path, work: Path) -> Case:
    root = manifests.copied_bundle(clean, work, _BASE)
    names = sorted(manifests.read(root)["files"])
    sidecar = next(name for name in names if name.startswith("engines/") and name.endswith(".json"))
    engine = next(name for name in names if name.endswith(".engine"))
    turn = draw.random()
    if turn < 0.06:
        return _beside_the_build(draw, work)
    if turn < 0.65:
        name = draw.choice((sidecar, "report.json", "report.json"))
        what = _json(draw, root / name)
    else:
        name = draw.choice((engine, engine, sidecar, "report.json", "report.md", "report.html"))
        data, what = damaged(draw, (root / name).read_bytes())
        (root / name).write_bytes(data)
    manifests.list_anew(root, name)
    return manifests.case_of(draw, f"{name}: {what}, re-hashed", _BASE, _WEIGHTS)


def _json(draw: Random, path: Path) -> str:
    value = json.loads(path.read_bytes())
    if draw.random() < 0.2:
        data, what = json_text(draw, value)
        path.write_bytes(data)
        return what
    value, what = altered_json(draw, value)
    path.write_text(json.dumps(value))
    return what


def _beside_the_build(draw: Random, work: Path) -> Case:
    """Files that the command line of ``build`` names."""
    option = draw.choice(BESIDE)
    path = work / "beside"
    if option == "--plugin-kernels":
        path.mkdir()
        (path / "manifest.json").write_bytes(draw.choice((b"{}", b"[]", b"\xff", draw.randbytes(100))))
        what = "noise"
    elif draw.random() < 0.4:
        path.write_bytes(draw.randbytes(draw.choice((0, 10, 5000))))
        what = "noise"
    else:
        path.write_bytes(b"cache")
        what = put_special(draw, path, work / "outside")
    # Through a link that the user typed; the lock is the library's.
    written = tuple(
        f"{name}{end}" for name in (path.name, "outside/moved", "outside/secret", "nowhere") for end in ("", ".lock")
    )
    return Case(f"{option}: {what}", _BASE, (*_BUILD, option, path.name), also_written=written)
