"""The same build with NVIDIA's own tool, for whoever wants to see the plan without us."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence


def trtexec_command(onnx_path: str, shapes: Mapping[str, Sequence[int]]) -> str:
    """One line for a shell on the target (TensorRT 10 or later): compiles ``onnx_path``, tells its layers, no more.

    ``shapes``: of the inputs with a dynamic shape alone, for trtexec refuses to be told that of a static one.
    """
    words = ["trtexec", f"--onnx={onnx_path}", "--stronglyTyped", "--noTF32"]
    if shapes:
        words.append("--shapes=" + ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items()))
    words += ["--profilingVerbosity=detailed", "--dumpLayerInfo", "--exportLayerInfo=layers.json", "--skipInference"]
    return shlex.join(words)
