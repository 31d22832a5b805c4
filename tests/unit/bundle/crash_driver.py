"""Run by test_bundle_crash.py in a process of its own: kills a writer before each of its steps on the file system.

A child process for each step: an audit hook counts the events that touch the disk and sends SIGKILL at the n-th, with
n from 1 until the writer comes to its end. Prints, as JSON, what a reader finds after each death.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import fill, manifest_of, verdict_about

from ftsf_export.bundle import Bundle, BundleWriter, EngineEntry, place, record, sha256_of
from ftsf_export.errors import BundleError
from tests.unit.manifests import note_of

DISK_EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree", "ctypes.call_function"}
ENGINE = "engines/rtx-rtx-fp16.engine"


def write(output: Path, model: str, *, overwrite: bool = False) -> None:
    with BundleWriter(output, overwrite=overwrite) as writer:
        fill(writer.path, model)
        writer.commit(manifest_of().with_verdicts([verdict_about(writer.path)], "export"))


def record_engine(output: Path, content: bytes) -> None:
    built = output.parent / "built.engine"
    built.write_bytes(content)
    entry = EngineEntry(
        file=ENGINE,
        sidecar=ENGINE.replace(".engine", ".json"),
        builder="rtx",
        target="rtx",
        precision="fp16",
        compute_capabilities=("8.6",),
        sha256=sha256_of(built),
    )
    record(Bundle.open(output), engine=entry, files={entry.file: built, entry.sidecar: b'{"of": "' + content + b'"}\n'})


def state(output: Path) -> str:
    """What a reader finds: nothing, or the content that the whole bundle belongs to."""
    if not output.exists():
        return "absent"
    bundle = Bundle.open(output)
    bundle.golden()
    if not bundle.engines:
        return note_of(bundle.onnx_path)
    engine = bundle.engine_path(bundle.engines[0]).read_bytes().decode()
    assert json.loads((output / bundle.engines[0].sidecar).read_text()) == {"of": engine}
    return engine


def leftovers_accepted(folder: Path) -> list[str]:
    accepted = []
    for path in (one.parent for one in folder.rglob("model.onnx") if ".partial-" in str(one)):
        try:
            Bundle.open(path)
        except BundleError:
            continue
        accepted.append(path.name)
    return accepted


def empty_folders(folder: Path) -> list[str]:
    """Folders that are not hidden, with no file below them."""
    folders = [path for path in folder.rglob("*") if path.is_dir() and ".partial-" not in str(path)]
    return [path.name for path in folders if not any(below.is_file() for below in path.rglob("*"))]


def dies_at(step: int, action: Callable[[], None]) -> bool:
    """True when the child was killed before it came to its end."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, _: object) -> None:
            nonlocal seen
            if event in DISK_EVENTS:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        action()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert status == 0, f"the writer failed by itself: {status}"
    return False


def main(scenario: str, folder: Path) -> None:
    output = folder / ("new/parents/out" if scenario == "write-below" else "out")
    # Both programs are plain functions of the output, so that a second run after a death is the same command again.
    again: dict[str, Callable[[], None]] = {
        "write": lambda: write(output, "new"),
        "write-below": lambda: write(output, "new"),
        "overwrite": lambda: write(output, "new", overwrite=True),
        "overwrite-without-exchange": lambda: write(output, "new", overwrite=True),
        "record": lambda: record_engine(output, b"new"),
        "replace": lambda: record_engine(output, b"new"),
    }
    if scenario == "overwrite-without-exchange":
        place._exchanged = lambda *_: False
    results, step, died = [], 0, True
    while died:
        step += 1
        shutil.rmtree(folder)
        folder.mkdir()
        if not scenario.startswith("write"):
            write(output, "old")
        if scenario == "replace":
            record_engine(output, b"old")
        died = dies_at(step, again[scenario])
        accepted, found, empty = leftovers_accepted(folder), state(output), empty_folders(folder)
        # The same command again must work on whatever the dead one left. A finished "write" finds its place taken.
        if not (scenario.startswith("write") and found == "new"):
            again[scenario]()
        hidden = [path.name for path in [*folder.iterdir(), *output.iterdir()] if path.name.startswith(".")]
        told = {"step": step, "found": found, "accepted": accepted, "empty": empty}
        results.append({**told, "after": state(output), "hidden": hidden})
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
