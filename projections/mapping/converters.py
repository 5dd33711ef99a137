"""One value of a message to the value of an attribute: typed and bounded, or absent with a fault. Nothing here raises.

Files of text know only texts, so a text that spells a number, a boolean or a timestamp is one, and an empty text is
absent. In the other direction nothing is converted: a number is no text.
"""

import json
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import Any, Final

from projections.mapping.expression_functions import MAX_TEXT_BYTES, SHORT
from projections.mapping.numbers import MAX_FLOAT, MAX_INTEGER, MIN_INTEGER, number_in, sound_number, whole
from schemas.json_depth import is_too_deep, json_levels
from schemas.timestamps import ParseTimestamp

Report = Callable[[Any, str], Any]  # takes a value and the code of its fault; gives None
Convert = Callable[[Any], Any]  # takes a value that isn't None

WRONG_TYPE: Final = "wrong_type"
OUT_OF_RANGE: Final = "out_of_range"
TOO_LONG: Final = "too_long"
TOO_DEEP: Final = "too_deep"
BAD_TEXT: Final = "bad_text"  # a NUL or half of a surrogate pair: no store and no encoding takes them
BAD_TIMESTAMP: Final = "bad_timestamp"

MAX_UNITED_BYTES: Final = 1024  # of a value of a union: a profile has up to a thousand of them
MAX_SUM: Final = 9_200_000_000_000_000_000  # millionths
EXACT: Final = 2**53  # floats below it have a place for their units
MILLION: Final = 1_000_000
MAX_EXAMPLE_CHARACTERS: Final = 80


def converter(merge: str, kind: str, moment: ParseTimestamp, report: Report) -> Convert:
    """Return what makes values of an attribute with that merge and type."""
    if merge == "count":
        return lambda value: None if value == "" else 1
    convert = moment_converter(moment, report) if kind == "timestamp" else CONVERTERS[kind](report)
    if merge == "union":
        return _united(convert, report)
    return _sum(convert, report) if merge == "sum" else convert


def moment_converter(moment: ParseTimestamp, report: Report) -> Convert:
    """Return what makes timestamps, in microseconds since 1970 UTC."""

    def convert(value: Any) -> Any:
        found = moment(value)
        blank = found is None and type(value) is str and not value.strip()
        return report(value, BAD_TIMESTAMP) if found is None and not blank else found

    return convert


def _string(report: Report) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not str:
            return report(value, WRONG_TYPE)
        if len(value) > SHORT or not value.isprintable():
            fault = text_fault(value, MAX_TEXT_BYTES)
            return report(value, fault) if fault else value
        return value or None

    return convert


def text_fault(text: str, most_bytes: int) -> str:
    """Return why a text can't be kept; empty when it can."""
    if len(text) > most_bytes:
        return TOO_LONG
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return BAD_TEXT
    return BAD_TEXT if "\0" in text else TOO_LONG if size > most_bytes else ""


def _integer(report: Report) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is int and MIN_INTEGER <= value <= MAX_INTEGER:
            return value
        number = _parsed(value, report)
        if number is None:
            return None
        found = whole(number)
        return report(value, WRONG_TYPE) if found is None else found

    return convert


def _number(report: Report) -> Convert:
    def convert(value: Any) -> Any:
        kind = type(value)
        if kind is int and MIN_INTEGER <= value <= MAX_INTEGER:
            return value
        if kind is not float or not -MAX_FLOAT <= value <= MAX_FLOAT:
            value = _parsed(value, report)
        return int(value) if type(value) is float and -EXACT < value < EXACT and value.is_integer() else value

    return convert


def _parsed(value: Any, report: Report) -> int | float | None:
    number: int | float | None
    if type(value) is str:
        number = number_in(value)
        if number is None and value.strip():
            report(value, WRONG_TYPE)
        return number
    number = sound_number(value)
    if number is None:
        report(value, OUT_OF_RANGE if type(value) in {int, float} else WRONG_TYPE)
    return number


def _boolean(report: Report) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is bool:
            return value
        text = value.strip() if type(value) is str else None
        if text == "":
            return None
        found = BOOLEANS.get(text.lower()) if text and len(text) <= MAX_EXAMPLE_CHARACTERS else None
        return report(value, WRONG_TYPE) if found is None else found

    return convert


def _json(report: Report) -> Convert:
    def convert(value: Any) -> Any:
        fault = _structure_fault(value)
        return report(value, fault) if fault else value

    return convert


def _structure_fault(value: Any) -> str:
    """Return why a JSON value can't be kept; empty when it can."""
    if is_too_deep(value):
        return TOO_DEEP
    for level in json_levels(value):
        if len(level) > MAX_TEXT_BYTES:
            return TOO_LONG
        if any(type(node) in {int, float} and sound_number(node) is None for node in level):
            return OUT_OF_RANGE
    return text_fault(json.dumps(value, ensure_ascii=False, separators=(",", ":")), MAX_TEXT_BYTES)


def _united(convert: Convert, report: Report) -> Convert:
    def value_of(value: Any) -> Any:
        found = convert(value)
        if type(found) is str and len(found) > MAX_UNITED_BYTES // 4 and len(found.encode()) > MAX_UNITED_BYTES:
            return report(value, TOO_LONG)
        return found

    return value_of


def _sum(convert: Convert, report: Report) -> Convert:
    def summand(value: Any) -> Any:
        number = convert(value)
        if number is None:
            return None
        exact = millionths(number)
        return report(value, OUT_OF_RANGE) if exact is None else exact

    return summand


def millionths(number: float) -> int | None:
    """Return a number as millionths, the half to the even one; None when they are too many.

    A float counts as the decimal number that it is written as.
    """
    if not -MAX_SUM <= number * MILLION <= MAX_SUM:
        return None
    if type(number) is int:
        return number * MILLION
    scaled = number * MILLION
    nearest = round(scaled)
    if -(2**43) < nearest < 2**43 and abs(scaled - nearest) < 0.49:  # the errors so far are below 2**-8
        return nearest
    return int((Decimal(repr(number)) * MILLION).to_integral_value(ROUND_HALF_EVEN))


def shown(value: Any) -> str:
    """Return a value as an example may hold it: short, on one line, however large it is."""
    match value:
        case str():
            text = repr(value[:MAX_EXAMPLE_CHARACTERS])
        case dict() | list():
            text = f"{'an object' if type(value) is dict else 'a list'} of {len(value)}"
        case int() if sound_number(int(value)) is None:
            text = f"an integer of {value.bit_length()} bits"
        case _:
            text = repr(value)
    return text if len(text) <= MAX_EXAMPLE_CHARACTERS else text[: MAX_EXAMPLE_CHARACTERS - 1] + "…"


BOOLEANS: Final = MappingProxyType({"true": True, "false": False})
CONVERTERS: Final[MappingProxyType[str, Callable[[Report], Convert]]] = MappingProxyType(
    {"string": _string, "integer": _integer, "number": _number, "boolean": _boolean, "json": _json}
)
