"""TensorRT's field collections: attributes of a node as the parser hands them over, and what an engine holds.

``trt`` is the module of the bindings.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

_FORMATS = {int: "i", float: "f"}


class _PluginField(ctypes.Structure):
    """``PluginField`` of NvInferRuntimePlugin.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("length", ctypes.c_int32),
    ]


def field_type(trt: Any, kind: type) -> Any:
    """TensorRT's type of a field that holds a value of that kind: int, float, str or bytes."""
    kinds = trt.PluginFieldType
    return {int: kinds.INT32, float: kinds.FLOAT32, str: kinds.CHAR, bytes: kinds.INT8}[kind]


def field(trt: Any, name: str, kind: type, value: Any) -> tuple[Any, Any]:
    """A field, and the array that it points into, which must live as long."""
    if kind in (str, bytes):
        array: Any = np.frombuffer(value.encode() if kind is str else value, dtype=np.int8)
    else:
        array = np.array([value], dtype=np.int32 if kind is int else np.float32)
    return trt.PluginField(name, array, field_type(trt, kind)), array


def read_fields(trt: Any, fields: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Values of a field collection by name, of those that ``kinds`` names."""
    by_address = not reads_arrays(trt)
    found: dict[str, Any] = {}
    for one in fields:
        kind = kinds.get(one.name)
        if kind is None:
            continue
        content = _at_its_address(one, kind) if by_address else np.asarray(one.data).tobytes()
        if kind is str:
            # The parser counts the end of a C string in.
            found[one.name] = content.rstrip(b"\0").decode()
        else:
            found[one.name] = content if kind is bytes else struct.unpack_from(_FORMATS[kind], content)[0]
    return found


def reads_arrays(trt: Any) -> bool:
    """Whether ``PluginField.data`` gives what the field holds.

    Bindings that were made for NumPy 1 (TensorRT 10.3 to 10.13 at least) misread the array types of NumPy 2, and give
    an array that repeats the field's first byte.
    """
    probe = field(trt, "probe", bytes, b"ab")
    return np.asarray(probe[0].data).tobytes() == b"ab"


def _at_its_address(one: Any, kind: type) -> bytes:
    """What the C++ object behind a field points to: in an object of pybind11 its address comes first.

    Raises ValueError where that is not so: the name and the length that are there must be the field's.
    """
    address = ctypes.c_void_p.from_address(id(one) + object.__basicsize__).value
    held = _PluginField.from_address(address or 0)
    if held.name != one.name.encode() or held.length != one.size:
        raise ValueError(f"field {one.name}: these bindings do not go with this NumPy; install numpy below version 2")
    return ctypes.string_at(held.data, held.length * (4 if kind in _FORMATS else 1))


def word(value: str) -> str:
    """A string attribute from what NVIDIA's creator of quickly deployable plugins makes of it: it leaves the NUL that
    ends a C string (``plugin/_lib.py`` of 10.13 and 11.4)."""
    return value.rstrip("\0")
