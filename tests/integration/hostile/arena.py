"""Where a command line is run on an input: a home, a folder of temporary files and a folder of work of its own.

An arena belongs to one process that lives long. It imports the libraries once and forks for each command line, as the
program itself does (``cli/supervised.py``); in the fork the program's own entry reads the real arguments, forks again,
answers signals and ends with an exit code. One run costs a tenth of a second so, and not the seconds of the imports.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle
import pkgutil
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.hostile.case import MOST_BYTES, MOST_SECONDS, Run

ENTRY = "ftsf_export.cli.main:main"
PROGRAM = (str(Path(sys.executable).with_name("ftsf")),)
_PR_SET_CHILD_SUBREAPER = 36
# A run over its limits goes on for a while, so that the record says by how much; then it is killed.
KILLED_AFTER_S = 2 * MOST_SECONDS
_KILLED_ABOVE = MOST_BYTES * 3 // 2
_LINGER_S = 1.0
# What an export loads on its way: three of its five seconds.
_LATE = (
    "av", "jinja2", "rich.progress", "cattrs", "torch._dynamo", "torch.export._trace", "torch.export.pt2_archive",
    "torch._inductor.compile_fx", "torch.onnx._internal.exporter._core", "torch.distributed.fsdp",
    "onnxscript.rewriter", "onnxscript.function_libs.torch_lib.ops",
    "transformers.models.timesformer.modeling_timesformer",
)  # fmt: skip
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Stop:
    """A signal that is sent to a running command."""

    signal: signal.Signals
    after_s: float  #: Seconds from its start.


class Arena:
    """Folders of one worker: ``home``, ``tmp`` and ``work`` below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root, self.work, self.said = root / "user", root / "user" / "work", root / "said"
        for folder in (self.root / "home" / ".ssh", self.root / "tmp", self.work, self.said):
            folder.mkdir(parents=True)
        (self.root / "home" / ".ssh" / "authorized_keys").write_text("mine\n")
        (self.root / "home" / ".profile").write_text("mine\n")
        os.environ.update(
            HOME=str(self.root / "home"), TMPDIR=str(self.root / "tmp"), OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1",
            PYTHONDONTWRITEBYTECODE="1", NO_COLOR="1",
        )  # fmt: skip
        for name in [one for one in os.environ if one.startswith(("XDG_", "TORCHINDUCTOR_"))]:
            del os.environ[name]
        tempfile.tempdir = None
        os.chdir(self.work)
        # What a command leaves running becomes our child, and is found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def clear(self) -> None:
        """An empty folder of work beside a folder of the user with something in it; no temporary files."""
        for folder in (self.work, self.root / "tmp"):
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (self.work / "outside").mkdir()
        (self.work / "outside" / "secret").write_bytes(b"secret")

    def run(self, args: tuple[str, ...], entry: str = ENTRY, killed_after_s: float = KILLED_AFTER_S) -> Run:
        """The command line in a fork of this process."""
        return self._watched(lambda: _fork(lambda: _call(entry, args), self.said), killed_after_s)

    def run_console(self, args: tuple[str, ...], stop: Stop | None = None, program: tuple[str, ...] = PROGRAM) -> Run:
        """The command line by the program that is installed; ``stop``: a signal on the way."""

        def start() -> int:
            with (self.said / "out").open("wb") as out, (self.said / "err").open("wb") as err:
                return subprocess.Popen(
                    [*program, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                ).pid

        return self._watched(start, KILLED_AFTER_S, stop)

    def _watched(self, start: Callable[[], int], killed_after_s: float, stop: Stop | None = None) -> Run:
        began, peak, stopped = time.monotonic(), 0, ""
        waited: dict[int, float] = {}
        signalled: float | None = None
        child = start()
        # Python is not to wait for what we wait for.
        ended = os.pidfd_open(child)
        try:
            while not _ready(ended, 0.03 if stop is None else 0.005):
                peak = max(peak, _memory(child))
                waited.update(_waited())
                if peak > _KILLED_ABOVE:
                    stopped = f"killed above {peak >> 20} MiB"
                elif time.monotonic() - began - sum(waited.values()) > killed_after_s:
                    stopped = f"killed after {killed_after_s:g} s"
                spent = time.monotonic() - began - sum(waited.values())
                if stop is not None and signalled is None and spent >= stop.after_s:
                    signalled = time.monotonic() - sum(waited.values())
                    # Ctrl-C reaches the whole group of a terminal, the others one process.
                    (os.killpg if stop.signal == signal.SIGINT else os.kill)(child, stop.signal)
                if stopped:
                    _kill_all()
                    break
            _, status, usage = os.wait4(child, 0)
        finally:
            os.close(ended)
        cpu = usage.ru_utime + usage.ru_stime
        seconds = max(cpu, time.monotonic() - began - sum(waited.values()))
        left, late = _left()
        texts = [(self.said / name).read_bytes().decode("utf-8", "surrogateescape") for name in ("out", "err")]
        return Run(
            code=os.waitstatus_to_exitcode(status), out=texts[0], err=texts[1], seconds=seconds,
            cpu_seconds=cpu + late, peak_bytes=max(peak, usage.ru_maxrss << 10), stopped=stopped,
            left=() if stopped else left, obeyed_s=None if signalled is None else began + seconds - signalled,
        )  # fmt: skip


def load_libraries(*, exports: bool = True) -> None:
    """All that any command imports, before the first fork; ``exports``: whole exports too. No thread may come of it."""
    import ftsf_export
    from ftsf_export.runners.telemetry import import_onnxruntime

    import_onnxruntime()
    for module in pkgutil.walk_packages(ftsf_export.__path__, "ftsf_export."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE if exports else ():
        importlib.import_module(name)
    # Its folder would be found by programs that are started here, and its making not be seen.
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
    # A collection in a fork would write to every object, and so copy it.
    gc.collect()
    gc.freeze()


def in_fork(work: Callable[[], Any]) -> Any:
    """What ``work`` gives, computed in a fork, so that this process stays as it is. Raises RuntimeError."""
    readable, writable = os.pipe()

    def answer() -> None:
        os.close(readable)
        with os.fdopen(writable, "wb") as pipe:
            pickle.dump(work(), pipe)

    child = _fork(answer)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not data:
        raise RuntimeError(f"a fork of the harness ended with {os.waitstatus_to_exitcode(status)}; see its trace above")
    return pickle.loads(data)


def _fork(work: Callable[[], object], said: Path | None = None) -> int:
    """A child that does ``work`` and ends as a Python program would; its output goes below ``said``."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if said is not None:
            for descriptor, name in ((1, "out"), (2, "err")):
                file = os.open(said / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, descriptor)
                os.close(file)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _call(entry: str, args: tuple[str, ...]) -> None:
    module, _, name = entry.partition(":")
    sys.argv = ["ftsf", *args]
    getattr(importlib.import_module(module), name)()


def _ready(descriptor: int, seconds: float) -> bool:
    import select

    return bool(select.select([descriptor], [], [], seconds)[0])


def _below(process: int) -> Iterator[int]:
    """All processes that this one started, and theirs."""
    with suppress(OSError):
        for task in os.listdir(f"/proc/{process}/task"):
            for child in Path(f"/proc/{process}/task/{task}/children").read_text().split():
                yield int(child)
                yield from _below(int(child))


def _memory(child: int) -> int:
    """Bytes in use by all processes together; the first one only supervises, and counts where it alone has more."""
    used = {}
    for process in (child, *_below(os.getpid())):
        with suppress(OSError, ValueError, IndexError):
            used[process] = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    first = used.pop(child, 0)
    return max(first, sum(used.values()))


def _waited() -> Iterator[tuple[int, float]]:
    """Of each process: seconds in which it could have run and others had the CPU (proc(5), schedstat)."""
    for process in _below(os.getpid()):
        with suppress(OSError, ValueError, IndexError):
            yield process, int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9


def _kill_all() -> None:
    for process in list(_below(os.getpid())):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _left() -> tuple[tuple[str, ...], float]:
    """Waits for a moment for what is still ending, names and kills what stays; and its CPU seconds."""
    deadline, cpu = time.monotonic() + _LINGER_S, 0.0
    names: tuple[str, ...] = ()
    while True:
        with suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                cpu += ended[2].ru_utime + ended[2].ru_stime
        alive = list(_below(os.getpid()))
        if not alive:
            return names, cpu
        if time.monotonic() > deadline and not names:
            names = tuple(_name(process) for process in alive)
            _kill_all()
        time.sleep(0.02)


def _name(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
    return str(process)
