"""What an editor and a type checker know of the interface."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fast_timesformer.config import ATTENTION_TYPES
from ftsf_export import config
from ftsf_export.config import BUILDERS, DATASETS, PLUGINS, ExportConfig
from ftsf_export.mechanisms import MECHANISMS
from ftsf_export.precision import offered

ROOT = Path(__file__).parents[2]
EVERY_NAME = """
from pathlib import Path

from fast_timesformer.model import FastTimeSformer
from ftsf_export import (
    BatchRange, Bundle, BundleError, ConfigError, ExportConfig, FtsfError, GateFailed, Measure, Size, Status, Verdict,
    __version__, benchmark, build, export, plan, predict, verify,
)

config = ExportConfig(size="240x320", batch="1:2:4", targets=["rtx-30"], videos=("a.mp4",), checkpoint="w.pth")
config = ExportConfig(size=(240, 320), batch=4, attn="performer", precision="bf16", held_out=Path("videos"))
size: Size = config.size
batch: BatchRange = config.batch
model = FastTimeSformer(8, 3, 224, 224, 400, dim=512)
try:
    bundle = export(config, model=model, output="out", overwrite=True)
    bundle.raise_for_failed()
except GateFailed as error:
    print(error.message)
except (ConfigError, BundleError) as error:
    print(error.exit_code)
except FtsfError as error:
    raise SystemExit(error.exit_code) from error
opened: Bundle = Bundle.open("out")
passed: bool = bundle.passed and all(bundle.verdicts)
verdicts: tuple[Verdict, ...] = bundle.verdicts
measures: list[Measure] = [measure for verdict in verdicts for measure in verdict.measures]
judged = verify("out", runner="onnxruntime", rtol=1e-2, record=False)
measured = benchmark("out").timings
built = build("out", targets=["rtx-40"])
read = plan("out", target="rtx-40")
answered = predict("out", [Path("videos"), "a.mp4"], sampling="uniform", clips=2, crops=3, top_k=1)
score: float = answered.answers[0].topk[0].score
print(score, answered.summary.errors)
print(judged.passed, measured[0].latency.p50_ms, len(built.built), read.record.kernels)
print(__version__, passed, size.height, batch.maximum, verdicts[0].status is Status.PASSED, measures[0].value)
"""
WRONG = """
from ftsf_export import ExportConfig

ExportConfig(attn="fastfourier")
ExportConfig(precision="int4")
ExportConfig(size=1.5)
ExportConfig(frame=8)
"""


def readme_sample() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "export(" in block)


def checked(tool: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As somebody would whose project lies elsewhere, and who installed ours into this environment."""
    (folder / "sample.py").write_text(text)
    arguments = {
        "mypy": ["-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(folder / "cache"), "sample.py"],
        "pyright": ["-m", "pyright", "--pythonpath", sys.executable, "sample.py"],
    }[tool]
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("tool", [pytest.param("mypy", marks=pytest.mark.long), "pyright"])
def test_the_sample_of_readme_every_name_and_slips(tool: str, tmp_path: Path) -> None:
    good = checked(tool, readme_sample() + EVERY_NAME, tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    bad = checked(tool, WRONG, tmp_path)
    lines = {int(found) for found in re.findall(r"sample\.py:(\d+)", bad.stdout)}
    assert (bad.returncode, lines) == (1, {4, 5, 6, 7}), bad.stdout


def written_for_checkers() -> ast.arguments:
    tree = ast.parse(inspect.getsource(config))
    made = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    return made.args


def choices(annotation: Any) -> tuple[str, ...]:
    return tuple(ast.literal_eval(annotation.slice))


def test_what_checkers_are_told_is_what_the_fields_and_the_tables_say() -> None:
    told = {one.arg: one.annotation for one in written_for_checkers().kwonlyargs}
    assert list(told) == [field.name for field in fields(ExportConfig)]
    assert list(told) == list(inspect.signature(ExportConfig).parameters)
    assert choices(told["attn"]) == tuple(MECHANISMS)
    assert choices(told["attn_type"]) == ATTENTION_TYPES
    assert choices(told["precision"]) == tuple(offered())
    assert choices(told["plugins"]) == PLUGINS
    assert choices(told["builder"]) == BUILDERS
    assert set(DATASETS) <= set(ast.unparse(told["trained_on"]).replace("'", " ").split())
