"""Derive Avro schemas from frozen dataclasses, and convert values to and from Avro. Independent of framing and IDs.

Mapped: str, int (long), float (double), bool, bytes, datetime (timestamp-micros), Literal (string), unions with or
without None, `tuple[X, ...]` (array), `Mapping[str, X]` (map) and nested dataclasses. An Avro enum is not used: it
can't gain a symbol without breaking old readers. Maps are sorted by key, so that equal values have equal bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

MAX_EXCERPT_CHARACTERS: Final = 40  # of a refused value

_PRIMITIVES: Mapping[type, str | Schema] = {
    str: "string",
    int: "long",
    float: "double",
    bool: "boolean",
    bytes: "bytes",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
}
_VALUES: Final = tuple(_PRIMITIVES)


def avro_schema(record: type, namespace: str) -> Schema:
    """Return the Avro schema of a dataclass. Nested dataclasses are defined at their first use."""
    return _record(record, namespace, set())


def _record(record: type, namespace: str, defined: set[type]) -> Schema:
    defined.add(record)
    hints = get_type_hints(record)
    return {
        "type": "record",
        "name": record.__name__,
        "namespace": namespace,
        "doc": cleandoc(record.__doc__ or ""),
        "fields": [_field(field, hints[field.name], namespace, defined) for field in fields(record)],
    }


def _field(field: Field[Any], hint: Any, namespace: str, defined: set[type]) -> Schema:
    schema: Schema = {"name": field.name, "type": _type(hint, namespace, defined)}
    if field.default is not MISSING:
        schema["default"] = _default(field.default)
    elif field.default_factory is not MISSING:
        schema["default"] = _default(field.default_factory())
    return schema


def _default(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _default(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.decode("latin-1")  # bytes in JSON, according to the Avro specification
    return list(value) if isinstance(value, tuple) else value


def _type(hint: Any, namespace: str, defined: set[type]) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        return "string"
    if origin is tuple:
        return {"type": "array", "items": _type(get_args(hint)[0], namespace, defined)}
    if origin is Mapping:
        return {"type": "map", "values": _type(get_args(hint)[1], namespace, defined)}
    if origin is UnionType:
        types = [_type(option, namespace, defined) for option in get_args(hint) if option is not NoneType]
        return ["null", *types] if NoneType in get_args(hint) else types
    if is_dataclass(hint):
        return f"{namespace}.{hint.__name__}" if hint in defined else _record(hint, namespace, defined)  # type: ignore[arg-type]  # a class, never an instance
    return _PRIMITIVES[hint]


def to_avro(value: object) -> dict[str, Any]:
    """Convert a dataclass to a dict for the Avro writer."""
    record: type = type(value)
    return {
        name: convert(getattr(value, name)) if convert else getattr(value, name) for name, convert in _writers(record)
    }


def from_avro(record: type, data: Mapping[str, Any]) -> Any:
    """Convert the output of the Avro reader to a dataclass.

    Raises:
        ValueError: a text is not one of the literals of its type.

    """
    return record(**{name: convert(data[name]) if convert else data[name] for name, convert in _readers(record)})


FieldConverter = Callable[[Any], Any]


@cache
def _writers(record: type) -> tuple[tuple[str, FieldConverter | None], ...]:
    hints = get_type_hints(record)
    return tuple((field.name, _writer(hints[field.name])) for field in fields(record))


@cache
def _readers(record: type) -> tuple[tuple[str, FieldConverter | None], ...]:
    hints = get_type_hints(record)
    return tuple((field.name, _reader(hints[field.name])) for field in fields(record))


def _writer(hint: Any) -> FieldConverter | None:
    return to_avro if is_dataclass(hint) else _converter(hint, _writer, list)


def _reader(hint: Any) -> FieldConverter | None:
    if get_origin(hint) is Literal:
        return _one_of(get_args(hint))
    if is_dataclass(hint):
        return lambda data: from_avro(hint, data)  # type: ignore[arg-type]  # a class, never an instance
    return _converter(hint, _reader, tuple)


def _one_of(values: tuple[str, ...]) -> FieldConverter:
    """Return a converter that accepts only these values, which exhaustive matches rely on."""
    allowed = {value: value for value in values}

    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"{value[:MAX_EXCERPT_CHARACTERS]!r} is not one of {', '.join(values)}")
        return allowed[value]

    return read


def _converter(
    hint: Any, inner: Callable[[Any], FieldConverter | None], sequence: type[list[Any] | tuple[Any, ...]]
) -> FieldConverter | None:
    """Return the converter of a container; `sequence` is the type of its lists. None: no conversion needed."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is tuple:
        item = inner(options[0])
        return (lambda values: sequence(map(item, values))) if item else sequence
    if origin is Mapping:
        value_of = inner(options[1])
        return lambda values: {name: value_of(values[name]) if value_of else values[name] for name in sorted(values)}
    if origin is UnionType and (converts := [convert for option in options if (convert := inner(option))]):
        (convert,) = converts  # of the only option that is not a primitive
        return lambda value: value if value is None or isinstance(value, _VALUES) else convert(value)
    return None
