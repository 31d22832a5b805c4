"""Records of TensorRT for RTX 1.7.1 in the words of TensorRT's engine inspector.

It prints its layers in the schema of TensorRT 11. What differs in TensorRT 10, and what either keeps to itself where
shapes are dynamic, is from NVIDIA's "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x" and NvInferRuntime.h.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftsf_export.engine.grammar import layer_lines, record_from_line

DATA = Path(__file__).parent / "data"
_DYNAMIC = "N/A due to dynamic shapes"


def inspector_json(name: str, release: int, *, dynamic: bool = False) -> str:
    """The record ``name`` as TensorRT ``release`` (10 or 11) tells it; ``dynamic``: without a context."""
    log = (DATA / f"{name}.log").read_text(encoding="utf-8").splitlines()
    layers: list[dict[str, Any]] = [record_from_line(line) for line in layer_lines(log)]
    for layer in layers:
        layer["StreamId"] = int(layer["StreamId"])
        for tensor in (*layer["Inputs"], *layer["Constants"], *layer["Outputs"]):
            if dynamic:
                tensor["Dimensions"] = [-1, *tensor["Dimensions"][1:]]
                tensor["Format"] = _DYNAMIC
            if release == 10:
                told, kind = tensor.pop("Format"), tensor.pop("Datatype")
                tensor["Format/Datatype"] = _DYNAMIC if dynamic else f"{told.split(') ')[-1]} {kind}"
    ends = (
        {"Bindings": ["x", "y"]}
        if release == 10
        else {"I/O Tensors": [{"Name": name, "IOMode": mode, "DataType": "Float", "Dimensions": [1, 64, 64],
                               "Location": "Device", "IsShapeInferenceIO": False, "ProfileInfo": []}
                              for name, mode in (("x", "Input"), ("y", "Output"))]}
    )  # fmt: skip
    return json.dumps({"Layers": layers, **ends})
