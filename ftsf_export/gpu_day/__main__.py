"""``scripts/gpu-day``: the first hour on a machine with a GPU, as one Markdown page and one JSON file.

Exit codes: 0 all was run and is right; 1 something is not as it must be; 4 a step broke; 3 there is no GPU, or
something is not installed. The page says which, and the rest is run all the same. Nothing is installed or fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ftsf_export.gpu_day.day import Day, run_day
from ftsf_export.gpu_day.page import page
from ftsf_export.gpu_day.sections import sections_of_a_day
from ftsf_export.runners.driver import gpu_problem


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/gpu-day", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/gpu-day"), help="where all goes")
    parser.add_argument("--section", action="append", help="run this section alone, after the machine; repeatable")
    parser.add_argument("--plugin-kernels", type=Path, help="a folder of scripts/build-plugins, instead of Triton")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, once: whether all of it runs")
    asked = parser.parse_args(arguments)
    kernels = None if asked.plugin_kernels is None else asked.plugin_kernels.resolve()
    output = asked.output.resolve()
    sections = sections_of_a_day(output, rehearsal=asked.rehearse, plugin_kernels=kernels)
    if unknown := set(asked.section or ()) - set(sections):
        parser.error(f"--section: expected {', '.join(sections)}, got {', '.join(sorted(unknown))}")
    chosen = {name: one for name, one in sections.items() if name in ("machine", *(asked.section or sections))}
    output.mkdir(parents=True, exist_ok=True)
    day = Day(rehearsal=asked.rehearse, gpu_problem=gpu_problem())
    run_day(day, chosen, write=lambda so_far: _write(so_far, output), say=lambda line: print(line, file=sys.stderr))
    print(f"{output / 'gpu-day.md'} and gpu-day.json", file=sys.stderr)
    if day.gpu_problem:
        print(f"no GPU: {day.gpu_problem}; the page says what one would have added", file=sys.stderr)
    return day.exit_code


def _write(day: Day, output: Path) -> None:
    """Both files, each whole or not at all."""
    for name, text in (("gpu-day.json", json.dumps(day.as_dict(), indent=1) + "\n"), ("gpu-day.md", page(day) + "\n")):
        partial = output / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, output / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
