"""Constants of a graph: sizes, types, bytes, sparse ones, and values that lie in other files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.integration.hostile.damage import put_special
from tests.integration.hostile.kinds import manifests
from tests.integration.hostile.wild import INTEGERS_64

Model = Any
_LOCATIONS = (
    "../outside/secret", "/etc/hostname", "*/_ORT_MEM_ADDR_/*", "a//b", "./w.bin", "w\\x", "", "w.bin\0", "model.onnx",
    "manifest.json", "nowhere.bin", "/dev/zero", "caf\u00e9.bin", "x" * 5000, "file:///etc/hostname", "w.bin/..",
)  # fmt: skip


def _tensor(draw: Random, model: Model) -> Any:
    if not model.graph.initializer:
        model.graph.initializer.append(helper.make_tensor("lone", TensorProto.FLOAT, [1], [1.0]))
    return draw.choice(model.graph.initializer)


def sizes(draw: Random, model: Model) -> str:
    tensor = _tensor(draw, model)
    how = draw.choice(("value", "value", "more", "none"))
    if how == "none" or not tensor.dims:
        del tensor.dims[:]
        return f"{tensor.name}: no dimension"
    if how == "more":
        tensor.dims.extend([1] * draw.choice((1, 8, 70)))
        return f"{tensor.name}: of {len(tensor.dims)} dimensions"
    place = draw.randrange(len(tensor.dims))
    tensor.dims[place] = draw.choice(INTEGERS_64)
    return f"{tensor.name}: size {tensor.dims[place]}"


def kind(draw: Random, model: Model) -> str:
    tensor = _tensor(draw, model)
    tensor.data_type = draw.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22, 23, 99, 2**31 - 1, -1))
    return f"{tensor.name} of type {tensor.data_type}"


def data(draw: Random, model: Model) -> str:
    tensor = _tensor(draw, model)
    how = draw.choice(("short", "long", "none", "two fields", "noise"))
    held = tensor.raw_data
    if how == "two fields":
        tensor.float_data.extend([1.0] * 4)
    else:
        tensor.raw_data = {"short": held[:-1], "long": held * 2, "none": b"", "noise": draw.randbytes(len(held))}[how]
    return f"{tensor.name}: bytes {how}"


def numbers(draw: Random, model: Model) -> str:
    """Weights of other values: a little, much, or no numbers at all."""
    floats = [one for one in model.graph.initializer if one.data_type in (1, 10) and one.raw_data] or [
        _tensor(draw, model)
    ]
    tensor = draw.choice(floats)
    by = draw.choice((0.0, 1 + 1e-3, -1.0, 1e3, 1e30, float("nan"), float("inf")))
    try:
        with np.errstate(all="ignore"):
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array((value * value.dtype.type(by)).astype(value.dtype), tensor.name))
    except (ValueError, TypeError, OverflowError):
        return f"{tensor.name}: left alone"
    return f"{tensor.name} times {by:g}"


def integers(draw: Random, model: Model) -> str:
    """Shapes, axes and indices that a graph holds as constants."""
    held = [one for one in model.graph.initializer if one.data_type == 7 and one.raw_data] or [_tensor(draw, model)]
    tensor = draw.choice(held)
    try:
        value = numpy_helper.to_array(tensor).copy()
        flat = value.reshape(-1)
        place = draw.randrange(flat.size)
        flat[place] = draw.choice(INTEGERS_64)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    except (ValueError, TypeError, OverflowError):
        return f"{tensor.name}: left alone"
    return f"{tensor.name}: {flat[place]} at {place}"


def gone(draw: Random, model: Model) -> str:
    if not model.graph.initializer:
        return "no constant to take away"
    index = draw.randrange(len(model.graph.initializer))
    name = model.graph.initializer[index].name
    del model.graph.initializer[index]
    return f"without the constant {name}"


def twice(draw: Random, model: Model) -> str:
    tensor = _tensor(draw, model)
    copied = model.graph.initializer.add()
    copied.CopyFrom(tensor)
    if draw.random() < 0.5:
        copied.raw_data = bytes(len(copied.raw_data))
    return f"{tensor.name} twice"


def name(draw: Random, model: Model) -> str:
    tensor = _tensor(draw, model)
    before, tensor.name = tensor.name, draw.choice(("", "clip", "logits", "\x1b[2J", "x" * 70_000))
    return f"{before} is called {tensor.name[:20]!r}"


def sparse(draw: Random, model: Model) -> str:
    size = draw.choice((4, 2**40))
    values = helper.make_tensor(
        draw.choice(("extra", "clip", model.graph.initializer[0].name)), TensorProto.FLOAT, [1], [1.0]
    )
    indices = helper.make_tensor("", TensorProto.INT64, [1], [draw.choice((0, 5, -1, 2**62))])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [size]))
    return f"a sparse constant of {size} numbers"


def huge(draw: Random, model: Model) -> str:
    """A constant that says it is large and holds nothing."""
    size = draw.choice((2**31, 2**40, 2**62))
    tensor = model.graph.initializer.add(name="huge", data_type=TensorProto.FLOAT)
    tensor.dims.extend([size])
    if draw.random() < 0.5:
        node = draw.choice(model.graph.node) if model.graph.node else model.graph.node.add(op_type="Add")
        node.input.append("huge")
    return f"a constant of {size} numbers without bytes"


TENSOR_WAYS = (
    sizes,
    sizes,
    kind,
    data,
    numbers,
    numbers,
    integers,
    integers,
    integers,
    gone,
    twice,
    name,
    sparse,
    huge,
)


def external_data(draw: Random, root: Path) -> str:
    """The values of a constant move to another file: as an honest writer does it, or not at all so."""
    model = onnx.load(root / "model.onnx")
    tensor = draw.choice([one for one in model.graph.initializer if one.raw_data])
    held, length = tensor.raw_data, len(tensor.raw_data)
    how = draw.choice(("honest", "unlisted", "beyond", "elsewhere", "elsewhere", "special", "zeroed", "odd key"))
    entries = {"location": "w.bin", "offset": "0", "length": str(length)}
    (root / "w.bin").write_bytes(held)
    if how == "beyond":
        entries[draw.choice(("offset", "length"))] = draw.choice(("-1", str(length + 1), "9" * 30, "x", "", "1e3"))
    elif how == "elsewhere":
        entries["location"] = draw.choice(_LOCATIONS)
    elif how == "odd key":
        entries[draw.choice(("evil", "checksum", "Location"))] = "x"
    elif how == "zeroed":
        (root / "w.bin").write_bytes(bytes(length))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    (root / "model.onnx").write_bytes(model.SerializeToString())
    if how != "unlisted":
        manifests.list_anew(root, "w.bin")
    if how == "special":
        how = put_special(draw, root / "w.bin", root.parent / "outside")
    elif how == "elsewhere" and draw.random() < 0.3 and entries["location"] == "../outside/secret":
        manifest = manifests.read(root)
        manifest["files"][entries["location"]] = manifest["files"]["w.bin"]
        (root / "manifest.json").write_text(json.dumps(manifest))
        os.link(root / "w.bin", root.parent / "outside" / "w.bin")
    said = ", ".join(f"{key} {text[:40]!r}" for key, text in entries.items())
    return f"values of {tensor.name} in another file ({how}): {said}"
