"""``constraints.txt`` against the plain index, without local wheels: it resolves for each machine that README names,
and leaves no version open. uv answers in seconds what pip takes longer for; pip is asked in long tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.requirements import ROOT, applying, asked

PLAIN = "https://pypi.org/simple"
X86, ARM = "x86_64", "aarch64"
# What a Jetson Orin installs beside the core: no PyTorch.
ORIN = ("onnx", "video", "nvml", "plugins")
# The last release that PyTorch's CUDA build asks for, and the newest.
FREE = {"triton": ("3.7.1", "3.9.0"), "nvidia-cuda-runtime": ("13.0.96", "13.5.37")}


def constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def settings() -> dict[str, str]:
    """The environment without what would lead an installer elsewhere than to the plain index."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "PYTHON"))} | {
        "PIP_CONFIG_FILE": os.devnull,
        "UV_HTTP_RETRIES": "1",
    }


def resolved(
    lines: list[str], pins: list[str], folder: Path, *, python: str, machine: str, index: str = PLAIN, config: str = ""
) -> dict[str, str]:
    """The version of every package that an installation would bring, all pinned. Skips where the index is away."""
    for name, text in (("in.txt", "\n".join(lines)), ("pins.txt", "\n".join(pins)), ("uv.toml", config)):
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python", sys.executable, "--python-version", python, "--default-index", index]
    command += [
        "--python-platform",
        f"{machine}-manylinux_2_28",
        "--config-file",
        "uv.toml",
        "-c",
        "pins.txt",
        "in.txt",
    ]
    ended = subprocess.run(command, cwd=folder, env=settings(), capture_output=True, text=True, timeout=300)
    if "error sending request" in ended.stderr:
        pytest.skip(f"{index} cannot be reached")
    assert ended.returncode == 0, ended.stderr
    found = dict(line.split("==") for line in ended.stdout.splitlines())
    assert found
    assert floating(found, pins, python=python, machine=machine) == {}
    return found


def floating(found: dict[str, str], pins: list[str], *, python: str, machine: str) -> dict[str, str]:
    """What was found of which no line of the constraints leaves but one version."""
    holds = applying(
        pins, python_version=python, python_full_version=f"{python}.0", platform_machine=machine, sys_platform="linux"
    )
    return {
        name: version
        for name, version in found.items()
        if name not in holds or not (str(holds[name].specifier) == f"=={version}" or version in FREE.get(name, ()))
    }


@pytest.mark.parametrize(
    ("python", "machine", "extras"),
    [
        *((python, X86, ("test",)) for python in ("3.10", "3.11", "3.12", "3.13")),
        ("3.10", ARM, ORIN),
        ("3.12", ARM, ("test",)),
    ],
    ids=["cuda-3.10", "cuda-3.11", "cuda-3.12", "cuda-3.13", "orin", "arm-server"],
)
def test_it_resolves_and_leaves_nothing_open(
    python: str, machine: str, extras: tuple[str, ...], tmp_path: Path
) -> None:
    """On x86-64 and on an Arm server the index has PyTorch's CUDA build, whether there is a GPU or not."""
    found = resolved(asked(*extras), constraints(), tmp_path, python=python, machine=machine)
    assert ("torch" in found) == ("test" in extras)
    assert found["triton"] == FREE["triton"][0]


def test_it_resolves_with_pytorchs_cpu_build(tmp_path: Path) -> None:
    """That build is on an index of PyTorch's own; what it asks for, its wheel says that is installed here."""
    wheel = distribution("torch")
    if not wheel.version.endswith("+cpu"):
        pytest.skip(f"torch {wheel.version} is installed here, which is not PyTorch's CPU build")
    needs = [line for line in wheel.requires or () if Requirement(line).marker is None or "extra" not in line]
    said = f'[[dependency-metadata]]\nname = "torch"\nversion = "{wheel.version[:-4]}"\nrequires-dist = {needs!r}\n'
    found = resolved(asked("test"), constraints(), tmp_path, python="3.11", machine=X86, config=said)
    assert {name: found[name] for name in FREE} == {name: last for name, (_, last) in FREE.items()}
    assert [name for name in found if name.startswith("nvidia-cu") and name not in FREE] == []


@pytest.mark.parametrize(
    ("old", "new", "said", "python"),
    [
        ("triton>=3.7.1,<=3.9.0,!=3.8.*", "triton==3.9.0", "torch==2.13.0", "3.11"),
        ("numpy==2.2.6;", "# ", "numpy", "3.10"),
    ],
)
def test_a_set_that_does_not_resolve_is_found(old: str, new: str, said: str, python: str, tmp_path: Path) -> None:
    """Pinning Triton as PyTorch's CPU build leaves it; NumPy for newer Pythons alone, which leaves it open."""
    pins = [new + line[len(old) :] if line.startswith(old) else line for line in constraints()]
    assert pins != constraints()
    with pytest.raises(AssertionError, match=said):
        resolved(asked("test"), pins, tmp_path, python=python, machine=X86)


def test_without_the_index_it_is_skipped(tmp_path: Path) -> None:
    """On a port of this machine where nobody listens."""
    with pytest.raises(pytest.skip.Exception, match="cannot be reached"):
        resolved(["click"], [], tmp_path, python="3.11", machine=X86, index="http://127.0.0.1:9/simple")


@pytest.mark.long
def test_pip_resolves_it_here(tmp_path: Path) -> None:
    """As scripts/demo asks, in this Python, on this machine."""
    (tmp_path / "in.txt").write_text("\n".join(asked("demo")), encoding="utf-8")
    pip_says(tmp_path, "--constraint", str(ROOT / "constraints.txt"))


@pytest.mark.long
def test_pip_resolves_it_for_an_orin(tmp_path: Path) -> None:
    """pip judges markers by this Python when it is asked for another: so they are judged before."""
    orin = {"python_version": "3.10", "python_full_version": "3.10.12", "platform_machine": ARM}
    for name, lines in (("in.txt", asked(*ORIN)), ("pins.txt", constraints())):
        kept = [f"{one.name}{one.specifier}" for one in applying(lines, **orin).values()]
        (tmp_path / name).write_text("\n".join(kept), encoding="utf-8")
    target = ["--only-binary", ":all:", "--python-version", "3.10", "--target", "unused"]
    for tag in ("2_35", "2_28", "2_17"):
        target += ["--platform", f"manylinux_{tag}_{ARM}"]
    pip_says(tmp_path, "--constraint", "pins.txt", "--platform", f"manylinux2014_{ARM}", *target)


def pip_says(folder: Path, *options: str) -> None:
    """What ``pip install --dry-run`` of ``in.txt`` says."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--index-url", PLAIN]
    ended = subprocess.run(
        [*command, "--retries", "1", *options, "-r", "in.txt"],
        cwd=folder, env=settings(), capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    if "HTTPSConnectionPool" in ended.stderr:
        pytest.skip(f"{PLAIN} cannot be reached")
    assert ended.returncode == 0, ended.stderr
    assert "Would install" in ended.stdout
