"""Arrows run one way, and a machine that only runs a bundle needs neither torch nor a compiler."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "tensorrt", "tensorrt_rtx", "transformers",
    "fast_timesformer.model", "av", "PIL", "safetensors",
)  # fmt: skip

PLANES = "\n".join(f'    "ftsf_export.{name}",' for name in ("errors", "cli"))


def lint(config: Path) -> int:
    code: int = lint_imports(config_filename=str(config), cache_dir=None)
    return code


def test_the_contracts_of_pyproject_hold(capfd: pytest.CaptureFixture[str]) -> None:
    assert lint(ROOT / "pyproject.toml") == 0, capfd.readouterr().out


def test_a_broken_contract_is_noticed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same layers upside down: the command line imports errors, so this must fail."""
    config = tmp_path / "pyproject.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["ftsf_export"]\n[[tool.importlinter.contracts]]\n'
        f'name = "upside down"\ntype = "layers"\nlayers = [\n{PLANES}\n]\n'
    )
    assert lint(config) == 1
    assert "upside down BROKEN" in capfd.readouterr().out


def test_every_module_is_under_a_contract(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A new stage that no layer names would be free to import anything."""
    config = tmp_path / "pyproject.toml"
    layers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '    "strict_json",\n' in layers
    config.write_text(layers.replace('    "strict_json",\n', ""), encoding="utf-8")
    assert lint(config) == 1
    assert "not listed as layers:\n\n- ftsf_export.strict_json\n" in capfd.readouterr().out


def test_every_prohibition_is_of_a_whole_package() -> None:
    """A list of rooms would forget the next one; a contract names who is free of it instead."""
    linted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    forbidden = [one for one in linted["contracts"] if one["type"] == "forbidden"]
    assert {name for one in forbidden for name in one["source_modules"]} == set(linted["root_packages"])


def heavy_modules_after(code: str) -> list[str]:
    """What a fresh process has imported of ``HEAVY`` after ``code``."""
    report = f"import sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr
    found: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert heavy_modules_after("import ftsf_export") == []


def test_neither_do_its_public_names() -> None:
    assert heavy_modules_after("from ftsf_export import Bundle, ExportConfig, export") == []


def test_neither_do_the_commands() -> None:
    code = (
        "import importlib\n"
        "from ftsf_export.cli.main import COMMANDS\n"
        "for name in COMMANDS: importlib.import_module(f'ftsf_export.cli.{name}')\n"
        "for name in ('export', 'verify', 'build_bundle', 'bench', 'predict'):\n"
        "    importlib.import_module(f'ftsf_export.pipeline.{name}')"
    )
    assert heavy_modules_after(code) == []


def test_the_check_itself_sees_a_heavy_import() -> None:
    assert heavy_modules_after("import PIL") == ["PIL"]


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    import ftsf_export

    with pytest.raises(AttributeError, match="no attribute 'Bundel'"):
        _ = ftsf_export.Bundel  # type: ignore[attr-defined]


def test_onnxruntime_is_loaded_by_one_door_alone() -> None:
    """It switches the library's telemetry off, which has to happen before the library is loaded."""
    loads = re.compile(r"^\s*(import|from) onnxruntime\b|import_module\(.onnxruntime", re.MULTILINE)
    sources = [path for room in ("ftsf_export", "model", "plugins", "scripts") for path in (ROOT / room).rglob("*.py")]
    found = [path.name for path in sources if loads.search(path.read_text(encoding="utf-8"))]
    assert found == ["telemetry.py"]
