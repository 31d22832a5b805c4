"""The directory that travels: its manifest, its hashes, and writing it whole or not at all.

The reference values stand in ``ftsf_export.bundle.golden``, which alone needs NumPy: to say what a bundle holds, nobody
waits for it.
"""

from ftsf_export.bundle.bundle import Bundle as Bundle
from ftsf_export.bundle.bundle import record as record
from ftsf_export.bundle.eager_findings import FavorLengths as FavorLengths
from ftsf_export.bundle.eager_findings import PlainHalf as PlainHalf
from ftsf_export.bundle.files import sha256_of as sha256_of
from ftsf_export.bundle.graph_input import GraphInput as GraphInput
from ftsf_export.bundle.manifest import ENGINES_FOLDER as ENGINES_FOLDER
from ftsf_export.bundle.manifest import GOLDEN_NAME as GOLDEN_NAME
from ftsf_export.bundle.manifest import MANIFEST_NAME as MANIFEST_NAME
from ftsf_export.bundle.manifest import ONNX_NAME as ONNX_NAME
from ftsf_export.bundle.manifest import EngineEntry as EngineEntry
from ftsf_export.bundle.manifest import FileEntry as FileEntry
from ftsf_export.bundle.manifest import Manifest as Manifest
from ftsf_export.bundle.specs import AppliedRewrite as AppliedRewrite
from ftsf_export.bundle.specs import GraphRecord as GraphRecord
from ftsf_export.bundle.specs import Island as Island
from ftsf_export.bundle.specs import Normalisation as Normalisation
from ftsf_export.bundle.specs import PluginNodes as PluginNodes
from ftsf_export.bundle.specs import Preprocessing as Preprocessing
from ftsf_export.bundle.specs import TapSpec as TapSpec
from ftsf_export.bundle.specs import TensorSpec as TensorSpec
from ftsf_export.bundle.weights import CheckpointWeights as CheckpointWeights
from ftsf_export.bundle.weights import GivenWeights as GivenWeights
from ftsf_export.bundle.weights import RandomWeights as RandomWeights
from ftsf_export.bundle.weights import Weights as Weights
from ftsf_export.bundle.writer import BundleWriter as BundleWriter
