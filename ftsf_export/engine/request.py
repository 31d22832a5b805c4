"""What crosses the border between a build and its process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftsf_export.config import BatchRange
from ftsf_export.engine.targets import Target
from ftsf_export.errors import BuildError


class CompilerRefusal(BuildError):
    """The compiler said no: it raised, and did not die."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One engine to build."""

    onnx_path: Path  #: A strongly typed graph: the precision is in it.
    builder: str  #: "rtx" or "tensorrt".
    target: Target  #: The machine that will run it.
    precision: str  #: What the graph was made in; the build sets no precision of its own, the types gate judges by it.
    batch: BatchRange  #: Clips in one call; the optimization profile of a dynamic graph.
    input_name: str  #: Of the graph's input.
    clip_shape: tuple[int, ...]  #: Of the graph's input for one clip (F, C, H, W).
    output: Path  #: Where the engine goes; written whole or not at all.
    workspace_mib: int | None = None  #: Limit of the compiler's scratch memory, in MiB; None is its own default.
    #: A file read before and updated after; None for none. Only TensorRT measures kernels.
    timing_cache: Path | None = None
    tf32: bool = False  #: Whether FP32 products may round their operands to TF32; off means true FP32.
    #: Operations of ``ftsf_plugins`` that TensorRT is to know; empty: their nodes' functions are compiled.
    plugins: tuple[str, ...] = ()
    #: A folder of ``scripts/build-plugins``, for a machine without Triton; None: Triton compiles.
    plugin_kernels: Path | None = None
    timeout_s: float = 3600.0  #: Seconds after which the build, and nothing else, is killed.
    #: Where the builder's verbose log grows, line by line, and is kept; None keeps it for the error message.
    log_path: Path | None = None

    @property
    def title(self) -> str:
        """What is built, to begin a message with."""
        return f"builder {self.builder}, target {self.target.name}, {self.precision}"

    def profile(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Least, usual and largest shape of the input."""
        low, usual, high = ((n, *self.clip_shape) for n in (self.batch.minimum, self.batch.optimum, self.batch.maximum))
        return low, usual, high


@dataclass(frozen=True)
class Product:
    """A matrix product, convolution or attention of the parsed network, before the compiler: its types are law."""

    node: str  #: The ONNX node's name.
    kind: str  #: The network's layer type.
    types: tuple[str, ...]  #: Element types of its operands.
    #: Its multiplications and additions at the network's shapes; None where one of them is dynamic.
    flops: int | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """What the worker says of a finished build."""

    builder_version: str  #: Of the compiler.
    tf32: bool  #: Whether FP32 products may round to TF32, read back from the configuration that was compiled.
    products: tuple[Product, ...]  #: Of the parsed network.
    sha256: str  #: Of the engine.
    size_bytes: int  #: Of the engine.
    plugins: str = ""  #: "aot": the engine holds its plugins; "v3": who loads it registers them first; "": it has none.
