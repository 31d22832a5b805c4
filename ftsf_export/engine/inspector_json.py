"""A plan out of the JSON of TensorRT's engine inspector, which ``trtexec --exportLayerInfo`` writes as well.

TensorRT 10 and 11 name the engine's inputs and outputs in other ways ("Bindings", "I/O Tensors"), and 11 keeps a
tensor's format and its element type apart (NVIDIA, "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x"). An
engine with several optimization profiles may list its layers once for each.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ftsf_export.engine.grammar import GrammarError
from ftsf_export.engine.kernel_plan import Plan, plan_from_layers
from ftsf_export.plan_record import Memory

_LATER_PROFILE = re.compile(r".* \[profile [1-9]\d*\]")


def plan_from_inspector(text: str, *, memory: Memory | None = None) -> Plan:
    """The plan that the inspector tells, of the first profile.

    Raises GrammarError for what is none, and for an engine that was built without detailed profiling: it tells names
    alone.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"no JSON of an engine's layers: {error}") from error
    layers = found.get("Layers") if isinstance(found, dict) else found
    if not isinstance(layers, list) or not layers:
        raise GrammarError('expected a list of layers, or an object with "Layers", as the engine inspector gives')
    if all(isinstance(layer, str) for layer in layers):
        raise GrammarError(
            f"the engine tells the names of its {len(layers)} layers alone; build it with detailed profiling "
            "(trtexec --profilingVerbosity=detailed)"
        )
    return plan_from_layers([layer for layer in layers if not _of_later_profile(layer)], memory=memory or Memory())


def _of_later_profile(layer: Any) -> bool:
    return isinstance(layer, dict) and _LATER_PROFILE.fullmatch(str(layer.get("Name", ""))) is not None
