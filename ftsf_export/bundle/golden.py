"""golden.npz: inputs, and what eager PyTorch made of them in FP32. Proof of parity for a machine with no PyTorch.

Letters: n clips, S sampled values of one tap.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ftsf_export.bundle.golden_video import GoldenVideo
from ftsf_export.bundle.manifest import GOLDEN_NAME
from ftsf_export.bundle.specs import FLOAT32, UINT8
from ftsf_export.errors import BundleError
from ftsf_export.network.scope import CLIP, FEATURES, LOGITS, OUTPUTS
from ftsf_export.strict_json import SHA256

MAX_SAMPLES = 4096
# Of the clips; all other values are of the first.
TYPES = (FLOAT32, UINT8)
TAP_PREFIX = "tap/"
WEIGHT_ARRAYS = ("weight_names", "weight_sha256")
CONTRAST_PREFIX = "contrast/"
# Field of the contrast -> NumPy's kind of its array, and the number of dimensions.
_CONTRAST_KINDS = {
    "spread": ("f", 1),
    "clips": ("i", 0),
    "best_classes": ("i", 0),
    "untrained": ("U", 0),
    "noise": ("f", 0),
}
# What zipfile and NumPy raise for a file that is cut short, altered, encrypted, packed otherwise or of absurd size.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zlib.error, zipfile.BadZipFile)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How the reference answers clips of different content, more of them than are kept: of its logits, else its
    features."""

    spread: Floats  #: (classes,) or (D,) float32: the standard deviation of each value over the clips.
    clips: int  #: How many clips.
    best_classes: int  #: How many different classes are the best one of a clip; of features their largest value.
    #: Why the class scores mean nothing yet ("the weights are as they were drawn"); "" where they may mean something.
    untrained: str = ""
    noise: float = 0.0  #: Of the spread: the error of the logits of one clip in FP32 against float64.


@dataclass(frozen=True)
class Golden:
    """Reference values."""

    clip: npt.NDArray[Any]  #: (n, ...) five dimensions, float32 or uint8, as the manifest says of the graph's input.
    logits: Floats | None  #: (n, classes) float32, eager FP32; None where the graph gives features alone.
    sources: tuple[str, ...]  #: One description a clip ("noise seed 0", "bigbuckbunny.mp4 frames 0..112").
    labels: tuple[str, ...] | None = None  #: N known labels, or None.
    #: Name -> (n, S) float32, the eager tap at ``sample_positions`` of one clip's flattened values.
    taps: Mapping[str, Floats] = field(default_factory=dict)
    #: Name of each constant of ``model.onnx`` -> SHA-256 (hexadecimal) of its type, shape and values when it was
    #: exported; empty when none were recorded. Reference outputs alone cannot tell a weight whose part in them is
    #: smaller than half precision rounds.
    weights: Mapping[str, str] = field(default_factory=dict)
    contrast: Contrast | None = None  #: None in reference values that nobody made so.
    #: Output -> relative L2 error of the eager model in FP32 against itself in float64, on one clip.
    noise: Mapping[str, float] = field(default_factory=dict)
    features: Floats | None = None  #: (n, D) float32, the class token after the last norm; None where it is no output.
    video: GoldenVideo | None = None  #: The real video that one of the clips was made of; None where none was given.

    @property
    def outputs(self) -> dict[str, Floats]:
        """Name -> reference values of each output of the graph."""
        each = {LOGITS: self.logits, FEATURES: self.features}
        return {name: values for name, values in each.items() if values is not None}

    @property
    def answer(self) -> tuple[str, Floats]:
        """What the graph is asked for first: its logits, else its features."""
        return next(iter(self.outputs.items()))

    def __post_init__(self) -> None:
        if problem := _golden_problem(self):
            raise ValueError(f"golden values: {problem}")


def sample_positions(size: int) -> npt.NDArray[np.int64]:
    """Flat positions at which a tap of ``size`` values a clip is kept: all, or 4096 evenly spaced, ends included."""
    if size < 1:
        raise ValueError(f"a tap holds at least one value, got {size}")
    count = min(size, MAX_SAMPLES)
    # Whole-number arithmetic: np.linspace rounds differently from one NumPy to the next.
    return np.arange(count, dtype=np.int64) * (size - 1) // max(count - 1, 1)


def sample_tap(values: npt.NDArray[Any]) -> Floats:
    """(n, ...) -> (n, S) float32: one tap of n clips at its ``sample_positions``."""
    flat = np.asarray(values).reshape(len(values), -1)
    # What is beyond float32 becomes infinite, and is named where it is judged.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(flat[:, sample_positions(flat.shape[1])], dtype=np.float32)


