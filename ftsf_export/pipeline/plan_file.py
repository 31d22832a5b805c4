"""``ftsf plan`` of what is no bundle: an ONNX file of anybody's, or an engine's layers as TensorRT tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsf_export.bundle.any_graph import shapes_of
from ftsf_export.bundle.onnx_file import copied_onnx
from ftsf_export.engine.choice import BuildTools
from ftsf_export.engine.file_plan import read_layers, read_onnx
from ftsf_export.engine.grammar import GrammarError
from ftsf_export.engine.graph_plan import GraphPlan
from ftsf_export.engine.inspector_json import plan_from_inspector
from ftsf_export.engine.request import BuildOptions, GraphFacts
from ftsf_export.engine.targets import USUAL_TARGET, target_named
from ftsf_export.errors import BuildError, ConfigError, UsageError
from ftsf_export.pipeline.plan_bundle import compile_at, compiler_for
from ftsf_export.pipeline.plan_bundle import plan as plan_of_bundle
from ftsf_export.precision import FP32
from ftsf_export.progress import OnProgress, silent
from ftsf_export.user_file import content_of

_LAYERS_SUFFIX = ".json"
_LARGEST_LAYERS = 256 << 20


def plan(
    path: str | Path,
    *,
    target: str = "",
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tools: BuildTools | None = None,
    timeout_s: float = 3600.0,
    limited: bool = True,
    on_progress: OnProgress = silent,
) -> GraphPlan:
    """What a compiler makes, or made, of what is at ``path``: a bundle, an ONNX file, or an engine's layers in JSON.

    Args:
        path: a directory is a bundle, a name that ends in ``.json`` an engine's layers, any other an ONNX file.
        target: the machine; by default that of the bundle's first engine, else ``rtx-30``. An engine's layers are
            bounded by its data sheet, and by none where it is not given.
        batch: clips in one call, of a bundle.
        shapes: input -> the shape to compile an ONNX file at, for inputs with sizes that are not fixed. A lone first
            one is 1 by default. "" is the name of the only input.
        timeout_s: after how many seconds the compiler, and nothing else, is killed.
        limited: see ``BuildOptions``; False is for a graph that is trusted.

    Raises UsageError for what is none of the three, or does not fit; BundleError, EnvironmentLacks, BuildError.
    """
    path = Path(path)
    if _is_bundle(path):
        if shapes:
            raise UsageError("shape: a bundle knows its shapes; its clips in a call are given with --batch")
        return plan_of_bundle(
            path, target=target, batch=batch, tools=tools, timeout_s=timeout_s, limited=limited, on_progress=on_progress
        )
    if batch is not None:
        raise UsageError(f"batch: {path} is no bundle; give the shapes of an ONNX file's inputs with --shape")
    if path.suffix == _LAYERS_SUFFIX:
        if shapes:
            raise UsageError(f"shape: {path} tells of an engine that is built; shapes are for ONNX files")
        return _plan_of_layers(path, target)
    return _plan_of_onnx(
        path,
        shapes or {},
        target=target or USUAL_TARGET,
        tools=tools,
        options=BuildOptions(timeout_s=timeout_s, limited=limited),
        on_progress=on_progress,
    )


def _is_bundle(path: Path) -> bool:
    """A directory, or a name that looks like one of a bundle that is not there."""
    return path.is_dir() or not (path.suffix or path.exists())


def fitting(
    path: Path, paths: Sequence[Path], *, batch: int | None, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """What of ``batch`` and ``shapes`` is for ``path``, where it is compared with others of other kinds: what none of
    ``paths`` takes is left for ``plan`` to refuse."""
    bundle = _is_bundle(path)
    onnx = not bundle and path.suffix != _LAYERS_SUFFIX
    some_bundle = any(map(_is_bundle, paths))
    some_onnx = any(not _is_bundle(one) and one.suffix != _LAYERS_SUFFIX for one in paths)
    return {
        "batch": batch if bundle or not some_bundle else None,
        "shapes": shapes if onnx or not some_onnx else {},
    }


def _plan_of_onnx(
    path: Path,
    asked_shapes: Mapping[str, tuple[int, ...]],
    *,
    target: str,
    tools: BuildTools | None,
    options: BuildOptions,
    on_progress: OnProgress,
) -> GraphPlan:
    asked = target_named(target)
    # Which types the file multiplies in its compiler will say; FP32 is what every target has.
    builder, compiled = compiler_for(asked, FP32.name, tools)
    with copied_onnx(path) as file:
        named = dict(asked_shapes)
        if "" in named and len(file.graph.inputs) == 1:
            named[file.graph.inputs[0].name] = named.pop("")
        shapes, problems = shapes_of(file.graph, named)
        if problems:
            raise ConfigError(problems)
        facts = GraphFacts.of_any(file.path, shapes)
        engine = compile_at(facts, builder, compiled, options, on_progress=on_progress)
        return read_onnx(engine, file.graph, asked, path.name)


def _plan_of_layers(path: Path, target: str) -> GraphPlan:
    asked = target_named(target) if target else None
    data = content_of(path, expected="an engine's layers", most=_LARGEST_LAYERS)
    try:
        read = plan_from_inspector(data.decode("utf-8"))
    except (GrammarError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    try:
        return read_layers(read, asked)
    except BuildError as error:
        raise UsageError(
            f"{path}: {error.message}; with dynamic shapes TensorRT tells sizes only of a given one: "
            "trtexec --loadEngine=... --shapes=... --exportLayerInfo=..."
        ) from error
