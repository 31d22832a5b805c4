"""The JSON Schema (2020-12) of what ``strict_json`` reads, made of the same types and rules.

Rules between fields, which a class's ``__post_init__`` holds, have no words there: a file may keep the schema and still
be refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", Path: "string", NoneType: "null"}


def schema_of(kind: Any, forms: Mapping[Any, Schema]) -> Schema:
    """The schema of ``kind``; ``forms`` has those of kinds that are written otherwise than their type says.

    Raises TypeError for a kind that has no form in JSON.
    """
    if kind in forms:
        return forms[kind]
    if kind is Any:
        return {}
    if kind in _NAMES:
        return {"type": _NAMES[kind]}
    if is_dataclass(kind):
        return schema_of_fields(kind, forms, required=True)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    return _schema_of_generic(kind, forms)


def schema_of_fields(kind: Any, forms: Mapping[Any, Schema], *, required: bool) -> Schema:
    """An object with the fields of a dataclass and no others: all of them, or without ``required`` any."""
    properties = {name: schema_of(hint, forms) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return {
        "description": " ".join(inspect.cleandoc(kind.__doc__).split()).partition(". ")[0].rstrip(".") + ".",
        "type": "object",
        "properties": properties,
        "required": list(properties) if required else [],
        "additionalProperties": False,
    }


def with_constant(schema: Schema, name: str, value: str | int) -> Schema:
    """The schema of the same object with one more field, which holds ``value``."""
    properties = {name: {"const": value}, **schema["properties"]}
    return {**schema, "properties": properties, "required": [name, *schema["required"]]}


def _schema_of_generic(kind: Any, forms: Mapping[Any, Schema]) -> Schema:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        schema = schema_of(parts[0], forms)
        for rule in parts[1:]:
            schema = {**schema, **rule.schema}
        return schema
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(part, forms) for part in parts]}
    if origin is tuple and parts[-1] is Ellipsis:
        return {"type": "array", "items": schema_of(parts[0], forms)}
    if origin is tuple:
        each = [schema_of(part, forms) for part in parts]
        return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(parts[1], forms)}
    raise TypeError(f"{kind!r} has no form in JSON")
