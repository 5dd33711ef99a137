"""Bounded numbers: integers of 64 bits and finite floats, also parsed from text.

A float of 2^53 or more is an integer that may be rounded: parsers of JSON return one for an integer of more than 64
bits. Such a float is a quantity, never an identity, a text, or an exact integer.
"""

import re
from typing import Any, Final

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1
MAX_UNSIGNED: Final = 2**64 - 1  # parsers of JSON are exact up to here
MAX_EXACT_FLOAT: Final = 2**53  # floats represent all integers below it
MAX_FLOAT: Final = 1.7976931348623157e308
SAFE_DIGITS: Final = 19  # numbers with fewer digits fit into 64 bits
MAX_NUMBER_CHARACTERS: Final = 64  # of a number in a text
MAX_PADDED_CHARACTERS: Final = 256  # of a number, boolean or timestamp with the white space around it

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]{1,3})?")


def bounded_number(value: Any) -> int | float | None:
    """Return an integer of 64 bits or a finite float; None for other values, booleans included."""
    kind = type(value)
    if kind is int:
        return value if MIN_INTEGER <= value <= MAX_INTEGER else None
    return value if kind is float and -MAX_FLOAT <= value <= MAX_FLOAT else None


def is_inexact(value: Any) -> bool:
    """Whether a value is a float that may be a rounded integer, or is not finite."""
    return type(value) is float and not -MAX_EXACT_FLOAT < value < MAX_EXACT_FLOAT


def parse_number(text: str) -> int | float | None:
    """Parse a number like `read_number`; None if it is out of bounds."""
    return bounded_number(read_number(text))


def read_number(text: str) -> int | float | None:
    """Parse a number of any size, ignoring surrounding white space; None if the text is no number.

    Accepts ASCII digits, a decimal point and an exponent: no separators, no `NaN`, no units.
    """
    if len(text) < SAFE_DIGITS and text.isascii() and text.isdigit():
        return int(text)  # the common case
    text = text.strip() if len(text) <= MAX_PADDED_CHARACTERS else ""
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_NUMBER_CHARACTERS else None
    if match is None:
        return None
    return float(text) if any(match.groups()) else int(text)


def as_integer(number: float) -> int | None:
    """Return an integral number such as 7.0 as an integer; None if it has a fraction or exceeds 64 bits."""
    integer = int(number)
    return integer if integer == number and MIN_INTEGER <= integer <= MAX_INTEGER else None
