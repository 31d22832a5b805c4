"""The constants of an ONNX file: are they numbers, and are they those that were exported?

Outputs alone do not prove the second. With fresh weights the additive term of Fastformer moves its module's output by
a thousandth, which is less than BF16 rounding does: a projection could be zero and no honest limit on outputs would
say so. A digest of each constant's values, kept with the reference values, does, and names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ftsf_export.errors import BundleError, EnvironmentLacks
from ftsf_export.network.gates import WEIGHTS
from ftsf_export.parity.distances import Array, bad_values
from ftsf_export.verdict import Bound, Measure, Status, Subject, Verdict

_NO_DIGESTS = (
    "the reference values hold no digests of the weights: nothing says that these are the ones that were exported; "
    "export again"
)


def weights(path: Path) -> Iterator[tuple[str, Array]]:
    """Name and value of every constant: initializers, and the tensors of Constant nodes, in file order; those of a
    function under its name.

    One at a time, so that a large file is never held twice. Raises EnvironmentLacks without the onnx package,
    BundleError when the file or its external data cannot be read.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise EnvironmentLacks("the onnx package is not installed", extra="onnx") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
        for tensor in model.graph.initializer:
            yield tensor.name, numpy_helper.to_array(tensor, base_dir=str(path.parent))
        for prefix, nodes in (("", model.graph.node), *((f"{f.name}/", f.node) for f in model.functions)):
            for node in nodes:
                for attribute in node.attribute if node.op_type == "Constant" else ():
                    if attribute.name == "value":
                        value = numpy_helper.to_array(attribute.t, base_dir=str(path.parent))
                        yield prefix + node.output[0], value
    except Exception as error:
        # onnx raises protobuf's, its own and plain ValueErrors for one and the same thing: a file that is not whole.
        raise BundleError(f"{path.name}: not a readable ONNX file ({' '.join(str(error).split())})") from error


def weight_digests(path: Path) -> dict[str, str]:
    """Name -> SHA-256 (hexadecimal) of type, shape and values. How the file stores them does not matter."""
    return {name: _digest(value) for name, value in weights(path)}


def judge_weights(path: Path, subject: Subject, *, exported: Mapping[str, str]) -> Verdict:
    """Every constant is finite, and has the digest that ``exported`` records.

    Raises what ``weights`` raises; a constant that is wrong makes a failed verdict, which names the first one. Without
    digests nothing says that the constants are those that were exported: the verdict is inconclusive.
    """
    measures: list[Measure] = []
    problems: list[str] = []
    found: set[str] = set()
    for name, value in weights(path):
        found.add(name)
        # Texts are neither finite nor not.
        if value.dtype.kind not in "SUO" and (bad := bad_values(value)) is not None:
            count, index = bad
            problems.append(f"{name}: {count} of {value.size} values are NaN or infinite, the first at {list(index)}")
            measures.append(_failing(name, "non-finite values", count, index))
        elif exported and exported.get(name) != _digest(value):
            problems.append(f"{name} is not the one that was exported")
            measures.append(_failing(name, "altered", 1))
    for name in exported:
        if name not in found:
            problems.append(f"{name} was exported and is gone")
            measures.append(_failing(name, "missing", 1))
    if not found:
        problems.append(f"none: {subject.file} holds no constants; no evidence is a failure")
    read = Measure(output=subject.file, metric="constants read", value=len(found), limit=1, bound=Bound.AT_LEAST)
    measures.append(read)
    others = f"; {len(problems) - 1} more weights are wrong" if len(problems) > 1 else ""
    if problems:
        return WEIGHTS.verdict(subject, Status.FAILED, f"weight {problems[0]}{others}", measures)
    if not exported:
        return WEIGHTS.verdict(subject, Status.INCONCLUSIVE, _NO_DIGESTS, measures)
    return WEIGHTS.verdict(subject, Status.PASSED, "", measures)


def _failing(name: str, metric: str, value: float, index: tuple[int, ...] | None = None) -> Measure:
    return Measure(output=name, metric=metric, value=value, limit=0, worst_index=index)


def _digest(value: Array) -> str:
    digest = hashlib.sha256(f"{value.dtype.name}{value.shape}".encode())
    digest.update(np.ascontiguousarray(value).data if value.dtype.kind in "fiub" else value.tobytes())
    return digest.hexdigest()
