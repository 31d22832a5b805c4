"""Strict JSON in and out of frozen dataclasses: cattrs, with nothing coerced, nothing missing and nothing unknown.

A field's type says what its JSON is. A bound or a pattern stands beside the type, as ``Annotated[int, whole(1)]``,
and a rule between fields in the class's ``__post_init__`` (a ValueError). ``json_schema`` reads the same types.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from fast_timesformer.rules import Rule, whole
from ftsf_export.errors import BundleError

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
_SHOWN_CHARS = 60
_SHOWN_PROBLEMS = 8
_NON_FINITE = ("nan", "inf", "-inf")
_Read = Callable[[Any, Any], Any]


def matching(pattern: str, expected: str) -> Rule:
    """The rule of a text that ``pattern`` describes as a whole; ``expected`` says so in words."""
    return Rule(expected, lambda value: re.fullmatch(pattern, value) is not None, {"pattern": f"^{pattern}$"})


_FIGURE = Rule(
    "a number, or one of " + ", ".join(_NON_FINITE),
    lambda _: True,
    {"type": ["number", "string"], "pattern": f"^({'|'.join(_NON_FINITE)})$"},
)
# A measured number. JSON has no NaN and no infinity, so those three are written as the texts "nan", "inf" and "-inf".
Figure = Annotated[float, _FIGURE]
SHA256 = matching("[0-9a-f]{64}", "64 hexadecimal digits")
Sha256 = Annotated[str, SHA256]
Count = Annotated[int, whole(0)]
Positive = Annotated[int, whole(1)]


def structured(value: object, kind: type[T], source: str, *, converter: Converter | None = None) -> T:
    """``value``, as ``json_from_bytes`` gives it, as a ``kind``.

    Raises BundleError that names ``source`` and every field that is missing, unknown, of another type or of a value
    that is not allowed.
    """
    from cattrs import BaseValidationError

    try:
        return (converter or strict_converter()).structure(value, kind)
    except (BaseValidationError, ValueError) as error:
        problems = list(_problems(error, ""))
    shown = "; ".join(problems[:_SHOWN_PROBLEMS])
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    raise BundleError(
        f"{source}: {shown}{more}; the file is damaged or of another version of ftsf-export: install that version, "
        "or write it again"
    )


def plain(value: object, *, converter: Converter | None = None) -> Any:
    """The JSON form of a value: objects, lists, texts and numbers. The inverse of ``structured``."""
    return (converter or strict_converter()).unstructure(value)


@lru_cache(maxsize=1)
def strict_converter() -> Converter:
    """The converter of all classes that need no form of their own."""
    return new_strict_converter()


def new_strict_converter() -> Converter:
    """A converter with the strict rules of this module, to which a caller may add forms of its own classes."""
    from cattrs import Converter
    from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory

    made = Converter(detailed_validation=True, forbid_extra_keys=True, unstruct_collection_overrides={tuple: list})
    for kind, expected, holds in _PRIMITIVES:
        made.register_structure_hook(kind, _strictly(expected, holds, _member if kind is str else _converted))
    made.register_structure_hook_func(
        lambda kind: kind == int | str, _strictly("a whole number or a name", _is(int, str), lambda value, _: value)
    )
    factories: tuple[tuple[Callable[[Any], bool], Callable[[Any], _Read]], ...] = (
        (_is_list, lambda kind: _strictly("a list", _is(list), homogenous_tuple_structure_factory(kind, made))),
        (_is_fixed_list, lambda kind: _fixed_list(kind, made)),
        (_is_mapping, lambda kind: _strictly("an object", _is(dict), mapping_structure_factory(kind, made))),
        (is_dataclass, lambda kind: _strictly("an object", _is(dict), _of_class(kind, made))),
        (lambda kind: get_origin(kind) is Annotated, lambda kind: _of_rules(kind, made)),
    )
    for applies, factory in factories:
        made.register_structure_hook_factory(applies, factory)
    made.register_unstructure_hook(str, lambda text: text.value if isinstance(text, Enum) else text)
    made.register_unstructure_hook(Path, str)
    # 1 and 1.0 are one number and must give one text.
    made.register_unstructure_hook(float, lambda v: float(v) if abs(v) <= sys.float_info.max else str(v))
    made.register_unstructure_hook_func(
        _is_mapping, lambda value: {key: made.unstructure(value[key]) for key in sorted(value)}
    )
    return made


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis


def _is_fixed_list(kind: Any) -> bool:
    return get_origin(kind) is tuple and not _is_list(kind)


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def wrong(expected: str, got: object) -> ValueError:
    """The error for a value that is not what was expected."""
    shown = repr(got)
    shown = shown if len(shown) <= _SHOWN_CHARS else shown[: _SHOWN_CHARS - 3] + "..."
    return ValueError(f"expected {expected}, got {shown}")


def _is(*kinds: type) -> Callable[[object], bool]:
    """Whether a value is of one of ``kinds``; true and false are no numbers."""
    return lambda value: isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


# What JSON must hold for a type. A whole number of JSON may be larger than any float: hence no isfinite().
_PRIMITIVES: tuple[tuple[type, str, Callable[[Any], bool]], ...] = (
    (str, "a string", _is(str)),
    (Path, "a string", _is(str)),
    (bool, "true or false", _is(bool)),
    (int, "a whole number", _is(int)),
    (float, "a number", lambda value: _is(int, float)(value) and abs(value) <= sys.float_info.max),
)


def _strictly(expected: str, holds: Callable[[Any], bool], read: _Read) -> _Read:
    """``read``, for values of the right type alone."""

    def checked(value: object, kind: Any) -> Any:
        if not holds(value):
            raise wrong(expected, value)
        return read(value, kind)

    return checked


def _converted(value: object, kind: Any) -> Any:
    return kind(value)


def _member(value: str, kind: Any) -> Any:
    """A text, or the member of an enumeration of texts: cattrs asks the base class first."""
    if not issubclass(kind, Enum):
        return value
    allowed = [member.value for member in kind]
    if value not in allowed:
        raise wrong(f"one of {', '.join(allowed)}", value)
    return kind(value)


def _fixed_list(kind: Any, converter: Converter) -> _Read:
    """A list of as many values as the tuple has types."""
    kinds = get_args(kind)

    def read(value: object, _: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(kinds):
            raise wrong(f"a list of {len(kinds)}", value)
        return tuple(converter.structure(one, of) for one, of in zip(value, kinds, strict=True))

    return read


def _of_rules(kind: Any, converter: Converter) -> _Read:
    """A type with rules beside it."""
    base, *rules = get_args(kind)
    read = converter.get_structure_hook(base)

    def checked(value: object, _: Any) -> Any:
        if _FIGURE in rules and value in _NON_FINITE:
            return float(value)
        found = read(value, base)
        for rule in rules:
            if not rule.holds(found):
                raise wrong(rule.expected, found)
        return found

    return checked


def _of_class(kind: Any, converter: Converter) -> _Read:
    """An object with every field of the class: a default is for whoever makes the value, not for the file."""
    import attrs
    from cattrs.gen import make_dict_structure_fn_from_attrs

    hints = get_type_hints(kind, include_extras=True)
    like = attrs.make_class(kind.__name__, {name: attrs.field(type=hint, kw_only=True) for name, hint in hints.items()})
    return make_dict_structure_fn_from_attrs(list(attrs.fields(like)), kind, converter)


def _problems(error: BaseException, where: str) -> Iterator[str]:
    """Each thing that is wrong, with its place in the file."""
    from cattrs import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

    if isinstance(error, ClassValidationError):
        named, others = error.group_exceptions()
        for inner, note in named:
            yield from _problems(inner, _at(where, note.name))
        for inner in others:
            yield from _problems(inner, where)
    elif isinstance(error, IterableValidationError):
        for inner, place in error.group_exceptions()[0]:
            index = place.index
            yield from _problems(inner, _at(where, index) if isinstance(index, str) else f"{where}[{index}]")
    elif isinstance(error, ForbiddenExtraKeysError):
        yield from (f"{_at(where, name)}: not a field of this schema" for name in sorted(error.extra_fields))
    elif isinstance(error, KeyError):
        name = str(error.args[0])
        yield f"{where if where.endswith(name) else _at(where, name)}: missing"
    else:
        yield f"{where or 'the whole file'}: {error}"


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def json_from_bytes(data: bytes, source: str) -> object:
    """Strict JSON in UTF-8: no NaN or Infinity, no name twice in one object. Raises BundleError."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        # Half of a surrogate pair ("\\ud800") parses, but is no text: it breaks at its first use.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source}: not valid JSON ({error}); the file is damaged or was cut short") from error
    return cast(object, value)


def bytes_from_json(value: object) -> bytes:
    """Readable JSON, always the same bytes for the same value. Raises ValueError on NaN and Infinity."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return out


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")
