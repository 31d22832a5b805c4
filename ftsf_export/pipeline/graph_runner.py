"""An ONNX file on ONNX Runtime's CPU provider, in the form in which a CPU can judge it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftsf_export.disk import scratch_folder, scratch_refusals_translated
from ftsf_export.precision import Precision


@contextmanager
def graph_runner(path: Path, precision: Precision, taps: Sequence[str] = ()) -> Iterator[Any]:
    """A runner of the file, while it lasts.

    No CPU computes in half precision as a GPU does, so such a file runs in its emulated form: an FP32 graph that rounds
    every tensor to the type. Raises EnvironmentLacks without onnx or ONNX Runtime, OutputError where temporary files
    cannot be written; the runner raises RunError when the file does not run.
    """
    from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner

    if not precision.emulated:
        yield OnnxRuntimeRunner(path, taps=taps, optimize=True)
        return
    from ftsf_export.graph.emulate import emulate

    with scratch_folder("ftsf-emulated-") as folder:
        form = folder / "emulated.onnx"
        with scratch_refusals_translated():
            emulate(path, form)
        yield OnnxRuntimeRunner(form, taps=taps, optimize=False)
