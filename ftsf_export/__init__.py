"""Export, verify and deploy video transformers with ONNX and TensorRT.

Importing this package imports neither torch nor TensorRT nor ONNX Runtime: its names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftsf_export.bundle import Bundle
    from ftsf_export.config import ExportConfig
    from ftsf_export.pipeline.export import export

__version__ = "0.1.0"
__all__ = ["Bundle", "ExportConfig", "__version__", "export"]

_HOMES = {
    "Bundle": "ftsf_export.bundle",
    "ExportConfig": "ftsf_export.config",
    "export": "ftsf_export.pipeline.export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
