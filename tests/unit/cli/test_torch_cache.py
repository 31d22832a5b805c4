"""torch's folder of compiled code is ours for as long as a command runs, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftsf_export.cli.torch_cache import torch_cache_thrown_away

NAME = "TORCHINDUCTOR_CACHE_DIR"
FTSF = Path(sys.executable).with_name("ftsf")


def test_the_folder_is_there_for_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    @torch_cache_thrown_away()
    def work() -> None:
        assert list(tmp_path.iterdir()) == [Path(os.environ[NAME])]
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        work()
    assert NAME not in os.environ
    assert list(tmp_path.iterdir()) == []


def test_the_users_own_folder_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NAME, str(tmp_path))
    with torch_cache_thrown_away():
        assert os.environ[NAME] == str(tmp_path)
    assert os.environ[NAME] == str(tmp_path)
    assert tmp_path.exists()


def test_an_export_leaves_nothing_among_the_temporary_files(tiny: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    given = {name: value for name, value in os.environ.items() if name != NAME and not name.startswith("XDG_")}
    subprocess.run(
        [FTSF, "export", *tiny, "--precision", "fp32", "--builder", "none", "-o", tmp_path / "made", "-q"],
        env={**given, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert sorted(path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()) == ["made"] * 6
    assert list((tmp_path / "tmp").iterdir()) == list((tmp_path / "home").iterdir()) == []
