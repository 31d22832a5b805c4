"""Values that nobody expects, and JSON in which one thing is otherwise than it should be."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30),
    10**400, 0.5, -0.0, 1e-45, 1e30, 1e308, -1e308, float("nan"), float("inf"), True, False,
)  # fmt: skip
TEXTS = (
    "", " ", "x" * 70_000, "\x00", "a\x1b[2J\x1b]0;t\x07b", "\u202eabc", "line\nerror: forged", "\r\x1b[A", "..",
    "../outside/secret", "/etc/passwd", "<script>alert(1)</script>", "[x](javascript:y)", "|a|b|\n|-|-|", "{{ 7 * 7 }}",
    "%s%n{0}", "\ud800", "nan", "Infinity", "1e400", "null", "\U0001d56c\u0301" * 300, "C:\\x", "*/_ORT_MEM_ADDR_/*",
    "fp16", "fp32", "bf16", "int8", "batch", "passed", "failed", "not_run", "1:2:4", "model.onnx", "golden.npz",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, [], {}, [[]], {"": {}}, [0] * 5000, {"x": None}, [None], [["a"], 1])
INTEGERS_64 = (0, 1, -1, 2, 3, 7, 64, 65_536, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e30, 3.4e38, -3.4e38, float("nan"), float("inf"), -float("inf"))


def wild(draw: Random) -> Any:
    return draw.choice((draw.choice(NUMBERS), draw.choice(TEXTS), draw.choice(OTHERS)))


def shown(value: Any) -> str:
    """For people, short, in ASCII."""
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:36]}... ({len(text)})"


def altered_json(draw: Random, value: Any) -> tuple[Any, str]:
    """A copy in which one to three places are otherwise, and what was done."""
    value, said = copy.deepcopy(value), []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        said.append(_alter(draw, value))
    return value, "; ".join(said)


def json_text(draw: Random, value: Any) -> tuple[bytes, str]:
    """The bytes of ``value``, written as no writer of ours does it, and what was done."""
    text = json.dumps(value)
    forms = {
        "a key twice": text.replace("{", '{"schema_version": 1, ', 1),
        "a comma at the end": text[:-1] + ",}",
        "the word NaN": text.replace("0", "NaN", 1),
        "a number of 100,000 digits": text.replace("1", "1" * 100_000, 1),
        "100,000 lists in each other": "[" * 100_000 + "]" * 100_000,
        "100,000 objects in each other": '{"a":' * 100_000,
        "a comment": "// hello\n" + text,
        "something behind the end": text + "{}",
        "only half": text[: len(text) // 2],
        "nothing": "",
        "a list around it": f"[{text}]",
        "a bare number": "1e999",
        "single quotes": text.replace('"', "'"),
        "ten million spaces": " " * 10_000_000 + text,
    }
    encodings = {
        "UTF-16": text.encode("utf-16"),
        "a byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "bytes that are not UTF-8": text.encode().replace(b"a", b"\xff", 3),
        "a NUL inside": text.encode().replace(b":", b":\0", 1),
    }
    what = draw.choice((*forms, *encodings))
    return (forms[what].encode() if what in forms else encodings[what]), f"written with {what}"


def _alter(draw: Random, root: Any) -> str:
    """Changes one place below ``root``, which holds something."""
    holder, key, name = _place(draw, root)
    now = holder[key]
    how = draw.choice(("wild", "wild", "number", "other", "removed", "added", "many", "deep", "moved"))
    if how == "removed":
        del holder[key]
        return f"{name} removed"
    if how == "added":
        extra = draw.choice(("evil", "__class__", "schema_version", "", "Name", str(key).upper()))
        if isinstance(holder, dict):
            holder[extra] = wild(draw)
            return f"{extra!r} added beside {name}"
        holder.insert(0, copy.deepcopy(now))
        return f"{name} twice"
    if how == "many" and isinstance(now, list) and now:
        count = draw.choice((2, 1000, 50_000 // max(1, len(json.dumps(now)) // 40)))
        holder[key] = [copy.deepcopy(one) for one in now * count]
        return f"{name} {count} times as long"
    if how == "deep":
        depth = draw.choice((3, 400))
        for _ in range(depth):
            now = [now]
        holder[key] = now
        return f"{name} within {depth} lists"
    if how == "moved":
        other, there, its_name = _place(draw, root)
        holder[key], other[there] = copy.deepcopy(other[there]), copy.deepcopy(now)
        return f"{name} exchanged with {its_name}"
    if how == "number" and isinstance(now, (int, float)):
        holder[key] = draw.choice((now + 1, now - 1, -now, now * 2, now * 1000, now / 3, float(now), str(now)))
    elif how == "other" and isinstance(now, str):
        holder[key] = draw.choice((now + " ", now.upper(), now[:-1], now[::-1], [now], now + now))
    else:
        holder[key] = wild(draw)
    return f"{name} = {shown(holder[key])}"


def _place(draw: Random, root: Any) -> tuple[Any, Any, str]:
    """A container below ``root``, a key of it and the name of that place; each level is as likely as the next."""
    holder, names = root, []
    while True:
        key = draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))
        names.append(str(key))
        inner = holder[key]
        if not isinstance(inner, (dict, list)) or not inner or draw.random() < 0.15:
            return holder, key, ".".join(names)
        holder = inner
