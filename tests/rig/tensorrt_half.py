"""TensorRT's half of a conversation with a plugin: NVIDIA's bindings are real, and what calls them stands here.

A C++ object is a pointer to a pointer to a table of functions (Itanium C++ ABI). Objects that NVIDIA's bindings make,
creators and plugins, are called through their tables, as the builder and the runtime do; objects that the bindings
call, the registry and the maker of symbolic sizes, have tables of Python functions. Slots are places among the virtual
functions of NvInferRuntime.h and NvInferRuntimePlugin.h of TensorRT 10.3, 10.13 and 11.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_void_p
from typing import Any

# IVersionedInterface has two functions and a destructor, which takes two slots.
_FIRST = 4
# apiv::VRoot has a destructor alone.
_ROOT = 2
CREATE_PLUGIN, FIELD_NAMES = _FIRST, _FIRST + 1
CAPABILITY, CLONE = _FIRST, _FIRST + 1
CONFIGURE, OUTPUT_TYPES, OUTPUT_SHAPES, SUPPORTS = _FIRST, _FIRST + 1, _FIRST + 2, _FIRST + 3
ON_SHAPE_CHANGE, ENQUEUE, ATTACH, SERIALIZED = _FIRST + 1, _FIRST + 2, _FIRST + 3, _FIRST + 4
CORE, BUILD, RUNTIME = 0, 1, 2  # PluginCapabilityType
PHASE_BUILD, PHASE_RUNTIME = 0, 1  # TensorRTPhase
FLOAT, HALF, BF16 = 0, 1, 7  # DataType
CHAR, INT32, FLOAT32 = 6, 5, 1  # PluginFieldType


class Dims(Structure):
    _fields_ = [("count", c_int32), ("d", c_int64 * 8)]


class TensorDesc(Structure):
    """PluginTensorDesc."""

    _fields_ = [("dims", Dims), ("type", c_int32), ("format", c_int32), ("scale", c_float)]


class DynamicDesc(Structure):
    """DynamicPluginTensorDesc."""

    _fields_ = [("desc", TensorDesc), ("least", Dims), ("most", Dims), ("optimum", Dims)]


class Field(Structure):
    """PluginField: the parser hands attributes over in these, strings with the NUL that ends them."""

    _fields_ = [("name", c_char_p), ("data", c_void_p), ("type", c_int32), ("length", c_int32)]


class Fields(Structure):
    """PluginFieldCollection."""

    _fields_ = [("count", c_int32), ("fields", POINTER(Field))]


class DimsExprs(Structure):
    _fields_ = [("count", c_int32), ("d", c_void_p * 8)]


class Made:
    """A C++ object whose virtual functions are Python's. A slot that nobody has given says so and ends the process."""

    def __init__(self, functions: dict[int, tuple[Any, Sequence[Any], Callable[..., Any]]], slots: int = 64) -> None:
        # In front of the functions: how far the object's head is, and its type. pybind11 looks it up and falls back on
        # the declared type; here it is one that is no class of NVIDIA's.
        self.table = (c_void_p * (2 + slots))()
        self.table[1] = ctypes.addressof(c_void_p.in_dll(ctypes.CDLL("libstdc++.so.6"), "_ZTISt9exception"))
        self.kept = []
        for slot in range(slots):
            returned, kinds, function = functions.get(slot, (c_void_p, (), _missing(slot)))
            made = ctypes.CFUNCTYPE(returned, c_void_p, *kinds)(function)
            self.kept.append(made)
            self.table[2 + slot] = ctypes.cast(made, c_void_p).value
        functions_at = ctypes.addressof(self.table) + 2 * ctypes.sizeof(c_void_p)
        self.object = (c_void_p * 2)(functions_at, functions_at)
        # Most of NVIDIA's classes hold what has the functions (``mImpl``): such an object is its own.
        self.object[1] = self.address = ctypes.addressof(self.object)


def _missing(slot: int) -> Callable[..., Any]:
    def called(*_: Any) -> Any:
        import os

        os.write(2, f"rig: virtual function {slot} was called, and nothing is there\n".encode())
        os._exit(86)

    return called


def call(instance: int, slot: int, returned: Any, *arguments: tuple[Any, Any]) -> Any:
    """Call a virtual function of a C++ object; ``arguments`` are (type, value)."""
    table = ctypes.cast(instance, POINTER(POINTER(c_void_p))).contents
    function = ctypes.CFUNCTYPE(returned, c_void_p, *(kind for kind, _ in arguments))(table[slot])
    return function(instance, *(value for _, value in arguments))


