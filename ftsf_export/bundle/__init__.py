"""The directory that travels: its manifest, its hashes, and writing it whole or not at all. Needs NumPy alone."""

from ftsf_export.bundle.bundle import Bundle, record
from ftsf_export.bundle.files import sha256_of
from ftsf_export.bundle.golden import Golden, read_golden, sample_positions, sample_tap, write_golden
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
from ftsf_export.bundle.update import rehash
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
    "Golden",
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
    "read_golden",
    "record",
    "rehash",
    "sample_positions",
    "sample_tap",
    "sha256_of",
    "write_golden",
]
