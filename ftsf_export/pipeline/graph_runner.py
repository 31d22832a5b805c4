"""An ONNX file on ONNX Runtime's CPU provider, in the form in which a CPU can judge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftsf_export.disk import scratch_folder, scratch_refusals_translated
from ftsf_export.precision import Precision
from ftsf_export.process.quota import Quota


@contextmanager
def graph_runner(
    path: Path, precision: Precision, taps: Sequence[str] = (), *, quota: Quota | None = None
) -> Iterator[Any]:
    """A runner of the file, while it lasts. With a ``quota`` it runs in a child process, which may take no more.

    No CPU computes in half precision as a GPU does, so such a file runs in its emulated form: an FP32 graph that rounds
    every tensor to the type. Raises EnvironmentLacks without onnx or ONNX Runtime, OutputError where temporary files
    cannot be written; the runner raises RunError when the file does not run.
    """
    if not precision.emulated:
        yield _runner(path, taps, quota, optimize=True)
        return
    from ftsf_export.graph.emulate import emulate

    with scratch_folder("ftsf-emulated-") as folder:
        form = folder / path.name
        with scratch_refusals_translated():
            emulate(path, form)
        yield _runner(form, taps, quota, optimize=False)


def _runner(path: Path, taps: Sequence[str], quota: Quota | None, *, optimize: bool) -> Any:
    if quota is None:
        from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

        return OnnxRuntimeRunner(path, taps=taps, optimize=optimize)
    from ftsf_export.runners.child_runner import ChildRunner

    # Threads that wait do not count against the quota.
    options = {"taps": list(taps), "optimize": optimize, "spins": False}
    return ChildRunner(path, backend="onnxruntime", quota=quota, options=options)
