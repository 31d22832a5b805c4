"""Reference values: arrays of other types, shapes and numbers, archives that are none or unpack to more."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.integration.hostile.case import Case
from tests.integration.hostile.clean import BUNDLES
from tests.integration.hostile.damage import damaged
from tests.integration.hostile.kinds import manifests

_WEIGHTS = {"verify": 82, "bench": 10, "info": 6, "plan": 2}
_NAME = "golden.npz"
Arrays = dict[str, Any]


def forge(draw: Random, clean: Path, work: Path) -> Case:
    base = draw.choice(BUNDLES)
    root = manifests.copied_bundle(clean, work, base)
    path = root / _NAME
    if draw.random() < 0.6:
        with np.load(path) as archive:
            arrays: Arrays = {name: archive[name] for name in archive.files}
        what = draw.choice(_ARRAYS)(draw, arrays)
        np.savez(path, **arrays)
    elif draw.random() < 0.6:
        what = draw.choice(_ARCHIVES)(draw, path)
    else:
        data, what = damaged(draw, path.read_bytes())
        path.write_bytes(data)
    if path.stat().st_size < 1 << 26:
        manifests.list_anew(root, _NAME)
    return manifests.case_of(draw, f"{_NAME}: {what}, re-hashed", base, _WEIGHTS)


def _type(draw: Random, arrays: Arrays) -> str:
    name = draw.choice(list(arrays))
    kind = draw.choice(
        ("float16", "float64", "int64", "uint8", "bool", "complex64", "S8", "U8", ">f4", "datetime64[s]", "V4")
    )
    try:
        arrays[name] = arrays[name].astype(kind)
    except (TypeError, ValueError):
        arrays[name] = np.zeros(arrays[name].shape, kind)
    return f"{name} as {kind}"


def _shape(draw: Random, arrays: Arrays) -> str:
    name = draw.choice(list(arrays))
    # One number has no column to lose.
    value = np.atleast_1d(arrays[name])
    forms: dict[str, Callable[[], Any]] = {
        "flat": value.ravel, "with a dimension more": lambda: value[None], "empty": lambda: value[:0],
        "of one clip": lambda: value[:1], "a scalar": lambda: value.ravel()[0], "transposed": lambda: value.T,
        "doubled": lambda: np.concatenate([value] * 2), "300 times as long": lambda: np.repeat(value, 300, 0),
        "without its last column": lambda: value[..., :-1], "in Fortran's order": lambda: np.asfortranarray(value),
    }  # fmt: skip
    what = draw.choice(list(forms))
    arrays[name] = forms[what]()
    return f"{name} {what}"


def _numbers(draw: Random, arrays: Arrays) -> str:
    name = draw.choice([name for name, value in arrays.items() if value.dtype.kind == "f"])
    value = arrays[name] = arrays[name].copy()
    what = draw.choice((np.nan, np.inf, -np.inf, 3e38, 1e30, 0.0, -1.0, 1e-45))
    flat = value.reshape(-1)
    if draw.random() < 0.5:
        flat[draw.randrange(flat.size)] = what
        return f"{name}: one number is {what}"
    flat[:] = what
    return f"{name}: every number is {what}"


def _moved(draw: Random, arrays: Arrays) -> str:
    """By so little that half precision does not see it, or by much."""
    name = draw.choice([name for name, value in arrays.items() if value.dtype.kind == "f"])
    by = draw.choice((1e-7, 1e-4, 1e-2, 1.0))
    value = arrays[name]
    noise = np.random.default_rng(draw.randrange(1 << 30)).standard_normal(value.shape).astype(value.dtype)
    arrays[name] = value + value.dtype.type(by) * noise
    return f"{name} moved by {by:g}"


def _gone(draw: Random, arrays: Arrays) -> str:
    group = draw.choice(("one", "weight_", "tap/", "all but clip"))
    names = {
        "one": [draw.choice(list(arrays))], "all but clip": [name for name in arrays if name != "clip"],
    }.get(group, [name for name in arrays if name.startswith(group)])  # fmt: skip
    for name in names:
        del arrays[name]
    return f"without {', '.join(names) or 'nothing'}"


def _more(draw: Random, arrays: Arrays) -> str:
    name = draw.choice(("tap/evil", "labels", "evil", "tap/", "../x", "tap/\x1b[2J", "weight_names2", "clip2"))
    arrays[name] = draw.choice((np.zeros((2, 3), np.float32), np.zeros(0), np.asarray(["a", "b"]), arrays["clip"]))
    return f"with {name!r} of {arrays[name].dtype} {arrays[name].shape}"


def _texts(draw: Random, arrays: Arrays) -> str:
    names = [name for name in ("sources", "weight_names", "weight_sha256", "labels") if name in arrays]
    name = draw.choice(names)
    value = arrays[name] = arrays[name].astype("U200").copy()
    value[draw.randrange(len(value))] = draw.choice(
        ("", "\x1b[2J", "a\nb", "0" * 64, "\u202e", "|x|", "<b>", "%s", str(value[0]))
    )
    return f"{name}: one text is {str(value[-1])[:20]!r}"


def _objects(draw: Random, arrays: Arrays) -> str:
    name = draw.choice(list(arrays))
    arrays[name] = np.asarray([{"a": 1}, None], dtype=object)
    return f"{name} is an array of objects (a pickle)"


def _digests(draw: Random, arrays: Arrays) -> str:
    """Of the weights: fewer, others, exchanged."""
    names, digests = arrays["weight_names"], arrays["weight_sha256"].copy()
    how = draw.choice(("fewer", "another", "exchanged", "of an unknown weight", "none"))
    if how == "fewer":
        keep = draw.randrange(1, len(names))
        names, digests = names[:keep], digests[:keep]
    elif how == "another":
        digests[draw.randrange(len(digests))] = "0" * 64
    elif how == "exchanged":
        digests = digests[::-1].copy()
    elif how == "none":
        names, digests = names[:0], digests[:0]
    else:
        names = np.concatenate([names, np.asarray(["nobody"])])
        digests = np.concatenate([digests, digests[:1]])
    arrays["weight_names"], arrays["weight_sha256"] = names, digests
    return f"digests of weights: {how}"


_ARRAYS = (_type, _shape, _shape, _numbers, _numbers, _moved, _gone, _gone, _more, _texts, _objects, _digests)


def _packed(draw: Random, path: Path) -> str:
    """The same arrays deflated, or zeros that unpack to two gigabytes."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if draw.random() < 0.5:
        np.savez_compressed(path, **arrays)
        return "deflated"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("clip.npy", "w", force_zip64=True) as entry,
    ):
        np.lib.format.write_array_header_1_0(entry, {"descr": "<f4", "fortran_order": False, "shape": (2**29,)})
        for _ in range(64):
            entry.write(bytes(1 << 25))
    return "a bomb of two gigabytes"


