"""Every place that opens a file stands in this table, with whose the file is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("ftsf_export", "model/fast_timesformer", "plugins/ftsf_plugins")
CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "safe_open", "memmap"}
# Methods of the same name that open no file, by what they are called on.
NO_FILES = {"Bundle", "archive"}
LOADS = {"torch": {"load"}, "np": {"load"}, "onnx": {"load"}, "ir": {"load"}}
# By descriptor below a directory that is open, or regular and of a limited size: opened by somebody else.
OPENERS = {"bundle/folder.py": 4, "user_file.py": 1, "fast_timesformer/weights.py": 2, "ftsf_plugins/kernels.py": 2}
# Through what an opener has opened.
OPENED = {
    "checkpoint/tensors.py": 2,
    "video/container.py": 1,
    "fast_timesformer/weights.py": 1,
    "fast_timesformer/finetune/state.py": 1,
}
# Files of ours alone: in a folder that this process made, and nobody else's may enter.
OURS = {
    "bundle/copies.py": 1,  # the private copy
    "bundle/onnx_file.py": 2,  # the private copy
    "bundle/files.py": 3,  # what an export has just written
    "bundle/update.py": 1,  # an engine on its way into the bundle
    "engine/builder.py": 1,  # the compiler's log
    "engine/compiler_log.py": 1,
    "engine/worker.py": 2,  # the engine, and the private copy of the graph
    "fast_timesformer/whole_file.py": 1,  # written under a new name
    "gpu_day/__main__.py": 1,  # the page and its data, written under another name
    "graph/emulate.py": 1,  # the private copy
    "graph/nodes_for_plugins.py": 1,  # the private copy
    "parity/weights.py": 1,
    "pipeline/export.py": 2,  # into the unfinished bundle
    "pipeline/held_out.py": 2,
    "pipeline/preprocessing_gates.py": 1,  # the reference video, out of the golden values
    "runners/onnxruntime.py": 1,  # the private copy
    "runners/tensorrt.py": 2,
    "pipeline/answers.py": 1,  # answers, under the name that the user gave
    "video/encode.py": 1,
    "ftsf_plugins/compile.py": 2,
    "ftsf_plugins/prebuild.py": 2,
}
# Of the system, and of this package.
SYSTEM = {
    "bench/jetson_state.py": 1,
    "bench/memory.py": 1,
    "cli/main.py": 1,
    "cli/supervised.py": 1,
    "directory_lock.py": 2,
    "doctor/machine.py": 2,
    "jetson.py": 1,
    "memory.py": 1,
    "pipeline/room.py": 4,
    "process/child.py": 1,
    "process/quota.py": 1,
    "report/render.py": 1,
}


def opens(source: str) -> int:
    """How often a module opens a file by a name."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                found += called.id in CALLS
            elif isinstance(called, ast.Attribute):
                owner = called.value.id if isinstance(called.value, ast.Name) else ""
                found += called.attr in LOADS.get(owner, ()) or (called.attr in CALLS and owner not in NO_FILES)
    return found


def test_every_opening_of_a_file_is_known() -> None:
    known: dict[str, int] = {}
    for table in (OPENERS, OPENED, OURS, SYSTEM):
        for name, count in table.items():
            known[name] = known.get(name, 0) + count
    found = {}
    for root in SOURCES:
        for path in (ROOT / root).rglob("*.py"):
            if count := opens(path.read_text(encoding="utf-8")):
                name = path.relative_to(ROOT).as_posix()
                found[name.removeprefix("ftsf_export/").removeprefix("model/").removeprefix("plugins/")] = count
    assert found == known


def test_the_search_finds_an_opening() -> None:
    assert opens("open(path); path.read_text(); os.open(path, 0); torch.load(path); Bundle.open(path)") == 4
