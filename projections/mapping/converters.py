"""Convert values of a message to typed, bounded values of an attribute. Invalid values are reported; nothing raises.

Integers are exact: a float that may be a rounded integer is a fault, except as a number that is not an item of a union.

Text files have only text values, so text is parsed as number, boolean or timestamp, and a blank text means absent. A
text of more than `MAX_PADDED_CHARACTERS` is none of them: it is a fault, without being read. The reverse is not
converted: a number is not a text.
"""

import json
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import Any, Final

from projections.mapping.expression_functions import MAX_TEXT_BYTES, SAFE_CHARACTERS
from projections.mapping.numbers import (
    MAX_EXACT_FLOAT,
    MAX_FLOAT,
    MAX_INTEGER,
    MAX_PADDED_CHARACTERS,
    MIN_INTEGER,
    as_integer,
    bounded_number,
    is_inexact,
    parse_number,
)
from schemas.json_values import is_too_deep, json_levels
from schemas.timestamps.formats import ParseTimestamp

Report = Callable[[Any, str], Any]  # value, code of its fault -> None
ValueConverter = Callable[[Any], Any]  # a value other than None -> converted value or None

WRONG_TYPE: Final = "wrong_type"
OUT_OF_RANGE: Final = "out_of_range"
INEXACT: Final = "inexact_number"  # a rounded integer, or one that no exact number can represent
TOO_LONG: Final = "too_long"
TOO_DEEP: Final = "too_deep"
BAD_TEXT: Final = "bad_text"  # a NUL or a lone surrogate: neither stores nor encodings accept them
BAD_TIMESTAMP: Final = "bad_timestamp"

MAX_UNION_ITEM_BYTES: Final = 1024  # a profile has up to a thousand values of a union
MAX_SUM: Final = 9_200_000_000_000_000_000  # millionths
MILLION: Final = 1_000_000
MAX_EXAMPLE_CHARACTERS: Final = 80


class JsonFaults:
    """The faults of the JSON values of one message. Each is checked once: many attributes can read the same value."""

    __slots__ = ("_checked",)

    def __init__(self) -> None:
        self._checked: dict[int, tuple[Any, str]] = {}  # by id, with the value, so that no other gets its id

    def of(self, value: Any) -> str:
        """Return the code of the fault of a value; empty if it is valid."""
        checked = self._checked.get(id(value))
        if checked is None:
            checked = self._checked[id(value)] = (value, _structure_fault(value))
        return checked[1]

    def clear(self) -> None:
        """Forget the values of a message."""
        self._checked.clear()


def converter(
    merge: str, kind: str, parse_timestamp: ParseTimestamp, report: Report, json_faults: JsonFaults
) -> ValueConverter:
    """Return the converter of an attribute with this merge function and type."""
    if merge == "count":
        return lambda value: None if value == "" else 1
    match kind:
        case "timestamp":
            convert = timestamp_converter(parse_timestamp, report)
        case "json":
            convert = _json(report, json_faults)
        case _:
            convert = CONVERTERS[kind](report)
    if merge == "union":
        return _union(convert, report)
    return _sum(convert, report) if merge == "sum" else convert


def timestamp_converter(parse_timestamp: ParseTimestamp, report: Report) -> ValueConverter:
    """Return a converter to microseconds since 1970 UTC."""

    def convert(value: Any) -> Any:
        micros = parse_timestamp(value)
        return report(value, BAD_TIMESTAMP) if micros is None and not _is_blank(value) else micros

    return convert


def _string(report: Report) -> ValueConverter:
    def convert(value: Any) -> Any:
        if type(value) is not str:
            return report(value, WRONG_TYPE)
        if len(value) > SAFE_CHARACTERS or not value.isprintable():
            fault = text_fault(value, MAX_TEXT_BYTES)
            return report(value, fault) if fault else value
        return value or None

    return convert


def text_fault(text: str, max_bytes: int) -> str:
    """Return the code of the fault of a text; empty if it is valid."""
    if len(text) > max_bytes:
        return TOO_LONG
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return BAD_TEXT
    return BAD_TEXT if "\0" in text else TOO_LONG if size > max_bytes else ""


def _integer(report: Report) -> ValueConverter:
    def convert(value: Any) -> Any:
        if type(value) is int and MIN_INTEGER <= value <= MAX_INTEGER:
            return value
        number = _parse(value, report)
        if number is None:
            return None
        if is_inexact(number):
            return report(value, INEXACT)
        integer = as_integer(number)
        return report(value, WRONG_TYPE) if integer is None else integer

    return convert


