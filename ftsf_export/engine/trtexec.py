"""The same build with NVIDIA's own tool, for whoever wants to see the plan without us."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def trtexec_command(onnx_path: str, *, input_name: str, shape: Sequence[int], dynamic: bool) -> str:
    """One line for a shell on the target (TensorRT 10 or later): compiles ``onnx_path``, tells its layers, no more.

    ``shape`` is given only where the graph is ``dynamic``: trtexec refuses to be told the shape of a static one.
    """
    words = ["trtexec", f"--onnx={onnx_path}", "--stronglyTyped", "--noTF32"]
    if dynamic:
        words.append(f"--shapes={input_name}:{'x'.join(map(str, shape))}")
    words += ["--profilingVerbosity=detailed", "--dumpLayerInfo", "--exportLayerInfo=layers.json", "--skipInference"]
    return shlex.join(words)
