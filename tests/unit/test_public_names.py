"""``import ftsf_export``: cheap, complete, and of one version."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ftsf_export

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "tensorrt", "tensorrt_rtx", "onnxruntime", "onnx", "onnxscript", "polygraphy", "jinja2")


def loaded_by(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nprint(json.dumps(sorted(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return modules


def test_the_bundle_layer_needs_numpy_for_reference_values_alone() -> None:
    modules = loaded_by("import json, sys; import ftsf_export, ftsf_export.bundle; ftsf_export.Bundle")
    assert not {*HEAVY, "numpy", "rich"} & set(modules)
    modules = loaded_by("import json, sys; import ftsf_export.bundle.golden")
    assert not set(HEAVY) & set(modules)
    assert "numpy" in modules


def test_the_help_of_the_commands_loads_neither_numpy_nor_rich() -> None:
    script = "import json, sys; from ftsf_export.cli.main import ftsf, run; run(ftsf, ['--help'], 'ftsf')"
    modules = loaded_by(script)
    assert not {*HEAVY, "numpy", "rich"} & set(modules)


def test_importing_the_package_loads_no_part_of_it() -> None:
    modules = loaded_by("import json, sys; import ftsf_export")
    assert [name for name in modules if name.startswith("ftsf_export")] == ["ftsf_export"]
    assert "numpy" not in modules


def test_every_public_name_is_there() -> None:
    for name in ftsf_export.__all__:
        assert getattr(ftsf_export, name) is not None
    assert set(ftsf_export.__all__) <= set(dir(ftsf_export))
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        _ = ftsf_export.exprot


def test_one_version() -> None:
    (packaged,) = re.findall(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert ftsf_export.__version__ == packaged
