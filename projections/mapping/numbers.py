"""Numbers that came from outside: within 64 bits or finite, or absent; and those that are written as text."""

import re
from typing import Any, Final

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1
MAX_FLOAT: Final = 1.7976931348623157e308
SAFE_DIGITS: Final = 19  # fewer are always within 64 bits
MAX_NUMBER_CHARACTERS: Final = 64  # characters of a number that is written as text

_WRITTEN: Final = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]{1,3})?")


def sound_number(value: Any) -> int | float | None:
    """Return a number within 64 bits, or finite; None for what is no number (a boolean isn't) or out of bounds."""
    kind = type(value)
    if kind is int:
        return value if MIN_INTEGER <= value <= MAX_INTEGER else None
    return value if kind is float and -MAX_FLOAT <= value <= MAX_FLOAT else None


def number_in(text: str) -> int | float | None:
    """Return the number that a text spells, spaces around it left out; None when it spells none, or one out of bounds.

    Only ASCII digits, a point and an exponent spell one: no separators, no `NaN`, no units.
    """
    if len(text) < SAFE_DIGITS and text.isascii() and text.isdigit():
        return int(text)  # most numbers
    text = text.strip()
    found = _WRITTEN.fullmatch(text) if len(text) <= MAX_NUMBER_CHARACTERS else None
    if found is None:
        return None
    return sound_number(float(text) if any(found.groups()) else int(text))


def whole(number: float) -> int | None:
    """Return a number as an integer when it is one, so 7.0 too; None when it has a fraction or is out of 64 bits."""
    found = int(number)
    return found if found == number and MIN_INTEGER <= found <= MAX_INTEGER else None
