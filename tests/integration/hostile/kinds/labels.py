"""Text that strangers chose and a terminal or a report shows: labels, names of classes and of videos, reasons."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from random import Random

from tests.integration.hostile.case import Case
from tests.integration.hostile.clean import CHECKPOINTS, LABELS, lay
from tests.integration.hostile.kinds import manifests
from tests.integration.hostile.kinds.checkpoints import export_case
from tests.integration.hostile.wild import TEXTS

_NAMES = (
    b"\x1b[2J.mp4", b"a\nerror: forged.mp4", b"\xff\xfe.mp4", b"-o.mp4", b"img%03d.mp4", b"concat:a.mp4", b"|x|.mp4",
    "\u202egpj.mp4".encode(), b"<b>.mp4", b"[link](x).mp4", b"$(touch x).mp4", b"a" * 250 + b".mp4", b".mp4",
    b"pipe:0.mp4",
)  # fmt: skip


def forge(draw: Random, clean: Path, work: Path) -> Case:
    return draw.choice((_in_manifest, _in_description, _in_config, _names_of_videos, _names_of_classes))(
        draw, clean, work
    )


def _texts(draw: Random) -> list[str]:
    """As many labels as there were, or not; some of them hostile."""
    labels = [draw.choice(TEXTS) if draw.random() < 0.4 else label for label in LABELS]
    return draw.choice((labels, labels, labels, labels[:-1], labels * 2, [], ["x"] * 10, list(LABELS[::-1])))


def _in_manifest(draw: Random, clean: Path, work: Path) -> Case:
    root = manifests.copied_bundle(clean, work, "fp32")
    manifest = manifests.read(root)
    manifest["labels"] = _texts(draw)
    where = draw.choice(("labels", "reason", "tools"))
    text = draw.choice(TEXTS)
    if where == "reason":
        manifest["verdicts"][0]["reason"] = text
    elif where == "tools":
        manifest["tools"][text] = text
    manifests.write(root, manifest)
    return manifests.case_of(draw, f"manifest: labels and {where}", "fp32", {"info": 50, "verify": 40, "bench": 10})


def _in_description(draw: Random, clean: Path, work: Path) -> Case:
    lay(clean, "own", work)
    path = work / CHECKPOINTS["own"]
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    said = json.loads(header["__metadata__"]["fast_timesformer"])
    said["labels"] = _texts(draw)
    header["__metadata__"]["fast_timesformer"] = json.dumps(said)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return export_case(draw, "labels of the description", "own", path.name)


def _in_config(draw: Random, clean: Path, work: Path) -> Case:
    lay(clean, "hf", work)
    path = work / CHECKPOINTS["hf"] / "config.json"
    config = json.loads(path.read_bytes())
    config["id2label"] = {str(index): label for index, label in enumerate(_texts(draw))}
    path.write_text(json.dumps(config))
    return export_case(draw, "id2label", "hf", CHECKPOINTS["hf"])


def _names_of_videos(draw: Random, clean: Path, work: Path) -> Case:
    lay(clean, "video", work)
    name = os.fsdecode(draw.choice(_NAMES))
    (work / "clip.mp4").rename(work / name)
    if draw.random() < 0.5:
        (work / name).write_bytes(draw.randbytes(100))
    return export_case(draw, f"a video called {ascii(name)[:40]}", "video", CHECKPOINTS["own"], f"--video=./{name}")


def _names_of_classes(draw: Random, clean: Path, work: Path) -> Case:
    lay(clean, "video", work)
    folder = work / "held"
    names = [
        os.fsdecode(draw.choice((*_NAMES, b"walk", b"run", b"no such class"))) for _ in range(draw.choice((1, 1, 3)))
    ]
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "clip.mp4", folder / name / draw.choice(("a.mp4", "\x1b[2J.mp4", "a.txt")))
    said = ", ".join(ascii(name)[:30] for name in names)
    return export_case(draw, f"held-out classes {said}", "held", CHECKPOINTS["own"], "--held-out", folder.name)
