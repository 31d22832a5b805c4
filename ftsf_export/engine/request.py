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
    """One engine to build.

    Attributes:
        onnx_path: a strongly typed graph: the precision is in it.
        builder: "rtx" or "tensorrt".
        target: the machine that will run it.
        precision: what the graph was made in; the build sets no precision of its own, the types gate judges by it.
        batch: clips in one call; the optimization profile of a dynamic graph.
        input_name: of the graph's input.
        clip_shape: of the graph's input for one clip (F, C, H, W).
        output: where the engine goes; written whole or not at all.
        workspace_mib: limit of the compiler's scratch memory, in MiB; None is its own default.
        timing_cache: a file read before and updated after; None for none. Only TensorRT measures kernels.
        tf32: whether FP32 products may round their operands to TF32; off means true FP32.
        plugins: operations of ``ftsf_plugins`` that TensorRT is to know; empty: their nodes' functions are compiled.
        plugin_kernels: a folder of ``scripts/build-plugins``, for a machine without Triton; None: Triton compiles.
        timeout_s: seconds after which the build, and nothing else, is killed.
        log_path: where the builder's verbose log grows, line by line, and is kept; None keeps it for the error message.
    """

    onnx_path: Path
    builder: str
    target: Target
    precision: str
    batch: BatchRange
    input_name: str
    clip_shape: tuple[int, ...]
    output: Path
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    tf32: bool = False
    plugins: tuple[str, ...] = ()
    plugin_kernels: Path | None = None
    timeout_s: float = 3600.0
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
    """A matrix product, convolution or attention of the parsed network, before the compiler: its types are law.

    Attributes:
        node: the ONNX node's name.
        kind: the network's layer type.
        types: element types of its operands.
        flops: its multiplications and additions at the network's shapes; None where one of them is dynamic.
    """

    node: str
    kind: str
    types: tuple[str, ...]
    flops: int | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """What the worker says of a finished build.

    Attributes:
        builder_version: of the compiler.
        tf32: whether FP32 products may round to TF32, read back from the configuration that was compiled.
        products: of the parsed network.
        sha256: of the engine.
        size_bytes: of the engine.
        plugins: "aot": the engine holds its plugins; "v3": who loads it registers them first; "": it has none.
    """

    builder_version: str
    tf32: bool
    products: tuple[Product, ...]
    sha256: str
    size_bytes: int
    plugins: str = ""
