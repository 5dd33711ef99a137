"""A fixed full and a fixed bare sample of every record type, as stored in the golden files."""

from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from schemas.coded import Params

MOMENT = datetime(2026, 11, 3, 14, 3, 0, 123456, tzinfo=UTC)


def full(record_type: type) -> Any:
    """Build a record in which every field has a distinct value."""
    hints = get_type_hints(record_type)
    return record_type(
        **{
            field.name: _value(hints[field.name], field.name, number)
            for number, field in enumerate(fields(record_type), 1)
        }
    )


def bare(record_type: type) -> Any:
    """Build a record of required fields only, with None for optional values."""
    hints = get_type_hints(record_type)
    required = [field for field in fields(record_type) if field.default is MISSING and field.default_factory is MISSING]
    return record_type(**{field.name: _value(hints[field.name], field.name, 0) for field in required})


def _value(hint: Any, name: str, number: int) -> Any:
    if get_origin(hint) is Literal:
        return get_args(hint)[number % len(get_args(hint))]
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], name, index) for index in range(1, 3)) if number else ()
    if hint == Params:
        return (
            {"list": (name, "✓"), "text": name, "number": number, "share": 0.5, "flag": True, "none": None}
            if number
            else {}
        )
    if get_origin(hint) is UnionType:
        (inner,) = (option for option in get_args(hint) if option is not NoneType)
        return _value(inner, name, number) if number else None
    if is_dataclass(hint):
        return full(hint) if number else bare(hint)  # type: ignore[arg-type]  # a class, never an instance
    values: dict[type, Any] = {
        str: f"{name} ✓ {number}" if number else "",
        int: number * 1_000_003,
        float: number + 0.25,
        bool: number % 2 == 0,
        bytes: bytes(range(number)),
        datetime: MOMENT,
    }
    return values[hint]


def as_json(value: Any) -> Any:
    """Convert a record to JSON values."""
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: as_json(value[name]) for name in sorted(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value
