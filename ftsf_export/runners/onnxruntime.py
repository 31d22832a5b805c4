"""ONNX Runtime, on the provider that was asked for or not at all.

The GPU build lists providers that it cannot load, and falls back to the CPU without a word. So the session is told not
to (``session.disable_cpu_ep_fallback``), and asked afterwards what it runs on (``get_providers``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.datatype import DataType

from ftsf_export.errors import EnvironmentLacks, RunError
from ftsf_export.network.scope import OUTPUTS
from ftsf_export.runners.telemetry import import_onnxruntime

Array = NDArray[Any]
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class OnnxRuntimeRunner(BaseRunner):  # type: ignore[misc]
    """Runs an ONNX file and gives its outputs and taps.

    Args:
        path: the file; external data is found beside it.
        taps: names of values inside the graph to give beside its outputs.
        provider: the one execution provider to run on.
        optimize: False leaves the graph as it is written, which a cast-emulated graph needs: the optimizer takes its
            pairs of casts away.
        threads: threads within one operator; None leaves it to ONNX Runtime.
        spins: whether threads without work keep their processor busy, which is faster, and costs processor time.

    Raises EnvironmentLacks when ONNX Runtime or the provider is not there, RunError for what it refuses.
    """

    def __init__(
        self,
        path: Path,
        *,
        taps: Sequence[str] = (),
        provider: str = CPU,
        optimize: bool = True,
        threads: int | None = None,
        spins: bool = True,
    ) -> None:
        super().__init__(name="onnxruntime")
        self._path = path
        self._taps = tuple(taps)
        self._provider = provider
        self._optimize = optimize
        self._threads = threads
        self._spins = spins
        self._session: Any = None

    def activate_impl(self) -> None:
        ort = onnxruntime()
        if self._provider not in ort.get_available_providers():
            raise EnvironmentLacks(
                f"this build of ONNX Runtime has no {self._provider}; it has {', '.join(ort.get_available_providers())}"
            )
        options = self._options(ort)
        model: str | bytes = str(self._path)
        if self._taps:
            model = model_with_outputs(self._path, self._taps)
            # Bytes have no folder: this says where their external data lies.
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(self._path.resolve().parent)
            )
        try:
            session = ort.InferenceSession(model, sess_options=options, providers=[self._provider])
        except Exception as error:
            raise self._refusal(error) from error
        if session.get_providers()[:1] != [self._provider]:
            raise EnvironmentLacks(
                f"ONNX Runtime was asked for {self._provider} and runs on {', '.join(session.get_providers())}: "
                "the provider's libraries do not load on this machine"
            )
        self._session = session

    def get_input_metadata_impl(self) -> Any:
        metadata = TensorMetadata()
        for node in self._session.get_inputs():
            metadata.add(node.name, dtype=DataType.from_dtype(node.type, "onnxruntime"), shape=node.shape)
        return metadata

    def infer_impl(self, feed_dict: Mapping[str, Array]) -> OrderedDict[str, Array]:
        there = {output.name for output in self._session.get_outputs()}
        names = [*(name for name in OUTPUTS if name in there), *self._taps]
        if names == list(self._taps):
            raise RunError(f"{self._path.name}: expected an output {' or '.join(OUTPUTS)}, got {', '.join(there)}")
        start = time.perf_counter()
        try:
            values = self._session.run(names, dict(feed_dict))
        except Exception as error:
            raise RunError(f"{self._path.name}: ONNX Runtime: {_one_line(error)}", details=str(error)) from error
        self.inference_time = time.perf_counter() - start
        return OrderedDict(zip(names, values, strict=True))

    def deactivate_impl(self) -> None:
        self._session = None

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors alone: warnings go to stderr, which is the user's
        if not self._optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if not self._spins:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        if self._provider != CPU:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return options

    def _refusal(self, error: Exception) -> EnvironmentLacks | RunError:
        if self._provider != CPU and "fallback" in str(error):
            return EnvironmentLacks(
                f"ONNX Runtime cannot run {self._path.name} on {self._provider} alone: the provider does not load on "
                "this machine, or lacks an operator",
                details=str(error),
            )
        # A private copy's folder says nothing to the user.
        said = _one_line(error).replace(str(self._path), self._path.name)
        return RunError(f"{self._path.name}: ONNX Runtime refuses the file: {said}", details=str(error))


def model_with_outputs(path: Path, names: Sequence[str]) -> bytes:
    """The model of ``path`` with the values called ``names`` as further graph outputs, external data left where it is.

    Raises EnvironmentLacks without the onnx package, RunError when the graph has no value of that name.
    """
    try:
        import onnx
    except ImportError as error:
        raise EnvironmentLacks("the onnx package is not installed", extra="onnx") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise RunError(f"{path.name}: not a readable ONNX file: {_one_line(error)}", details=str(error)) from error
    produced = {value for node in model.graph.node for value in node.output}
    present = {output.name for output in model.graph.output}
    for name in names:
        if name not in produced:
            raise RunError(
                f"{path.name}: no node gives a value called {name!r}; export the model again to have its taps"
            )
        if name not in present:
            # A name is enough: ONNX Runtime infers the type itself.
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    return bytes(model.SerializeToString())


def onnxruntime() -> Any:
    """The library. Raises EnvironmentLacks where it is not installed."""
    try:
        return import_onnxruntime()
    except ImportError as error:
        raise EnvironmentLacks("ONNX Runtime is not installed", extra="onnx") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
