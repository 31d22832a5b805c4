"""What TensorRT's inspector says of a finished engine, asked in a process of its own: a fault of it costs no engine.

With dynamic shapes it tells sizes and types only where an execution context holds the shapes of the inputs
(NvInferRuntime.h, ``IEngineInspector::setExecutionContext``); else sizes are -1 and types "N/A due to dynamic shapes".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ftsf_export.errors import FtsfError, RunError
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.process.parent import Ending, run_in_child
from ftsf_export.runners.flavour import MODULES
from ftsf_export.runners.tensorrt import opened_engine
from ftsf_export.strict_json import plain, structured

_WORKER = "ftsf_export.engine.inspection:inspect"
_BUILDER = "tensorrt"


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is to be inspected."""

    engine: Path  #: A plan of TensorRT proper.
    input_name: str  #: Of the engine's input.
    shapes: tuple[tuple[int, ...], ...]  #: Shapes of the input to be told of one by one; none where nothing is dynamic.


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What the inspector said."""

    #: Its JSON at each shape as far as it went; at none of them, that of the engine alone; none where it said nothing.
    layers: tuple[str, ...]
    problem: str = ""  #: Why some of what was asked is not there; "" where all of it is.


def inspected(order: Inspection, *, timeout_s: float, folder: Path) -> Inspected:
    """Never raises: whatever befalls the inspector is the answer's ``problem``."""
    try:
        answer = run_in_child(_WORKER, plain(order), failed=_failed, timeout_s=timeout_s, folder=folder)
    except FtsfError as error:
        return Inspected(layers=(), problem=error.message)
    return structured(answer.value, Inspected, "the process that inspects an engine")


def _failed(ending: Ending) -> RunError:
    return RunError(f"TensorRT's inspector {ending.how}: {ending.said}", details=ending.details)


def inspect(request: Message, _tell: Tell) -> Message:
    """The child's side: an ``Inspection`` in, an ``Inspected`` out."""
    order = structured(request.value, Inspection, "the request to inspect")
    engine, _ = opened_engine(order.engine, _BUILDER)
    trt = import_module(MODULES[_BUILDER])
    inspector = engine.create_engine_inspector()
    read = partial(inspector.get_engine_information, trt.LayerInformationFormat.JSON)
    layers, problem = _at_shapes(engine, inspector, read, order) if order.shapes else ([], "")
    return Message(plain(Inspected(layers=tuple(layers or [str(read())]), problem=problem)))


def _at_shapes(engine: Any, inspector: Any, read: Any, order: Inspection) -> tuple[list[str], str]:
    """What is told at each shape as far as there is a context for it, and why there is none for the rest."""
    layers: list[str] = []
    context = engine.create_execution_context()
    if context is None:
        return (
            layers,
            "no execution context to inspect its dynamic shapes with; the GPU may be out of memory",
        )
    for shape in order.shapes:
        if not context.set_input_shape(order.input_name, shape):
            return layers, f"its context takes no input of shape {list(shape)}"
        inspector.execution_context = context
        layers.append(str(read()))
    return layers, ""