def _number(report: Report) -> ValueConverter:
    def convert(value: Any) -> Any:
        kind = type(value)
        if kind is int and MIN_INTEGER <= value <= MAX_INTEGER:
            return value
        if kind is not float or not -MAX_FLOAT <= value <= MAX_FLOAT:
            value = _parse(value, report)
        return (
            int(value)
            if type(value) is float and -MAX_EXACT_FLOAT < value < MAX_EXACT_FLOAT and value.is_integer()
            else value
        )

    return convert


def _parse(value: Any, report: Report) -> int | float | None:
    number: int | float | None
    if type(value) is str:
        number = parse_number(value)
        if number is None and not _is_blank(value):
            report(value, WRONG_TYPE)
        return number
    number = bounded_number(value)
    if number is None:
        report(value, OUT_OF_RANGE if type(value) in {int, float} else WRONG_TYPE)
    return number


def _boolean(report: Report) -> ValueConverter:
    def convert(value: Any) -> Any:
        if type(value) is bool:
            return value
        if _is_blank(value):
            return None
        is_text = type(value) is str and len(value) <= MAX_PADDED_CHARACTERS
        boolean = BOOLEANS.get(value.strip().lower()) if is_text else None
        return report(value, WRONG_TYPE) if boolean is None else boolean

    return convert


def _is_blank(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_PADDED_CHARACTERS and not value.strip()


def _json(report: Report, faults: JsonFaults) -> ValueConverter:
    def convert(value: Any) -> Any:
        fault = faults.of(value)
        return report(value, fault) if fault else value

    return convert


def _structure_fault(value: Any) -> str:
    """Return the code of the fault of a JSON value; empty if it is valid."""
    if is_too_deep(value):
        return TOO_DEEP
    for level in json_levels(value):
        if len(level) > MAX_TEXT_BYTES:
            return TOO_LONG
        for node in level:
            kind = type(node)
            if (kind is float and not -MAX_EXACT_FLOAT < node < MAX_EXACT_FLOAT) or (
                kind is int and not MIN_INTEGER <= node <= MAX_INTEGER
            ):
                return OUT_OF_RANGE if bounded_number(node) is None else INEXACT
    return text_fault(json.dumps(value, ensure_ascii=False, separators=(",", ":")), MAX_TEXT_BYTES)


def _union(convert: ValueConverter, report: Report) -> ValueConverter:
    def convert_item(value: Any) -> Any:
        item = convert(value)
        if type(item) is str and len(item) > MAX_UNION_ITEM_BYTES // 4 and len(item.encode()) > MAX_UNION_ITEM_BYTES:
            return report(value, TOO_LONG)
        return report(value, INEXACT) if is_inexact(item) else item  # the items of a union are texts

    return convert_item


def _sum(convert: ValueConverter, report: Report) -> ValueConverter:
    def convert_summand(value: Any) -> Any:
        number = convert(value)
        if number is None:
            return None
        exact = millionths(number)
        return report(value, OUT_OF_RANGE) if exact is None else exact

    return convert_summand


def millionths(number: float) -> int | None:
    """Return a number in millionths, rounded half to even; None if out of range.

    A float counts as its shortest decimal representation.
    """
    if not -MAX_SUM <= number * MILLION <= MAX_SUM:
        return None
    if type(number) is int:
        return number * MILLION
    scaled = number * MILLION
    nearest = round(scaled)
    if -(2**43) < nearest < 2**43 and abs(scaled - nearest) < 0.49:  # the rounding errors so far are below 2**-8
        return nearest
    return int((Decimal(repr(number)) * MILLION).to_integral_value(ROUND_HALF_EVEN))


def format_example(value: Any) -> str:
    """Format a value of any size as a short example on one line."""
    match value:
        case str():
            text = repr(value[:MAX_EXAMPLE_CHARACTERS])
        case dict() | list():
            text = f"{'an object' if type(value) is dict else 'a list'} of {len(value)}"
        case int() if bounded_number(int(value)) is None:
            text = f"an integer of {value.bit_length()} bits"
        case _:
            text = repr(value)
    return text if len(text) <= MAX_EXAMPLE_CHARACTERS else text[: MAX_EXAMPLE_CHARACTERS - 1] + "…"


BOOLEANS: Final = MappingProxyType({"true": True, "false": False})
CONVERTERS: Final[MappingProxyType[str, Callable[[Report], ValueConverter]]] = MappingProxyType(
    {"string": _string, "integer": _integer, "number": _number, "boolean": _boolean}
)
