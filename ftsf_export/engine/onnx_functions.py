"""An ONNX file without its functions, read as bytes: the machine that builds an engine may not have the onnx package.

Parsers differ on what wins where a node has a function in the file and a plugin of its name is registered: those of the
first TensorRT 10 take the function, later ones the plugin, the newest the plugin if the node has ``plugin_namespace``.
Without the function there is nothing to choose.
"""

from __future__ import annotations

# onnx.proto: ModelProto.functions. Wire types of protobuf: a varint, 8 bytes, length and content, 4 bytes.
_FUNCTIONS = 25
_VARINT, _EIGHT_BYTES, _CONTENT, _FOUR_BYTES = 0, 1, 2, 5


def without_functions(model: bytes) -> bytes:
    """The same ModelProto without model-local functions. Raises ValueError where the bytes are no protobuf message."""
    kept = bytearray()
    at = 0
    while at < len(model):
        start = at
        key, at = _varint(model, at)
        at = _end_of_field(model, at, key & 7)
        if key >> 3 != _FUNCTIONS:
            kept += model[start:at]
    return bytes(kept)


def _end_of_field(data: bytes, at: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(data, at)[1]
    if kind == _CONTENT:
        size, at = _varint(data, at)
    elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
        size = 8 if kind == _EIGHT_BYTES else 4
    else:
        raise ValueError(f"ONNX file: expected a protobuf field, got wire type {kind} before byte {at}")
    if at + size > len(data):
        raise ValueError(f"ONNX file: cut short: a field of {size} bytes at byte {at} of {len(data)}")
    return at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise ValueError(f"ONNX file: cut short within a number at byte {at}")
