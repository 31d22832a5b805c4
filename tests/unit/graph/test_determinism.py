"""The same model gives the same bytes, wherever the package lies, and the bytes do not say where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx
import pytest

import fast_timesformer
import ftsf_export
from ftsf_export.graph.onnx_model import OnnxModel
from ftsf_export.graph.precision import to_precision

ROOT = Path(__file__).parents[3]


# Of three blocks, one of which is repeated, and with a dynamic batch; other tests of this folder take it as well.
GRAPH: dict[str, Any] = {"attn_mechanism": "fastformer", "depth": 3, "batch": "1:2:4"}
SCRIPT = f"""
import sys, torch
from pathlib import Path
import ftsf_export, fast_timesformer
from tests.unit.graph import conftest, test_determinism
print(ftsf_export.__file__, fast_timesformer.__file__)
torch.set_num_threads(1)
test_determinism.write_graphs(conftest.graph_from({GRAPH!r}), Path(sys.argv[1]))
"""


def write_graphs(graph: OnnxModel, folder: Path) -> None:
    """``fp32.onnx`` and ``fp16.onnx`` of one model."""
    graph.save(folder / "fp32.onnx")
    to_precision(graph, "fp16").save(folder / "fp16.onnx")


def installed(place: Path) -> Path:
    """Both packages, copied to ``place``."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ftsf_export", place / "ftsf_export", ignore=ignored)
    shutil.copytree(ROOT / "model" / "fast_timesformer", place / "fast_timesformer", ignore=ignored)
    return place


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, graph_of: Callable[..., OnnxModel]) -> tuple[Path, Path]:
    """Folders with the graphs that two processes made, each with an installation and a hash seed of its own.

    One process is this one, with all that the tests before have left in it.
    """
    base = tmp_path_factory.mktemp("determinism")
    here, place = base / "here", base / "somewhere" / "else entirely"
    here.mkdir()
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(installed(place))],
        cwd=place,
        env={**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    write_graphs(graph_of(**GRAPH), here)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert out.count(str(place)) == 2, f"expected the copies in {place}, got {out}"
    assert str(place) not in f"{ftsf_export.__file__} {fast_timesformer.__file__}"
    return here, place


@pytest.mark.parametrize("name", ["fp32.onnx", "fp16.onnx"])
def test_two_processes_and_two_installations_give_one_file(exports: tuple[Path, Path], name: str) -> None:
    digests = [sha256((place / name).read_bytes()).hexdigest() for place in exports]
    assert digests[0] == digests[1]


def traces_in(path: Path, places: tuple[Path, ...]) -> list[str]:
    """What in the file, its weights' numbers aside, looks like a path of this machine."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    text = model.SerializeToString()
    own = (*places, ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir()), Path.cwd())
    marks = {*map(str, own), ".py", "site-packages", "File \"", "line "}  # fmt: skip
    return sorted(mark for mark in marks if mark.encode() in text)


@pytest.mark.parametrize("name", ["fp32.onnx", "fp16.onnx"])
def test_no_path_of_the_machine_is_in_the_file(exports: tuple[Path, Path], name: str) -> None:
    assert traces_in(exports[0] / name, exports) == []


def test_a_path_would_be_found(exports: tuple[Path, Path], tmp_path: Path) -> None:
    model = onnx.load(exports[0] / "fp16.onnx")
    model.graph.node[3].metadata_props.add(key="stack_trace", value=f'File "{ROOT}/x.py", line 3')
    onnx.save(model, tmp_path / "model.onnx")
    assert {str(ROOT), ".py", 'File "', "line "} <= set(traces_in(tmp_path / "model.onnx", exports))
