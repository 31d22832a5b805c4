"""Checkpoints: safetensors, pickles and Hugging Face directories, damaged, forged, or made to do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

from tests.integration.hostile.case import Case
from tests.integration.hostile.clean import CHECKPOINTS, lay
from tests.integration.hostile.damage import damaged, put_special
from tests.integration.hostile.kinds.manifests import FLAGS
from tests.integration.hostile.wild import altered_json, json_text

_EXPORT = ("--precision", "fp32", "--builder", "none", "-o", "out")


def export_case(draw: Random, what: str, base: str, checkpoint: str, *more: str, refused: bool = False) -> Case:
    """An export of a checkpoint, or what it says it would do: that reads no numbers, and takes a tenth of the time."""
    dry = ("--dry-run",) if draw.random() < 0.5 and not more else ()
    heads = ("--heads", "2") if base == "pyth" else ()
    args = ("export", "--checkpoint", checkpoint, *heads, *more, *_EXPORT, *dry, *draw.choice(FLAGS))
    return Case(what, base, args, refused=refused)


def forge(draw: Random, clean: Path, work: Path) -> Case:
    base = draw.choice(("own", "own", "pyth", "pyth", "hf", "hf"))
    lay(clean, base, work)
    place = work / CHECKPOINTS[base]
    ways: dict[str, tuple[Callable[..., tuple[str, bool]], ...]] = {
        "own": (_safetensors_header, _safetensors_header, _description, _numbers, _damage, _special),
        "pyth": (_pickle_code, _archive, _damage, _special, _odd_pickle, _numbers),
        "hf": (_config, _config, _config, _directory, _damage, _safetensors_header),
    }
    what, refused = draw.choice(ways[base])(draw, place, work / "outside")
    name = CHECKPOINTS[base]
    return export_case(draw, f"{name}: {what}", base, name, refused=refused)


def _file(place: Path) -> Path:
    return place / "model.safetensors" if place.is_dir() else place


def _damage(draw: Random, place: Path, _outside: Path) -> tuple[str, bool]:
    path = _file(place)
    data, what = damaged(draw, path.read_bytes())
    path.write_bytes(data)
    return what, False


def _special(draw: Random, place: Path, outside: Path) -> tuple[str, bool]:
    return put_special(draw, place, outside), False


def _safetensors_header(draw: Random, place: Path, _outside: Path) -> tuple[str, bool]:
    """Names, types, shapes and offsets; the length in front agrees, or not."""
    path = _file(place)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    if draw.random() < 0.15:
        wrong = draw.choice((0, 1, length - 1, length + 8, 2**24, 2**32, 2**63, 2**64 - 1))
        path.write_bytes(struct.pack("<Q", wrong) + data[8:])
        return f"the header's length is {wrong}", True
    if draw.random() < 0.2:
        text, what = json_text(draw, header)
    else:
        header, what = altered_json(draw, header)
        text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
    return f"header: {what}", False


def _description(draw: Random, place: Path, _outside: Path) -> tuple[str, bool]:
    """What a file of ours says of its model."""
    data = place.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    said = json.loads(header["__metadata__"]["fast_timesformer"])
    if draw.random() < 0.2:
        text, what = json_text(draw, said)
        header["__metadata__"]["fast_timesformer"] = text.decode("utf-8", "replace")
    else:
        said, what = altered_json(draw, said)
        header["__metadata__"]["fast_timesformer"] = json.dumps(said)
    text = json.dumps(header).encode()
    place.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return f"description: {what}", False


def _numbers(draw: Random, place: Path, _outside: Path) -> tuple[str, bool]:
    """Tensors of other values, types and shapes, in a file that is whole."""
    path = _file(place)
    metadata = None
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
        content = tensors
    else:
        content = torch.load(path, weights_only=True)
        tensors = content["model_state"]
    name = draw.choice(sorted(tensors))
    forms: dict[str, Callable[[Any], Any]] = {
        "zero": torch.zeros_like, "NaN": lambda t: t * float("nan"), "1e30": lambda t: torch.full_like(t, 1e30),
        "as float64": lambda t: t.double(), "as int64": lambda t: t.long(), "as float16": lambda t: t.half(),
        "one row less": lambda t: t[:-1] if t.ndim else t, "times 1000": lambda t: t * 1000, "negative": lambda t: -t,
        "a dimension more": lambda t: t[None], "empty": lambda t: t[:0] if t.ndim else t, "complex": lambda t: t + 0j,
    }  # fmt: skip
    what, every = draw.choice(list(forms)), draw.random() < 0.3
    for one in sorted(tensors) if every else [name]:
        tensors[one] = forms[what](tensors[one]).contiguous()
    if metadata is not None:
        from safetensors.torch import save_file

        save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, metadata=metadata)
    else:
        torch.save(content, path)
    return f"{'every tensor' if every else name} {what}", False


class _Code:
    """Its pickle runs a command that leaves a mark."""

    def __init__(self, call: Any, args: tuple[Any, ...]) -> None:
        self._call, self._args = call, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call, self._args


def _pickle_code(draw: Random, place: Path, outside: Path) -> tuple[str, bool]:
    mark = f"touch {outside.absolute() / 'ran'}"
    calls: dict[str, Any] = {
        "os.system": _Code(os.system, (mark,)),
        "eval": _Code(eval, (f"__import__('os').system({mark!r})",)),
        "open": _Code(open, (str(outside / "ran"), "w")),
        "exec": _Code(exec, (f"import os; os.system({mark!r})",)),
    }
    what = draw.choice(list(calls))
    where = draw.choice(("alone", "beside", "among the tensors", "as a key", "in the old format"))
    hidden = calls[what]
    content = {
        "alone": hidden, "in the old format": hidden,
        "beside": {**torch.load(place, weights_only=True), "cfg": hidden},
        "among the tensors": {"model_state": {"model.head.weight": hidden}},
        "as a key": {"model_state": {"a": torch.zeros(1)}, hidden: 1},
    }[where]  # fmt: skip
    torch.save(content, place, _use_new_zipfile_serialization=where != "in the old format")
    return f"a pickle that calls {what}, {where}", True


def _odd_pickle(draw: Random, place: Path, _outside: Path) -> tuple[str, bool]:
    """Pickles of plain values that are wrong, deep, cyclic, or of absurd size."""
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    cyclic: dict[str, Any] = {}
    cyclic["model_state"] = cyclic
    strided = torch.zeros(1).as_strided((2**20, 2**20), (0, 0))
    one, state = torch.zeros(1), torch.load(place, weights_only=True)["model_state"]
    tensors: dict[str, Any] = {
        "a tensor of 2^40 numbers from one": strided, "a text for a tensor": "x",
        "a sparse tensor": torch.eye(3).to_sparse(),
        "a quantized tensor": torch.quantize_per_tensor(one, 1.0, 0, torch.qint8),
    }  # fmt: skip
    forms: dict[str, Any] = {
        "a list": [1, 2], "a number": 7, "nothing": {}, "names that are numbers": {1: one, 2: one},
        "a deep list": {"cfg": deep, "model_state": {"a": one}}, "a dictionary that holds itself": cyclic,
        "a text of 5 MB": {"cfg": "DATA:\n" + "x: [1]\n" * 700_000, "model_state": state},
        **{name: {"model_state": {"a": tensor}} for name, tensor in tensors.items()},
    }  # fmt: skip
    what = draw.choice((*forms, "opcodes", "memo", "protocol"))
    if what in forms:
        torch.save(forms[what], place, _use_new_zipfile_serialization=draw.random() < 0.7)
    elif what == "memo":
        # A dictionary of dictionaries, each holding the last one ten times: 10^9 when walked.
        place.write_bytes(
            b"\x80\x02]"
            + b"".join(b"q" + bytes([k]) + b"](" + (b"h" + bytes([k])) * 10 + b"e" for k in range(30))
            + b"."
        )
    elif what == "protocol":
        place.write_bytes(pickle.dumps({"a": 1}, protocol=draw.choice((2, 3, 4, 5))))
    else:
        codes = [code.code.encode("latin-1") for code in pickletools.opcodes]
        place.write_bytes(
            b"\x80\x02" + b"".join(draw.choice(codes) + draw.randbytes(draw.choice((0, 1, 4))) for _ in range(60))
        )
    return f"a pickle: {what}", False


def _archive(draw: Random, place: Path, _outside: Path) -> tuple[str, bool]:
    """The zip archive around a pickle: entries gone, packed, renamed, of other sizes."""
    with zipfile.ZipFile(place) as archive:
        entries = {one.filename: archive.read(one) for one in archive.infolist()}
    how = draw.choice(
        ("gone", "packed", "renamed", "short", "long", "twice", "pickle damaged", "a bomb", "leading out")
    )
    name = draw.choice(sorted(entries))
    if how == "gone":
        del entries[name]
    elif how == "renamed":
        entries[name.rpartition("/")[2]] = entries.pop(name)
    elif how == "short":
        entries[name] = entries[name][: len(entries[name]) // 2]
    elif how == "long":
        entries[name] += bytes(4096)
    elif how == "pickle damaged":
        name = next(one for one in entries if one.endswith(".pkl"))
        entries[name], _ = damaged(draw, entries[name])
    elif how == "leading out":
        entries["../../outside/x"] = b"x"
    held = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if how in ("packed", "a bomb") else zipfile.ZIP_STORED
    with zipfile.ZipFile(held, "w", kind, compresslevel=1) as archive:
        for key, data in entries.items():
            archive.writestr(key, data)
        if how == "twice":
            archive.writestr(name + " ", entries[name])
        if how == "a bomb":
            with archive.open("x/data/999", "w") as entry:
                for _ in range(32):
                    entry.write(bytes(1 << 25))
    place.write_bytes(held.getvalue())
    return f"the archive: {how} ({name.rpartition('/')[2]})", how in ("packed", "a bomb")


def _config(draw: Random, place: Path, outside: Path) -> tuple[str, bool]:
    name = draw.choice(("config.json", "config.json", "preprocessor_config.json"))
    path = place / name
    turn = draw.random()
    if turn < 0.1:
        return f"{name}: {put_special(draw, path, outside)}", False
    value = json.loads(path.read_bytes())
    if turn < 0.25:
        data, what = json_text(draw, value)
        path.write_bytes(data)
    elif turn < 0.35:
        data, what = damaged(draw, path.read_bytes())
        path.write_bytes(data)
    else:
        value, what = altered_json(draw, value)
        path.write_text(json.dumps(value))
    return f"{name}: {what}", False


def _directory(draw: Random, place: Path, outside: Path) -> tuple[str, bool]:
    """Which files a directory holds."""
    weights = place / "model.safetensors"
    how = draw.choice(("no weights", "no config", "a pickle", "shards", "special", "both", "code"))
    if how == "no weights":
        weights.unlink()
    elif how == "no config":
        (place / "config.json").unlink()
    elif how == "special":
        return f"model.safetensors: {put_special(draw, weights, outside)}", False
    elif how == "shards":
        shard = draw.choice(("model-1.safetensors", "../outside/secret", "/etc/hostname", "nowhere"))
        (place / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": {"classifier.bias": shard}})
        )
        weights.rename(place / "model-1.safetensors")
        how = f"shards in {shard}"
    elif how == "code":
        (place / "modeling_evil.py").write_text(f"open({str(outside.absolute() / 'ran')!r}, 'w')\n")
        config = json.loads((place / "config.json").read_bytes())
        config["auto_map"] = {"AutoModel": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"}
        (place / "config.json").write_text(json.dumps(config))
    else:
        torch.save(_Code(os.system, (f"touch {outside.absolute() / 'ran'}",)), place / "pytorch_model.bin")
        if how == "a pickle":
            weights.unlink()
            return "a pickle that calls os.system in the place of the weights", True
    return f"the directory: {how}", False
