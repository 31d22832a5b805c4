"""The one door to ONNX Runtime, which is opened with its telemetry off.

The wheels of ONNX Runtime write a device id and a store of events below ``~/.cache/Microsoft`` when the library is
loaded, and may send them. ``disable_telemetry_events`` comes too late for the first (seen with 1.31.1); the variable is
read while the library loads.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

# Of ONNX Runtime, which turns its telemetry off for the value "1".
_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """ONNX Runtime without telemetry, in this process and in those that it starts.

    Where the user's own program loaded it before us, what it has not yet sent is turned off. Raises ImportError where
    it is not installed, or does not load.
    """
    os.environ[_SWITCH] = "1"
    loaded_before = "onnxruntime" in sys.modules
    runtime = importlib.import_module("onnxruntime")
    if loaded_before and hasattr(runtime, "disable_telemetry_events"):
        runtime.disable_telemetry_events()
    return runtime
