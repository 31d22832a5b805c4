"""Which errors are for want of memory, and what is said of them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ftsf_export.errors import BuildError, EnvironmentLacks, OutOfMemory
from ftsf_export.memory import address_bytes_left, out_of_memory
from ftsf_export.process.parent import run_in_child

FTSF = Path(sys.executable).with_name("ftsf")
TINY = ("--attn", "regular", "--dim", "64", "--depth", "1", "--frames", "2", "--size", "32", "--num-classes", "10")


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


UNMAPPED = ImportError("libtorch_cpu.so: failed to map segment from shared object")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        TypeError("empty(): argument 'size' failed to unpack with error \"Overflow when unpacking long long\""),
        ValueError("Maximum allowed dimension exceeded"),
        OverflowError("cannot fit 'int' into an index-sized integer"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        OutOfMemory("by a child"),
        UNMAPPED,
        caused(EnvironmentLacks("ONNX Runtime is not installed"), UNMAPPED),
        caused(ValueError("x"), MemoryError()),
    ],
)
def test_libraries_say_it_in_many_words(error: Exception) -> None:
    found = out_of_memory(error)
    assert found is not None
    assert found.exit_code == 4


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ImportError("libx.so: cannot open shared object file"),
        SystemError("error return without exception set"),
        caused(BuildError("the compiler refused"), MemoryError()),
        caused(EnvironmentLacks("PyAV is not installed"), ModuleNotFoundError("No module named 'av'")),
    ],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert out_of_memory(error) is None


# Errors that do not say of what they come, next to a limit and far from it.
LIMITED = """
import resource, sys
from ftsf_export.memory import address_bytes_left, out_of_memory
assert address_bytes_left() is None
far = out_of_memory(ImportError("libx.so: cannot open shared object file"))
resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))
assert 0 < address_bytes_left() < 300 << 20
near = out_of_memory(ImportError("libx.so: cannot open shared object file"))
absent = out_of_memory(ModuleNotFoundError("No module named 'av'"))
print(far, near, absent, sep="\\n")
"""


def test_a_library_that_does_not_load_under_a_limit_lacks_memory() -> None:
    said = subprocess.run([sys.executable, "-c", LIMITED], check=True, capture_output=True, text=True).stdout
    far, near, absent = said.splitlines()
    assert (far, absent) == ("None", "None")
    assert "may take 300 MiB of address space here (ulimit -v)" in near
    assert address_bytes_left() is None


def test_a_child_says_it_too() -> None:
    with pytest.raises(OutOfMemory, match="out of memory; free some"):
        run_in_child("tests.unit.test_memory:wanting", failed=lambda ending: BuildError(ending.said))


def wanting(*_: object) -> None:
    raise EnvironmentLacks("ONNX Runtime is not installed") from UNMAPPED


def limited(mebibytes: int) -> Callable[[], None]:
    return partial(resource.setrlimit, resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))


# With 60 MiB Python starts; with 110 NumPy loads; with 600 half of torch, which is noisy when Python ends then.
@pytest.mark.parametrize("mebibytes", [60, 110, 600])
def test_an_export_that_cannot_load_torch_is_one_line(tmp_path: Path, mebibytes: int) -> None:
    ended = subprocess.run(
        [FTSF, "export", *TINY, "--builder", "none", "-o", tmp_path / "made", "-q", "--json"],
        preexec_fn=limited(mebibytes),
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        f"error: out of memory: a process may take {mebibytes} MiB of address space here (ulimit -v)"
    )
    assert ended.returncode == 4
    assert json.loads(ended.stdout)["exit_code"] == 4
    assert list(tmp_path.iterdir()) == []


# What OpenBLAS does where it gets no memory: it ends the process.
ENDED = """
import os
from ftsf_export.cli import main as entry
entry.run = lambda *_: os._exit({code})
entry.main()
"""


@pytest.mark.parametrize("code", [0, 1])
def test_a_library_that_ends_the_process_makes_no_verdict(code: int) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDED.format(code=code)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        4,
        f"error: a library ended the work (exit status {code}); see what it printed above\n",
    )
