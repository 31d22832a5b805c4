"""The grammar of a compiler's layer lines: text in, records out. Knows the punctuation, not what a kernel is.

With detailed profiling, TensorRT for RTX prints at the end of a build (and TensorRT's engine inspector on request)::

    line   = pair { ", " pair } ;
    pair   = key ": " value ;
    value  = "[ " record { ", " record } "]" | "[]" | "[" int { "," int } "]" | int | text ;
    record = "{ " pair { ", " pair } "}" ;

The first key of a line and of a record is ``Name``. A text value runs to the next ", Key: " of ``_KEYS`` or to the
end, because names hold commas, colons, brackets and spaces of their own (``{ForeignNode[a...b]}``, ``a + b``).
Recorded with tensorrt_rtx 1.7.1; ``Format/Datatype``, ``Location``, ``Origin``, ``TacticValue`` and
``ParameterType`` are the words of TensorRT 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Union

Value = Union[str, "list[int]", "list[LayerRecord]"]
LayerRecord = dict[str, Value]

_KEYS = (
    "Name|LayerType|Inputs|Constants|Outputs|TacticName|TacticValue|StreamId|EventId|Metadata|Location|Dimensions|Strides|"
    "StrideOrder|Datatype|Format/Datatype|Format|ParameterType|ParameterSubType|Origin"
)
_KEY = re.compile(rf"({_KEYS}): ?")
_NEXT_PAIR = re.compile(rf", (?=(?:{_KEYS}): ?)")
_INTS = re.compile(r"\[([-\d, ]*)\]")
_SECTION_START = re.compile(r"(?:\[\w+\] )?Layers:")
_SECTION_END = ("I/O Tensors:", "Bindings:", "Engine Metadata:")
_RECORD_END = re.compile(r" ?\}(?=\]|, \{ Name: )")
_LISTS = ("Inputs", "Constants", "Outputs")
_INT_LISTS = ("Dimensions", "Strides", "StrideOrder")
_NUMBERS = ("StreamId", "EventId")


class GrammarError(ValueError):
    """A line that the grammar does not know; the message shows where reading stopped."""


def layer_lines(log: Iterable[str]) -> Iterator[str]:
    """The layer lines of a builder's log: between ``Layers:`` and the tensors' own section."""
    inside = False
    for raw in log:
        line = raw.rstrip("\n")
        if _SECTION_START.fullmatch(line):
            inside = True
        elif inside and line.startswith(_SECTION_END):
            inside = False
        elif inside and line.strip():
            yield line


def record_from_line(line: str) -> LayerRecord:
    """One layer line as a record. Raises GrammarError."""
    reader = _Reader(line.strip())
    record = reader.pairs(in_record=False)
    if not reader.at_end:
        raise reader.error("the end of the line")
    if "LayerType" not in record:
        raise GrammarError(f"expected a LayerType in the layer line {line[:120]!r}")
    return record


class _Reader:
    """Recursive descent over one line; ``position`` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def error(self, expected: str) -> GrammarError:
        found = self.text[self.position : self.position + 60]
        return GrammarError(f"column {self.position}: expected {expected}, got {found!r} in {self.text[:80]!r}")

    def accept(self, token: str) -> bool:
        if not self.text.startswith(token, self.position):
            return False
        self.position += len(token)
        return True

    def pairs(self, *, in_record: bool) -> LayerRecord:
        record: LayerRecord = {}
        while True:
            match = _KEY.match(self.text, self.position)
            if match is None or (not record and match[1] != "Name"):
                raise self.error("Name" if not record else "a known key")
            if match[1] in record:
                raise self.error(f"each key once ({match[1]})")
            self.position = match.end()
            record[match[1]] = self.value(match[1], in_record=in_record)
            if match[1] in _NUMBERS and not str(record[match[1]]).isdigit():
                # A key that we do not know would hide at the end of the value before it.
                raise GrammarError(f"expected a number as {match[1]}, got {record[match[1]]!r}")
            if not self.accept(", "):
                return record

    def value(self, key: str, *, in_record: bool) -> Value:
        if key in _LISTS:
            return self.records()
        if key in _INT_LISTS:
            match = _INTS.match(self.text, self.position)
            if match is None:
                raise self.error("[ numbers ]")
            self.position = match.end()
            return [int(number) for number in match[1].split(",") if number.strip()]
        return self.words(in_record=in_record)

    def records(self) -> list[LayerRecord]:
        if not self.accept("["):
            raise self.error("[")
        found: list[LayerRecord] = []
        while not self.accept("]"):
            if found and not self.accept(","):
                raise self.error(", or ]")
            self.accept(" ")
            if not self.accept("{ "):
                raise self.error("{")
            found.append(self.pairs(in_record=True))
            self.accept(" ")
            if not self.accept("}"):
                raise self.error("}")
        return found

    def words(self, *, in_record: bool) -> str:
        start = self.position
        following = _NEXT_PAIR.search(self.text, start)
        end = following.start() if following else len(self.text)
        if in_record:
            # A brace inside a name does not count; the one that ends the record is followed by its list's , or ].
            end = min([end, *(m.start() for m in _RECORD_END.finditer(self.text, start, end + 1))])
        self.position = end
        return self.text[start:end].strip()
