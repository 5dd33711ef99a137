"""From a frozen dataclass to its Avro schema, and its values to and from Avro. Knows no framing and no ids.

Mapped: str, int (long), float (double), bool, bytes, datetime (timestamp-micros), Literal (string), `X | None`,
`tuple[X, ...]` (array) and nested dataclasses. An Avro enum is not used: it can't gain a symbol without
breaking old readers.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

SHOWN: Final = 40  # characters of what is refused

_PRIMITIVES: Mapping[type, str | Schema] = {
    str: "string",
    int: "long",
    float: "double",
    bool: "boolean",
    bytes: "bytes",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
}


def avro_schema(record: type, namespace: str) -> Schema:
    """Return the Avro schema of a dataclass; nested dataclasses are defined at their first use."""
    return _record(record, namespace, set())


def _record(record: type, namespace: str, defined: set[type]) -> Schema:
    defined.add(record)
    hints = get_type_hints(record)
    return {
        "type": "record",
        "name": record.__name__,
        "namespace": namespace,
        "doc": cleandoc(record.__doc__ or ""),
        "fields": [_field(each, hints[each.name], namespace, defined) for each in fields(record)],
    }


def _field(field: Field[Any], hint: Any, namespace: str, defined: set[type]) -> Schema:
    schema: Schema = {"name": field.name, "type": _type(hint, namespace, defined)}
    if field.default is not MISSING:
        schema["default"] = _default(field.default)
    return schema


def _default(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _default(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, bytes):
        return value.decode("latin-1")  # the Avro specification's spelling of bytes in JSON
    return list(value) if isinstance(value, tuple) else value


def _type(hint: Any, namespace: str, defined: set[type]) -> Any:
    if get_origin(hint) is Literal:
        return "string"
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _type(get_args(hint)[0], namespace, defined)}
    if get_origin(hint) is UnionType:
        return ["null", _type(_not_none(hint), namespace, defined)]
    if is_dataclass(hint):
        return f"{namespace}.{hint.__name__}" if hint in defined else _record(hint, namespace, defined)  # type: ignore[arg-type]  # a class, never an instance
    return _PRIMITIVES[hint]


def _not_none(hint: Any) -> Any:
    (inner,) = (each for each in get_args(hint) if each is not NoneType)
    return inner


def to_avro(value: object) -> dict[str, Any]:
    """Return the plain dict that an Avro writer takes for a dataclass."""
    record: type = type(value)
    return {
        name: convert(getattr(value, name)) if convert else getattr(value, name) for name, convert in _writers(record)
    }


def from_avro(record: type, data: Mapping[str, Any]) -> Any:
    """Return the dataclass behind what an Avro reader gave.

    Raises:
        ValueError: a text is none of those that its type lists.

    """
    return record(**{name: convert(data[name]) if convert else data[name] for name, convert in _readers(record)})


Convert = Callable[[Any], Any]


@cache
def _writers(record: type) -> tuple[tuple[str, Convert | None], ...]:
    hints = get_type_hints(record)
    return tuple((each.name, _writer(hints[each.name])) for each in fields(record))


@cache
def _readers(record: type) -> tuple[tuple[str, Convert | None], ...]:
    hints = get_type_hints(record)
    return tuple((each.name, _reader(hints[each.name])) for each in fields(record))


def _writer(hint: Any) -> Convert | None:
    return _converter(hint, many=list, one=to_avro)


def _reader(hint: Any) -> Convert | None:
    if get_origin(hint) is Literal:
        return _one_of(get_args(hint))
    inner = _not_none(hint) if get_origin(hint) is UnionType else hint
    if get_origin(inner) is tuple:
        inner = get_args(inner)[0]
    return _converter(hint, many=tuple, one=lambda data: from_avro(inner, data))


def _one_of(values: tuple[str, ...]) -> Convert:
    """Return what takes only these values. Whoever folds or shows a word relies on having been given one of them."""
    known = {each: each for each in values}

    def read(value: str) -> str:
        if value not in known:
            raise ValueError(f"{value[:SHOWN]!r} is not one of {', '.join(values)}")
        return known[value]

    return read


def _converter(hint: Any, *, many: Callable[[Any], Any], one: Convert) -> Convert | None:
    """Return how values of a type are converted; None when they need no conversion."""
    if get_origin(hint) is tuple:
        (item, _) = get_args(hint)
        return (lambda values: many(one(each) for each in values)) if is_dataclass(item) else many
    if get_origin(hint) is UnionType and is_dataclass(_not_none(hint)):
        return lambda value: None if value is None else one(value)
    return one if is_dataclass(hint) else None
