"""One full and one bare record of every word, always the same: what the golden files are made of."""

from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from schemas.coded import Params

MOMENT = datetime(2026, 11, 3, 14, 3, 0, 123456, tzinfo=UTC)


def full(word: type) -> Any:
    """Every field has a value of its own."""
    hints = get_type_hints(word)
    return word(**{each.name: _value(hints[each.name], each.name, place) for place, each in enumerate(fields(word), 1)})


def bare(word: type) -> Any:
    """What has a default is left out, and what can be missing is missing."""
    hints = get_type_hints(word)
    required = [field for field in fields(word) if field.default is MISSING and field.default_factory is MISSING]
    return word(**{field.name: _value(hints[field.name], field.name, 0) for field in required})


def _value(hint: Any, name: str, place: int) -> Any:
    if get_origin(hint) is Literal:
        return get_args(hint)[place % len(get_args(hint))]
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], name, each) for each in range(1, 3)) if place else ()
    if hint == Params:
        return (
            {"list": (name, "✓"), "text": name, "number": place, "share": 0.5, "flag": True, "none": None}
            if place
            else {}
        )
    if get_origin(hint) is UnionType:
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        return _value(inner, name, place) if place else None
    if is_dataclass(hint):
        return full(hint) if place else bare(hint)  # type: ignore[arg-type]  # a class, never an instance
    values: dict[type, Any] = {
        str: f"{name} ✓ {place}" if place else "",
        int: place * 1_000_003,
        float: place + 0.25,
        bool: place % 2 == 0,
        bytes: bytes(range(place)),
        datetime: MOMENT,
    }
    return values[hint]


def shown(value: Any) -> Any:
    """A word as JSON, for people and for comparison."""
    if is_dataclass(value):
        return {each.name: shown(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {name: shown(value[name]) for name in sorted(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value
