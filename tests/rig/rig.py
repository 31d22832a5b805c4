"""What the rig is made of: NVIDIA's bindings from PyPI, and libraries that gcc makes of ``stub/``.

The bindings lie in a folder of the environment that runs the tests, so that they are fetched once; the libraries are
made anew by each test run.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What is fetched, without what it depends on. The bindings of TensorRT 11.4 and TensorRT for RTX are of the test extra.
FETCHED = {
    "10.3": "tensorrt-cu12-bindings==10.3.0",
    "10.13": "tensorrt-cu13-bindings==10.13.3.9.post1",
    "numpy-1": "numpy==1.26.4",
}
VERSIONS = ("10.3", "10.13", "11.4")
# What pip says where there is no network, and where an index does not answer.
_UNREACHED = ("NewConnectionError", "ConnectTimeout", "Max retries", "ProxyError", "NameResolution", "ReadTimeout",
              "Connection refused", "Network is unreachable")  # fmt: skip


class NotReached(Exception):
    """PyPI does not answer."""


def fetched(name: str) -> Path:
    """The folder with one package of ``FETCHED``, fetched where it is not there. Raises NotReached."""
    store = Path(sys.prefix) / "rig"
    folder = store / FETCHED[name]
    store.mkdir(exist_ok=True)
    with locked(store / "lock"):
        if not folder.exists():
            partial = store / f".{FETCHED[name]}.partial"
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
            ended = subprocess.run([*command, "--target", str(partial), FETCHED[name]], capture_output=True, text=True)
            if ended.returncode:
                if any(word in ended.stderr for word in _UNREACHED):
                    raise NotReached(f"{FETCHED[name]} is not here and PyPI cannot be reached")
                raise AssertionError(f"pip install {FETCHED[name]}: {ended.stderr}")
            partial.rename(folder)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compile_library(sources: list[str], output: Path, *, name: str = "", needs: Path | None = None) -> None:
    """A shared library of C files of ``stub/``. ``name``: its SONAME; ``needs``: a library that it hands on."""
    command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(output)]
    command += [f"-Wl,-soname,{name or output.name}", "-Wl,-rpath,$ORIGIN"]
    command += [str(HERE / "stub" / source) for source in sources] or ["-x", "c", "/dev/null", "-x", "none"]
    if needs is not None:
        command += ["-Wl,--no-as-needed", str(needs)]
    subprocess.run(command, check=True, capture_output=True, text=True)


class Rig:
    """Runs scripts on the GPU that is not one. ``folder``: where the libraries and the bindings' names are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        gpu = folder / "driver" / "libcuda.so.1"
        (folder / "runtime").mkdir(parents=True)
        gpu.parent.mkdir()
        compile_library(["gpu.c", "gpu_kernel.c"], gpu)
        for major in (12, 13):
            compile_library([], folder / "runtime" / f"libcudart.so.{major}", needs=gpu)
        for major in (10, 11):
            libraries = folder / f"tensorrt-{major}"
            libraries.mkdir()
            compile_library(["nvinfer.c"], libraries / f"libnvinfer.so.{major}")
            for other in ("nvonnxparser", "nvinfer_plugin"):
                compile_library([], libraries / f"lib{other}.so.{major}")

    def bindings(self, version: str) -> Path:
        """A folder whose ``tensorrt`` is NVIDIA's package of that version, as JetPack's packages name it."""
        folder = self.folder / f"bindings-{version}"
        if not folder.exists():
            source = fetched(version) if version in FETCHED else Path(sys.prefix, "lib", _python(), "site-packages")
            folder.mkdir()
            (folder / "tensorrt").symlink_to(source / "tensorrt_bindings")
        return folder

    def environment(self, tensorrt: str = "", numpy: str = "", runtime: bool = True) -> dict[str, str]:
        """Variables of a process that finds the GPU's driver, and what was asked for besides."""
        known = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
        libraries = [self.folder / "driver", *([self.folder / "runtime"] if runtime else [])]
        packages = [HERE, ROOT, ROOT / "plugins", ROOT / "model"]
        if tensorrt:
            libraries.append(self.folder / f"tensorrt-{tensorrt.partition('.')[0]}")
            packages.insert(0, self.bindings(tensorrt))
        if numpy:
            packages.insert(0, fetched(numpy))
        return {
            **known,
            "LD_LIBRARY_PATH": os.pathsep.join(str(path) for path in libraries),
            "PYTHONPATH": os.pathsep.join(str(path) for path in packages),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, script: str, *arguments: str, tensorrt: str = "", numpy: str = "", **variables: str) -> Any:
        """The last line that a script of this folder prints, JSON."""
        ended = subprocess.run(
            [sys.executable, str(HERE / script), *arguments],
            capture_output=True, text=True, timeout=300, env=self.environment(tensorrt, numpy) | variables,
        )  # fmt: skip
        assert ended.returncode == 0, f"{script} ended with {ended.returncode}: {ended.stderr}{ended.stdout}"
        return json.loads(ended.stdout.splitlines()[-1])


def _python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"
