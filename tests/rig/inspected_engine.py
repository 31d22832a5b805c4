"""Run as a script: an engine with dynamic shapes, inspected. inspected_engine.py LAYERS [REFUSED]

NVIDIA's bindings are real, and what they call stands here: a runtime, an engine, its context and its inspector, as
TensorRT 10 and 11 have them. The inspector tells types only where it holds the context, and says at which shape it was
asked; LAYERS is what it tells then. The context takes no batch REFUSED. Prints what ``engine.inspection`` answers.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
from ctypes import POINTER, c_bool, c_char_p, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import tensorrt as trt
from gpu import Gpu
from tensorrt_half import Dims, Made, Registry

from ftsf_export.engine.inspection import Inspection, inspect
from ftsf_export.process.channel import Message
from ftsf_export.strict_json import plain

VERSION = tuple(int(part) for part in trt.__version__.split(".")[:2])
# Places among the virtual functions of NvInferImpl.h; TensorRT 11 dropped what had a later form.
_NEW = VERSION >= (11,)
DESERIALIZE = 3
CREATE_CONTEXT, CREATE_INSPECTOR = 5, 14 if _NEW else 18
SET_INPUT_SHAPE = 20 if _NEW else 21
SET_CONTEXT, INFORMATION = 3, 6
_ENDS: dict[int, Any] = {slot: (c_void_p, (), lambda *_: None) for slot in (0, 1)}
BATCHES = (2, 1, 4)


class Engine:
    """The four objects, and what they were asked."""

    def __init__(self, layers: str, refused: int) -> None:
        self.layers, self.refused = layers, refused
        self.shape: list[int] = []
        self.inspected_context: int | None = None
        self.kept: list[bytes] = []
        self.context = Made({**_ENDS, SET_INPUT_SHAPE: (c_bool, (c_char_p, POINTER(Dims)), self._set_shape)})
        self.inspector = Made(
            {
                **_ENDS,
                SET_CONTEXT: (c_bool, (c_void_p,), self._set_context),
                INFORMATION: (c_void_p, (c_int32,), self._information),
            }
        )
        self.engine = Made(
            {
                **_ENDS,
                CREATE_CONTEXT: (c_void_p, (c_int32,), lambda *_: self.context.address),
                CREATE_INSPECTOR: (c_void_p, (), lambda *_: self.inspector.address),
            }
        )
        self.runtime = Made({**_ENDS, DESERIALIZE: (c_void_p, (c_void_p, c_size_t), lambda *_: self.engine.address)})

    def _set_shape(self, _: int, name: bytes, dims: Any) -> bool:
        assert name == b"clip"
        self.shape = list(dims.contents.d[: dims.contents.count])
        return self.shape[0] != self.refused

    def _set_context(self, _: int, context: int | None) -> bool:
        self.inspected_context = context
        return True

    def _information(self, _: int, form: int) -> int | None:
        assert form == int(trt.LayerInformationFormat.JSON)
        known = self.inspected_context == self.context.address
        told = json.loads(self.layers) if known else {"Layers": "N/A due to dynamic shapes"}
        self.kept.append(json.dumps({**told, "shape": self.shape if known else None}).encode())
        return ctypes.cast(c_char_p(self.kept[-1]), c_void_p).value


def main(layers: str, refused: str = "0") -> None:
    Gpu("a100")
    library = ctypes.CDLL(f"libnvinfer.so.{VERSION[0]}")
    registry, engine = Registry(library, VERSION), Engine(layers, int(refused))
    c_void_p.in_dll(library, "rig_createInferRuntime_INTERNAL").value = engine.runtime.address
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tensorrt-a100-fp16.engine")
        path.write_bytes(b"plan")
        order = Inspection(engine=path, input_name="clip", shapes=tuple((batch, 8, 3, 224, 224) for batch in BATCHES))
        answer = inspect(Message(plain(order)), lambda _: None)
    assert registry.address
    print(json.dumps({"layers": [json.loads(text) for text in answer.value["layers"]],
                      "problem": answer.value["problem"]}))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