def write_golden(
    path: str | Path,
    *,
    clip: npt.NDArray[Any],
    logits: npt.NDArray[Any] | None,
    sources: Sequence[str],
    labels: Sequence[str] | None = None,
    taps: Mapping[str, npt.NDArray[Any]],
    weights: Mapping[str, str] | None = None,
    contrast: Contrast | None = None,
    features: npt.NDArray[Any] | None = None,
    noise: Mapping[str, float] | None = None,
    video: GoldenVideo | None = None,
) -> Golden:
    """Writes the file, the same bytes for the same values; gives what was written.

    ``taps`` are sampled already: (n, S), see ``sample_tap``. Raises ValueError for wrong shapes, types or values
    that are not finite.
    """
    golden = Golden(
        clip=np.asarray(clip),
        logits=None if logits is None else np.asarray(logits),
        sources=tuple(sources),
        labels=None if labels is None else tuple(labels),
        taps={name: np.asarray(values) for name, values in taps.items()},
        weights=dict(weights or {}),
        contrast=contrast,
        features=None if features is None else np.asarray(features),
        noise=dict(noise or {}),
        video=video,
    )
    arrays: dict[str, Any] = {CLIP: golden.clip, **golden.outputs}
    arrays["sources"] = np.asarray(golden.sources, dtype=np.str_)
    if golden.labels is not None:
        arrays["labels"] = np.asarray(golden.labels, dtype=np.str_)
    arrays.update({TAP_PREFIX + name: values for name, values in golden.taps.items()})
    if golden.weights:
        texts = (list(golden.weights), list(golden.weights.values()))
        arrays.update({key: np.asarray(text, dtype=np.str_) for key, text in zip(WEIGHT_ARRAYS, texts, strict=True)})
    if contrast is not None:
        arrays.update({CONTRAST_PREFIX + name: np.asarray(value) for name, value in vars(contrast).items()})
    if video is not None:
        arrays.update(video.arrays())
    if golden.noise:
        arrays["noise_names"] = np.asarray(list(golden.noise), dtype=np.str_)
        arrays["noise"] = np.asarray(list(golden.noise.values()), dtype=np.float64)
    # An entry that NumPy writes has no time of its own: the same values give the same bytes.
    np.savez(path, **arrays)
    return golden


def read_golden(source: str | Path | IO[bytes], name: str = GOLDEN_NAME) -> Golden:
    """Raises BundleError, with ``name``, when the file is damaged or its values are not reference values."""
    try:
        # Not np.load: it leaves a damaged file open, and takes a pickle or a bare array under this name too.
        with zipfile.ZipFile(source) as archive:
            _check_unpacked(archive)
            arrays = {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}
    except _UNREADABLE as error:
        raise BundleError(f"{name}: not a readable NumPy archive ({error}); write the bundle again") from error
    missing = [key for key in (CLIP, "sources") if key not in arrays]
    if missing:
        raise BundleError(f"{name}: array {missing[0]!r} is missing; write the bundle again")
    try:
        return Golden(
            clip=arrays.pop(CLIP),
            logits=arrays.pop(LOGITS, None),
            features=arrays.pop(FEATURES, None),
            sources=_texts("sources", arrays.pop("sources")),
            labels=_texts("labels", arrays.pop("labels")) if "labels" in arrays else None,
            weights=_weights(arrays),
            contrast=_contrast(arrays),
            noise=_noise(arrays),
            video=GoldenVideo.taken_from(arrays),
            taps={_tap_name(key): values for key, values in arrays.items()},
        )
    except ValueError as error:
        raise BundleError(f"{name}: {error}") from error


def _check_unpacked(archive: zipfile.ZipFile) -> None:
    """Raises ValueError, before anything is unpacked, where more comes out than the file has bytes: ours are stored as
    they are, so one that is packed, or whose entries overlap, is none of ours."""
    assert archive.fp is not None
    size = archive.fp.seek(0, os.SEEK_END)
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > size:
        raise ValueError(f"it unpacks to {unpacked} bytes and has {size}; reference values are not packed")


def _weights(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, str]:
    """Takes the two arrays of weight digests out of ``arrays``."""
    present = [key for key in WEIGHT_ARRAYS if key in arrays]
    if len(present) == 1:
        raise ValueError(f"array {present[0]!r} stands alone: expected {' and '.join(WEIGHT_ARRAYS)}, or neither")
    names, digests = (_texts(key, arrays.pop(key)) if present else () for key in WEIGHT_ARRAYS)
    if len(names) != len(digests) or len(set(names)) != len(names):
        raise ValueError(f"weights: expected one digest for each of {len(names)} different names, got {len(digests)}")
    return dict(zip(names, digests, strict=True))