def _header(draw: Random, path: Path) -> str:
    """The text that NumPy reads as the header of an array."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    headers = {
        "of 10^18 numbers": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000,), }",
        "of a negative size": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }",
        "with a call": "{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (2,), }",
        "of 300 brackets": "(" * 300 + ")" * 300,
        "of 100,000 brackets": "(" * 60_000,
        "of structures": "{'descr': [('a', '<f4', (1000, 1000)), ('b', 'O')], 'fortran_order': False, 'shape': (2,), }",
        "of objects": "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
        "without a shape": "{'descr': '<f4'}",
        "that is no Python": "\x00\xff",
        "of many sizes": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 9000 + "), }",
    }
    what = draw.choice(list(headers))
    text = headers[what].encode("latin-1") + b"\n"
    name = draw.choice(list(arrays))
    with zipfile.ZipFile(path, "w") as archive:
        for key, value in arrays.items():
            held = io.BytesIO()
            np.lib.format.write_array(held, value)
            data = held.getvalue()
            if key == name:
                data = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + data[128:]
            archive.writestr(f"{key}.npy", data)
    return f"{name} with a header {what}"


def _entries(draw: Random, path: Path) -> str:
    """Names of entries: twice, leading out, none, a hundred thousand; or an archive within the archive."""
    how = draw.choice(
        ("twice", "leading out", "100,000 entries", "an archive in it", "a comment", "no entry", "encrypted")
    )
    data = path.read_bytes()
    mode = "a" if how in ("twice", "leading out", "an archive in it", "a comment") else "w"
    with zipfile.ZipFile(path, "a" if mode == "a" else "w") as archive:
        if how == "twice":
            archive.writestr("logits.npy", archive.read("logits.npy"))
        elif how == "leading out":
            archive.writestr("../../outside/x.npy", b"x")
        elif how == "an archive in it":
            archive.writestr("inner.npz", data)
        elif how == "a comment":
            archive.comment = b"\x1b[2J" * 1000
        elif how != "no entry":
            for number in range(100_000 if how == "100,000 entries" else 1):
                archive.writestr(f"tap/{number}.npy", b"")
    if how == "encrypted":
        held = bytearray(data)
        held[held.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(bytes(held))
    return f"entries: {how}"


def _other_file(draw: Random, path: Path) -> str:
    """What NumPy would also take under this name."""
    how = draw.choice(("a bare array", "a pickle", "a hole of four gigabytes"))
    if how == "a bare array":
        with path.open("wb") as file:
            np.save(file, np.zeros((2, 3), np.float32))
    elif how == "a pickle":
        path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    else:
        path.write_bytes(b"PK")
        with path.open("r+b") as file:
            file.truncate(5 << 30)
    return how


_ARCHIVES = (_packed, _header, _header, _entries, _entries, _other_file)
