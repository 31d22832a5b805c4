"""What a file of weights says beside its tensors, of the network and of the data: the settings of whoever trained it.

Training code keeps them as the text of a YAML file (``cfg`` of facebookresearch/TimeSformer) or as a mapping
(``hyper_parameters`` of Lightning). Either becomes settings by the path of their keys, in capitals ("DATA.MEAN"), each
a row of texts. Nothing in them is believed before it is read as what it has to be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_LONGEST_TEXT = 2**20
_DEEPEST = 8
_MOST_VALUES = 4096
_MOST_WHOLE = 2**31
_LINE = re.compile(r"( *)([A-Za-z_]\w{0,63}):(?: +(.*))?")
# Sections that speak of the network as a whole. Configurations hold sections of other networks beside it (MVIT of
# PySlowFast, a text encoder): what those say is not of these weights.
_OF_THE_NETWORK = frozenset(
    ("MODEL", "TIMESFORMER", "VIT", "NET", "NETWORK", "BACKBONE", "ENCODER", "ARGS", "HPARAMS", "CONFIG")
)
# Keys of a pickle under which training code keeps its settings.
KEYS = ("cfg", "config", "hyper_parameters")


@dataclass(frozen=True)
class Stated:
    """The settings of a file; empty where it has none."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: Path of the keys, in capitals -> texts.
    #: The text of a configuration that is a Python program (``meta`` of OpenMMLab); see ``mm_config``.
    program: str = ""

    @classmethod
    def beside(cls, content: Mapping[Any, Any]) -> Stated:
        """Those of a pickle: every text or mapping under one of ``KEYS``."""
        found: dict[str, tuple[str, ...]] = {}
        for key in KEYS:
            value = content.get(key)
            pairs = _of_yaml(value) if isinstance(value, str) else _of_mapping(value)
            found.update((path, texts) for path, texts in pairs if path not in found)
        meta = content.get("meta")
        texts = [meta.get(key) for key in ("cfg", "config")] if isinstance(meta, Mapping) else []
        return cls(found, next((text for text in texts if isinstance(text, str)), ""))

    def text(self, path: str) -> str:
        """The one text at ``path``; "" where there is none, or several."""
        texts = self.values.get(path, ())
        return texts[0] if len(texts) == 1 else ""

    def numbers(self, path: str) -> tuple[float, ...]:
        """The numbers at ``path``; none where one of its texts is no number."""
        numbers = [_number(text) for text in self.values.get(path, ())]
        return () if None in numbers else tuple(number for number in numbers if number is not None)

    def number(self, *names: str) -> float | None:
        """The number whose path, or last key in a section of the network, is one of ``names``; None where there is
        none, or where two sections say different ones."""
        rows = {self.numbers(path) for path in self.values if path in names or _of_network(path) in names}
        (row,) = rows if len(rows) == 1 else ((),)
        return row[0] if len(row) == 1 else None

    def whole(self, *names: str) -> int | None:
        """The same, a whole number of at least 1."""
        number = self.number(*names)
        return int(number) if number is not None and 1 <= number <= _MOST_WHOLE and number == int(number) else None


def _of_network(path: str) -> str:
    """The last key of a path through sections of the network alone; "" of others."""
    *sections, key = path.split(".")
    return key if _OF_THE_NETWORK.issuperset(sections) else ""


def _number(text: str) -> float | None:
    if not re.fullmatch(r"[-+]?(\d{1,18}\.?\d{0,18}|\.\d{1,18})(e[-+]?\d{1,3})?", text, re.ASCII | re.IGNORECASE):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _of_yaml(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of a dump in blocks: ``KEY: 1``, ``KEY: [1, 2]``, or one a line behind a dash. Other lines are skipped."""
    rows: dict[str, list[str]] = {}
    above: list[tuple[int, str]] = []
    for line in text[:_LONGEST_TEXT].splitlines():
        if (match := _LINE.fullmatch(line.rstrip())) is not None:
            indent = len(match[1])
            above = [(deep, key) for deep, key in above if deep < indent][:_DEEPEST]
            above.append((indent, match[2].upper()))
            rows[".".join(key for _, key in above)] = _texts(match[3] or "")
        elif above and line.lstrip().startswith("- "):
            rows[".".join(key for _, key in above)] += _texts(line.lstrip()[2:])
        if len(rows) >= _MOST_VALUES:
            break
    for path, texts in rows.items():
        if texts:
            yield path, tuple(texts)


def _texts(written: str) -> list[str]:
    parts = [part.strip().strip("'\"") for part in written.strip().strip("[]").split(",")]
    return [part for part in parts if part][:_MOST_VALUES]


def _of_mapping(value: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(value, Mapping) or len(above) >= _DEEPEST:
        return
    for key, inner in list(value.items())[:_MOST_VALUES]:
        path = (*above, str(key)[:64].upper())
        if isinstance(inner, Mapping):
            yield from _of_mapping(inner, path)
            continue
        each = list(inner)[:_MOST_VALUES] if isinstance(inner, (list, tuple)) else [inner]
        if each and all(isinstance(one, (str, int, float)) for one in each):
            yield ".".join(path), tuple(str(one)[:_LONGEST_TEXT] for one in each)
