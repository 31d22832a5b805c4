"""The directory that travels: its manifest, its hashes, and writing it whole or not at all.

The reference values stand in ``ftsf_export.bundle.golden``, which alone needs NumPy: to say what a bundle holds, nobody
waits for it.
"""

from ftsf_export.bundle.bundle import Bundle, record
from ftsf_export.bundle.files import sha256_of
from ftsf_export.bundle.manifest import (
    ENGINES_FOLDER,
    GOLDEN_NAME,
    MANIFEST_NAME,
    ONNX_NAME,
    SCHEMA_VERSION,
    Manifest,
)
from ftsf_export.bundle.specs import (
    AppliedRewrite,
    CheckpointWeights,
    EngineEntry,
    FileEntry,
    GivenWeights,
    GraphRecord,
    Island,
    Normalisation,
    PluginNodes,
    Preprocessing,
    RandomWeights,
    TapSpec,
    TensorSpec,
    Weights,
)
from ftsf_export.bundle.writer import BundleWriter

__all__ = [
    "ENGINES_FOLDER",
    "GOLDEN_NAME",
    "MANIFEST_NAME",
    "ONNX_NAME",
    "SCHEMA_VERSION",
    "AppliedRewrite",
    "Bundle",
    "BundleWriter",
    "CheckpointWeights",
    "EngineEntry",
    "FileEntry",
    "GivenWeights",
    "GraphRecord",
    "Island",
    "Manifest",
    "Normalisation",
    "PluginNodes",
    "Preprocessing",
    "RandomWeights",
    "TapSpec",
    "TensorSpec",
    "Weights",
    "record",
    "sha256_of",
]
