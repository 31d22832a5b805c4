"""The constants of an ONNX file: are they numbers, and are they those that were exported?

Outputs alone do not prove the second. With fresh weights the additive term of Fastformer moves its module's output by
a thousandth, which is less than BF16 rounding does: a projection could be zero and no honest limit on outputs would
say so. A digest of each constant's values, kept with the reference values, does, and names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ftsf_export.errors import BundleError, EnvironmentLacks
from ftsf_export.parity.distances import Array
from ftsf_export.verdict import Measure, Status, Verdict

GATE = "weights"
_INSTALL = "pip install 'ftsf-export[onnx]'"


def weights(path: Path) -> Iterator[tuple[str, Array]]:
    """Name and value of every constant: initializers, and the tensors of Constant nodes, in file order.

    One at a time, so that a large file is never held twice. Raises EnvironmentLacks without the onnx package,
    BundleError when the file or its external data cannot be read.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise EnvironmentLacks("the onnx package is not installed", install=_INSTALL) from error
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
        for tensor in graph.initializer:
            yield tensor.name, numpy_helper.to_array(tensor, base_dir=str(path.parent))
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        yield node.output[0], numpy_helper.to_array(attribute.t, base_dir=str(path.parent))
    except Exception as error:
        # onnx raises protobuf's, its own and plain ValueErrors for one and the same thing: a file that is not whole.
        raise BundleError(f"{path.name}: not a readable ONNX file ({' '.join(str(error).split())})") from error


def weight_digests(path: Path) -> dict[str, str]:
    """Name -> SHA-256 (hexadecimal) of type, shape and values. How the file stores them does not matter."""
    return {name: _digest(value) for name, value in weights(path)}


def judge_weights(path: Path, *, subject: str, subject_sha256: str, exported: Mapping[str, str]) -> Verdict:
    """Every constant is finite, and has the digest that ``exported`` records (where it records any).

    NaN comes before all else. Raises like ``weights``, and GateFailed never: an altered file is a failed verdict.
    """
    measures: list[Measure] = []
    count = 0
    found: dict[str, str] = {}
    for name, value in weights(path):
        count += 1
        if (bad := _first_nonfinite(value)) is not None:
            number, index = bad
            measures.append(
                Measure(output=name, metric="non-finite values", value=number, limit=0, passed=False, worst_index=index)
            )
        if exported:
            found[name] = _digest(value)
    altered = [name for name in found if exported.get(name) != found[name]]
    lost = [name for name in exported if name not in found] if exported else []
    measures.extend(
        Measure(output=name, metric="values altered since the export", value=1, limit=0, passed=False)
        for name in [*altered, *lost]
        if not any(m.output == name for m in measures)
    )
    failing = tuple(measures)
    measures.append(Measure(output=subject, metric="constants read", value=count, limit=None, passed=count > 0))
    reason = (
        failing[0].sentence() if failing else "" if count else f"{subject} holds no constants; no evidence is a failure"
    )
    more = f"; and {len(failing) - 1} more" if len(failing) > 1 else ""
    return Verdict(
        gate=GATE,
        status=Status.FAILED if reason else Status.PASSED,
        subject=subject,
        subject_sha256=subject_sha256,
        reason=f"weight {reason}{more}" if failing else reason,
        measures=tuple(measures),
    )


def _digest(value: Array) -> str:
    digest = hashlib.sha256(f"{value.dtype.name}{value.shape}".encode())
    digest.update(np.ascontiguousarray(value).data if value.dtype.kind in "fiub" else value.tobytes())
    return digest.hexdigest()


def _first_nonfinite(value: Array) -> tuple[int, tuple[int, ...]] | None:
    if value.dtype.kind in "iubSUO":
        return None
    bad: Any = ~np.isfinite(value)
    if not bad.any():
        return None
    return int(bad.sum()), tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