def _contrast(arrays: dict[str, npt.NDArray[Any]]) -> Contrast | None:
    """Takes the arrays of the contrast out of ``arrays``."""
    if not any(key.startswith(CONTRAST_PREFIX) for key in arrays):
        return None
    fields: dict[str, Any] = {}
    for name, (kind, rank) in _CONTRAST_KINDS.items():
        value = arrays.pop(CONTRAST_PREFIX + name, None)
        if value is None or value.dtype.kind != kind or value.ndim != rank:
            got = "nothing" if value is None else f"{value.dtype} of shape {value.shape}"
            raise ValueError(f"{CONTRAST_PREFIX}{name}: expected type {kind!r} of {rank} dimensions, got {got}")
        fields[name] = value if rank else value.item()
    return Contrast(**fields)


def _noise(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, float]:
    """Takes the two arrays of the reference's own error out of ``arrays``."""
    names, values = arrays.pop("noise_names", None), arrays.pop("noise", None)
    if names is None and values is None:
        return {}
    if names is None or values is None or values.dtype.kind != "f" or values.shape != names.shape:
        raise ValueError("noise: expected one number for each of noise_names")
    return dict(zip(_texts("noise_names", names), values.tolist(), strict=True))


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _tap_name(key: str) -> str:
    if not key.startswith(TAP_PREFIX):
        raise ValueError(
            f"array {key!r} is unknown: expected {CLIP}, {LOGITS}, {FEATURES}, sources, labels or {TAP_PREFIX}<name>"
        )
    return key[len(TAP_PREFIX) :]


def _texts(name: str, values: npt.NDArray[Any]) -> tuple[str, ...]:
    if values.dtype.kind != "U" or values.ndim != 1:
        raise ValueError(f"{name}: expected one text a clip, got {values.dtype} of shape {values.shape}")
    return tuple(str(value) for value in values)


def _golden_problem(golden: Golden) -> str:
    clips = len(golden.clip) if golden.clip.ndim else 0
    if not clips:
        return "expected at least one clip, got none"
    if len(golden.sources) != clips or (golden.labels is not None and len(golden.labels) != clips):
        return f"expected {clips} sources, and as many labels if any; got {len(golden.sources)}"
    if not golden.outputs:
        return f"expected {' or '.join(OUTPUTS)}, got neither"
    arrays = {CLIP: (golden.clip, 5), **{name: (values, 2) for name, values in golden.outputs.items()}}
    arrays.update({TAP_PREFIX + name: (values, 2) for name, values in golden.taps.items()})
    for name, (values, rank) in arrays.items():
        types = TYPES if name == CLIP else TYPES[:1]
        if values.dtype not in types or values.ndim != rank or len(values) != clips or not values.size:
            got = f"{values.dtype} of shape {values.shape}"
            return f"{name}: expected {' or '.join(types)}, {rank} dimensions, {clips} clips; got {got}"
        if not np.isfinite(values).all():
            worst = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            return f"{name}: not finite at {list(worst)}: a reference with NaN or infinity proves nothing"
    if golden.contrast is not None and (problem := _contrast_problem(golden.contrast, golden.answer[1].shape[1])):
        return CONTRAST_PREFIX + problem
    if golden.video is not None and golden.video.clip >= clips:
        return f"video: expected one of {clips} clips, got number {golden.video.clip}"
    for name, noise in golden.noise.items():
        if not np.isfinite(noise) or noise < 0:
            return f"noise of {name!r}: expected a number of at least 0, got {noise}"
    for name, digest in golden.weights.items():
        if not name or not SHA256.holds(digest):
            return f"weight {name!r}: expected a name and 64 hexadecimal digits, got {digest!r}"
    return ""


def _contrast_problem(contrast: Contrast, classes: int) -> str:
    spread = contrast.spread
    if spread.dtype != np.float32 or spread.shape != (classes,):
        return f"spread: expected float32 of shape ({classes},), got {spread.dtype} of shape {spread.shape}"
    if not (np.isfinite(spread) & (spread >= 0)).all():
        return "spread: expected finite numbers of at least 0"
    if contrast.clips < 2:
        return f"clips: expected at least 2, got {contrast.clips}"
    if not 1 <= contrast.best_classes <= min(classes, contrast.clips):
        return f"best_classes: expected 1 to {min(classes, contrast.clips)}, got {contrast.best_classes}"
    if not np.isfinite(contrast.noise) or contrast.noise < 0:
        return f"noise: expected a number of at least 0, got {contrast.noise}"
    return ""
