"""Graphs: one to three things otherwise in ``model.onnx``, and hashes that agree, so that it is read at all."""

from __future__ import annotations

from pathlib import Path
from random import Random

import onnx

from tests.integration.hostile.case import Case
from tests.integration.hostile.clean import BUNDLES
from tests.integration.hostile.damage import damaged
from tests.integration.hostile.kinds import manifests
from tests.integration.hostile.kinds.graph_nodes import NODE_WAYS
from tests.integration.hostile.kinds.graph_tensors import TENSOR_WAYS, external_data
from tests.integration.hostile.kinds.graph_work import WORK_WAYS

_WEIGHTS = {"verify": 56, "info": 16, "bench": 12, "plan": 13, "build": 3}
_NAME = "model.onnx"


def forge(draw: Random, clean: Path, work: Path) -> Case:
    base = draw.choice(BUNDLES)
    root = manifests.copied_bundle(clean, work, base)
    turn = draw.random()
    if turn < 0.12:
        what = external_data(draw, root)
    elif turn < 0.3:
        data, what = (damaged if turn < 0.24 else _joined)(draw, (root / _NAME).read_bytes())
        (root / _NAME).write_bytes(data)
    else:
        model = onnx.load(root / _NAME)
        ways = draw.choices((NODE_WAYS, TENSOR_WAYS, WORK_WAYS), (50, 30, 20), k=draw.choice((1, 1, 2, 3)))
        what = "; ".join(draw.choice(group)(draw, model) for group in ways)
        (root / _NAME).write_bytes(model.SerializeToString())
    manifests.list_anew(root, _NAME)
    return manifests.case_of(draw, f"{_NAME}: {what}, re-hashed", base, _WEIGHTS)


def _joined(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Protobuf takes messages that stand behind each other, fields that nobody knows, and names in any encoding."""
    key = draw.choice((1, 2, 6, 7, 15, 99, 1 << 20)) << 3
    forms = {
        "twice behind itself": data + data,
        "an unknown field of a megabyte": data + _varint(99 << 3 | 2) + _varint(1 << 20) + bytes(1 << 20),
        "a field of half its size": data + _varint(key | 2) + _varint(1 << 16) + b"x",
        "a varint without end": data + _varint(key) + b"\xff" * 12,
        "a group": data + _varint(key | 3) + b"\0" + _varint(key | 4),
        "a text in Latin-1": data.replace(b"MatMul", b"MatM\xfcl", 1),
        "a NUL in a name": data.replace(b"MatMul", b"Mat\0ul", 1),
        "200,000 empty fields": data + _varint(8 << 3 | 2) + b"\0" + b"\x42\x00" * 200_000,
        "messages in each other": data + _nested(draw.choice((20, 150, 5000))),
    }
    what = draw.choice(list(forms))
    return forms[what], what


def _nested(depth: int) -> bytes:
    """ModelProto.graph, node, attribute, g, node, ...: each within the last."""
    inner = b""
    for level in range(depth):
        number = (1, 5, 6)[level % 3]
        inner = _varint(number << 3 | 2) + _varint(len(inner)) + inner
    return _varint(7 << 3 | 2) + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
