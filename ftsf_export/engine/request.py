"""What crosses the border between a build and its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fast_timesformer.rules import wrong_fields
from ftsf_export.bundle import Manifest
from ftsf_export.config import BatchRange
from ftsf_export.engine.targets import Target
from ftsf_export.errors import BuildError, ConfigError
from ftsf_export.field_checks import WORKSPACE_MIB
from ftsf_export.mechanisms import loaded, mechanism_named
from ftsf_plugins.operation import Operation


class CompilerRefusal(BuildError):
    """The compiler said no: it raised, and did not die."""


def operation_of(mechanism: str) -> Operation:
    """What the plugin of a mechanism computes. Raises ValueError for a mechanism without one."""
    entry = mechanism_named(mechanism).plugin
    if entry is None:
        raise ValueError(f"{mechanism} attention has no plugin")
    operation: Operation = loaded(entry.operation)
    return operation


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What a build must know of a graph, from a bundle or from an export that is not a bundle yet."""

    onnx_path: Path  #: A strongly typed graph: the precision is in it.
    precision: str  #: Of the graph; the build sets none of its own, the types gate judges by it.
    batch: BatchRange  #: Clips in one call; the optimization profile of a dynamic graph.
    input_name: str  #: Of the graph's input.
    clip_shape: tuple[int, ...]  #: Of the input without the batch (F, C, H, W).
    islands: tuple[str, ...] = ()  #: Scopes that stay in FP32.
    plugins: str = ""  #: The attention mechanism whose attentions are nodes for plugins; "" where none are.
    #: Input -> its one shape, of a graph that no export wrote; of an export's it is empty, and the three fields above
    #: say what its input is.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def operations(self, builder: str) -> tuple[str, ...]:
        """Names of the plugins' operations that ``builder`` is to know; none where it compiles the nodes' functions:
        TensorRT for RTX takes no plugins, and not every operation has kernels for every precision."""
        if builder != "tensorrt" or not self.plugins:
            return ()
        operation = operation_of(self.plugins)
        return (operation.name,) if self.precision in operation.elements else ()

    def at_batch(self, clips: int) -> GraphFacts:
        """The same at one number of clips alone."""
        return replace(self, batch=BatchRange(clips, clips, clips))

    @classmethod
    def of_any(cls, onnx_path: Path, shapes: Mapping[str, tuple[int, ...]]) -> GraphFacts:
        """Of a graph that no export wrote; its types are in it, and nothing is known that was asked of them."""
        one = BatchRange(1, 1, 1)
        return cls(onnx_path=onnx_path, precision="", batch=one, input_name="", clip_shape=(), shapes=shapes)

    @classmethod
    def of_manifest(cls, manifest: Manifest, onnx_path: Path, batch: BatchRange | None = None) -> GraphFacts:
        clip = manifest.inputs[0]
        return cls(
            onnx_path=onnx_path,
            precision=manifest.precision,
            batch=batch or manifest.batch,
            input_name=clip.name,
            clip_shape=tuple(size for size in clip.shape[1:] if isinstance(size, int)),
            islands=tuple(island.scope for island in manifest.graph.islands),
            plugins=manifest.model.attn_mechanism if manifest.graph.plugins.along else "",
        )


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How engines are built. Raises ConfigError with every field that is wrong."""

    workspace_mib: int | None = None  #: Limit of the compiler's scratch memory in MiB; None: its own.
    #: A file that is read before and updated after; None for none. Only TensorRT measures kernels.
    timing_cache: Path | None = None
    timeout_s: float = 3600.0  #: Seconds after which a build, and nothing else, is killed.
    #: Where each build's verbose log grows, line by line, and is kept; None keeps it for the error message.
    log_folder: Path | None = None
    #: A folder of ``scripts/build-plugins``, for a machine without Triton; None: Triton compiles.
    plugin_kernels: Path | None = None
    tf32: bool = False  #: Whether FP32 products may round their operands to TF32; off means true FP32.

    #: Whether TensorRT for RTX, which compiles on the processor alone, may take no more time and memory than graphs of
    #: this size do, many times over: for a graph that somebody else made.
    limited: bool = False

    def __post_init__(self) -> None:
        if problems := wrong_fields(self, {"workspace_mib": WORKSPACE_MIB}):
            raise ConfigError([f"{name}: {said}" for name, said in problems])


USUAL_OPTIONS = BuildOptions()


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One engine to build."""

    graph: GraphFacts  #: What is compiled.
    builder: str  #: "rtx" or "tensorrt".
    target: Target  #: The machine that will run it.
    output: Path  #: Where the engine goes; written whole or not at all.
    options: BuildOptions = USUAL_OPTIONS  #: How it is built.

    @property
    def title(self) -> str:
        """What is built, to begin a message with."""
        said = (f"builder {self.builder}", f"target {self.target.name}", self.graph.precision)
        return ", ".join(filter(None, said))

    @property
    def log_path(self) -> Path:
        """The builder's verbose log: in the folder that was asked for, else beside the engine."""
        return (self.options.log_folder or self.output.parent) / f"{self.output.stem}.log"

    def profiles(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        """Input -> its least, usual and largest shape."""
        if self.graph.shapes:
            return {name: (shape, shape, shape) for name, shape in self.graph.shapes.items()}
        return {self.graph.input_name: self.profile()}

    def profile(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Least, usual and largest shape of an export's one input."""
        graph = self.graph
        sizes = (graph.batch.minimum, graph.batch.optimum, graph.batch.maximum)
        low, usual, high = ((clips, *graph.clip_shape) for clips in sizes)
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