class Registry(Made):
    """IPluginRegistry: keeps what is registered, by name."""

    def __init__(self, library: Any, version: tuple[int, ...]) -> None:
        self.creators: list[int] = []
        self._asked: Callable[[], Any] | None = None
        self._answer: Any = None
        first, load_library = (12, 10) if version < (11,) else (8, 6)
        super().__init__(
            {
                load_library: (c_void_p, (c_char_p,), lambda *_: self._answer_now()),
                first: (ctypes.c_bool, (c_void_p, c_char_p), lambda _, creator, __: self.register(creator)),
                first + 2: (c_void_p, (c_char_p,) * 3, lambda *_: self.creators[-1] if self.creators else None),
            }
        )
        for name in ("getPluginRegistry", "getBuilderPluginRegistry"):
            c_void_p.in_dll(library, f"rig_{name}").value = self.address

    def register(self, creator: int) -> bool:
        self.creators.append(creator)
        return True

    def inside(self, trt: Any, asked: Callable[[], Any]) -> Any:
        """What ``asked`` answers, called inside of a call of the bindings, where the builder calls a plugin: there, and
        not elsewhere, pybind11 converts what a plugin returns and keeps it until that call ends."""
        self._asked = asked
        trt.get_plugin_registry().load_library("")
        return self._answer

    def _answer_now(self) -> None:
        assert self._asked is not None
        self._answer = self._asked()


def fields_of(attributes: dict[str, Any]) -> tuple[Fields, list[Any]]:
    """A collection as the parser makes it, and what it points into."""
    kept: list[Any] = []
    listed = (Field * len(attributes))()
    for field, (name, value) in zip(listed, attributes.items(), strict=True):
        if isinstance(value, str):
            data: Any = ctypes.create_string_buffer(value.encode())
            kind, length = CHAR, len(value) + 1
        else:
            data = c_int32(value) if isinstance(value, int) else c_float(value)
            kind, length = INT32 if isinstance(value, int) else FLOAT32, 1
        kept.append(data)
        field.name, field.data, field.type, field.length = name.encode(), ctypes.addressof(data), kind, length
    return Fields(len(listed), listed), [*kept, listed]


def tensor(shape: Sequence[int], dtype: int) -> TensorDesc:
    """A linear tensor's description."""
    return TensorDesc(Dims(len(shape), (c_int64 * 8)(*shape)), dtype, 0, 1.0)


def dynamic(shape: Sequence[int], dtype: int) -> DynamicDesc:
    """The same, with a profile of this one shape."""
    desc = tensor(shape, dtype)
    return DynamicDesc(desc, desc.dims, desc.dims, desc.dims)


class Numbers:
    """IExprBuilder and its IDimensionExpr, where every size is a number."""

    def __init__(self) -> None:
        self.made: dict[int, Made] = {}
        self.values: dict[int, int] = {}
        operations = {0: lambda a, b: a + b, 1: lambda a, b: a * b, 2: max, 3: min, 4: lambda a, b: a - b,
                      5: lambda a, b: int(a == b), 6: lambda a, b: int(a < b), 7: lambda a, b: a // b,
                      8: lambda a, b: math.ceil(a / b)}  # fmt: skip
        # DimensionOperation: SUM, PROD, MAX, MIN, SUB, EQUAL, LESS, FLOOR_DIV, CEIL_DIV.
        self.builder = Made(
            {
                _ROOT: (c_void_p, (c_int64,), lambda _, value: self.of(value)),
                _ROOT + 1: (
                    c_void_p,
                    (c_int32, c_void_p, c_void_p),
                    lambda _, kind, a, b: self.of(operations[kind](self.values[a], self.values[b])),
                ),
            }
        )

    def of(self, value: int) -> int:
        """The address of an IDimensionExpr."""
        one = Made(
            {
                _ROOT: (ctypes.c_bool, (), lambda _: True),
                _ROOT + 1: (c_int64, (), lambda _: value),
                _ROOT + 2: (ctypes.c_bool, (), lambda _: False),
            },
            slots=8,
        )
        self.made[one.address], self.values[one.address] = one, value
        return one.address

    def shape(self, sizes: Sequence[int]) -> DimsExprs:
        return DimsExprs(len(sizes), (c_void_p * 8)(*(self.of(size) for size in sizes)))

    def sizes(self, shape: DimsExprs) -> list[int]:
        return [self.values[shape.d[index]] for index in range(shape.count)]
