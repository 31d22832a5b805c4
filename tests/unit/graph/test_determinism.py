"""The same model gives the same bytes, wherever the package lies, and the bytes do not say where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys, torch
from pathlib import Path
import ftsf_export, fast_timesformer
print(ftsf_export.__file__, fast_timesformer.__file__)
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.graph.export import GraphOptions, export_onnx
from ftsf_export.graph.precision import to_precision
from ftsf_export.checkpoint.load import load_model
torch.set_num_threads(1)
shape = {"frames": 2, "size": "32x48", "dim": 64, "dim_head": 16, "depth": 3, "num_classes": 7}
config = ExportConfig(attn="performer", attn_type="joint", seed=5, **shape)
graph = export_onnx(load_model(config), GraphOptions(batch=BatchRange(1, 2, 4)))
graph.save(Path(sys.argv[1]) / "fp32.onnx")
to_precision(graph, "fp16").save(Path(sys.argv[1]) / "fp16.onnx")
"""


def installed(place: Path) -> Path:
    """Both packages, copied to ``place``."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ftsf_export", place / "ftsf_export", ignore=ignored)
    shutil.copytree(ROOT / "model" / "fast_timesformer", place / "fast_timesformer", ignore=ignored)
    return place


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders with the graphs that two processes made, each with an installation and a hash seed of its own."""
    base = tmp_path_factory.mktemp("determinism")
    places = (base / "here", base / "somewhere" / "else entirely")
    running = []
    for seed, place in enumerate(places):
        environment = {**os.environ, "PYTHONPATH": str(installed(place)), "PYTHONHASHSEED": str(seed + 1)}
        running.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", SCRIPT, str(place)],
                cwd=place,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for place, process in zip(places, running, strict=True):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.count(str(place)) == 2, f"expected the copies in {place}, got {out}"
    return places


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
