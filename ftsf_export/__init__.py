"""ftsf_export: from a PyTorch video transformer to a verified ONNX file and TensorRT engine.

    from ftsf_export import Bundle, ExportConfig, export

    bundle = export(ExportConfig(attn="fastformer", frames=8), output="out")
    bundle.verdicts; bundle.onnx_path; Bundle.open("out")

``verify``, ``build``, ``plan``, ``benchmark`` and ``predict`` do what their commands do.

Importing the package is cheap: the names below are loaded on first use, and torch, onnx, ONNX Runtime and
TensorRT by the stage that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsf_export.bundle import Bundle
    from ftsf_export.config import ExportConfig
    from ftsf_export.errors import (
        BuildError,
        BundleError,
        ConfigError,
        EnvironmentLacks,
        ExportError,
        FtsfError,
        GateFailed,
        OutputError,
        RunError,
        StageError,
        UsageError,
        VideoError,
    )
    from ftsf_export.pipeline.bench import benchmark
    from ftsf_export.pipeline.build_bundle import build
    from ftsf_export.pipeline.export import export
    from ftsf_export.pipeline.plan_file import plan
    from ftsf_export.pipeline.predict import predict
    from ftsf_export.pipeline.verify import verify
    from ftsf_export.sizes import BatchRange, Size
    from ftsf_export.verdict import Measure, Status, Verdict

__version__ = "0.1.0"

__all__ = [
    "BatchRange",
    "BuildError",
    "Bundle",
    "BundleError",
    "ConfigError",
    "EnvironmentLacks",
    "ExportConfig",
    "ExportError",
    "FtsfError",
    "GateFailed",
    "Measure",
    "OutputError",
    "RunError",
    "Size",
    "StageError",
    "Status",
    "UsageError",
    "Verdict",
    "VideoError",
    "__version__",
    "benchmark",
    "build",
    "export",
    "plan",
    "predict",
    "verify",
]

_HOME = {
    "BatchRange": "ftsf_export.sizes",
    "Bundle": "ftsf_export.bundle",
    "ExportConfig": "ftsf_export.config",
    "Measure": "ftsf_export.verdict",
    "Size": "ftsf_export.sizes",
    "Status": "ftsf_export.verdict",
    "Verdict": "ftsf_export.verdict",
    "benchmark": "ftsf_export.pipeline.bench",
    "build": "ftsf_export.pipeline.build_bundle",
    "export": "ftsf_export.pipeline.export",
    "plan": "ftsf_export.pipeline.plan_file",
    "predict": "ftsf_export.pipeline.predict",
    "verify": "ftsf_export.pipeline.verify",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ftsf_export' has no attribute {name!r}")
    # Named as a string: an import statement here would draw arrows from every layer to the pipeline.
    value = getattr(import_module(_HOME.get(name, "ftsf_export.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
