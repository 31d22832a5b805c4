"""A thousand short videos in one run: flat memory, every one exactly once, errors by name at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.predict.conftest import lines_of
from tests.unit.video.test_one_pass import KINDS

COUNT, BAD = 1000, ("0100-text.mp4", "0500-empty.avi", "0900-missing.mkv")
_MB = 1e6


def resident_mb(process: psutil.Process) -> float:
    """Of the program and all that it started; shared pages count once for each."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue
    return total / _MB


@pytest.mark.long
def test_memory_is_flat_and_each_video_is_answered_once(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    sources = [kind.write(tmp_path) for kind in KINDS if kind.codec in ("libx264", "mpeg4", "libvpx-vp9")]
    for number in range(COUNT - len(BAD)):
        source = sources[number % len(sources)]
        os.link(source, folder / f"{number:04}-{source.name}")
    (folder / BAD[0]).write_text("no video\n" * 100)
    (folder / BAD[1]).write_bytes(b"")
    (tmp_path / "list.txt").write_text("\n".join(str(folder / name) for name in (*os.listdir(folder), BAD[2])))
    command = [sys.executable, "-m", "ftsf_export.cli", "predict", bundle, f"@{tmp_path}/list.txt", "--json", "-q"]
    began = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        lines, memory = [], []
        for line in child.stdout:
            lines.append(line)
            if len(lines) % 100 == 0:
                memory.append(resident_mb(psutil.Process(child.pid)))
        said = child.stderr.read()
    *answers, summary = lines_of("".join(lines))
    print(
        f"{len(answers)} videos in {time.monotonic() - began:.1f} s; MB after each 100: {[round(mb) for mb in memory]}"
    )
    check(answers, summary)
    assert child.returncode == 1
    assert [name for name in BAD if name not in said] == []
    assert len(memory) == 9
    assert max(memory[1:]) < 1.05 * memory[0] + 5


def check(answers: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    names = [answer["video"] for answer in answers]
    assert len(names) == len(set(names)) == COUNT - len(BAD)
    assert {Path(error["video"]).name for error in summary["errors"]} == set(BAD)
    assert (summary["videos"], summary["classified"]) == (COUNT, COUNT - len(BAD))
    kinds: dict[str, list[dict[str, Any]]] = {}
    for answer in answers:
        kinds.setdefault(Path(answer["video"]).name.partition("-")[2], []).append(answer)
    for same in kinds.values():
        assert len({str(answer["topk"][0]["index"]) + str(answer["frames"]) for answer in same}) == 1
