"""What a text or a number looks like, by cheap tests of its first characters; and a mark by which equal ones are known.

A look is a guess for people: nothing goes by it that they didn't agree to.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from projections.fields.distinct_sketch import mark_of
from projections.mapping.converters import BOOLEANS
from projections.time_zones import zone
from schemas.timestamps import timestamp_parser

BLANK: Final = "blank"
OTHER: Final = "other"
INTEGER: Final = "integer"
TIMESTAMP: Final = "timestamp"
PATTERNS: Final = (
    BLANK,
    "boolean",
    INTEGER,
    "number",
    TIMESTAMP,
    "email",
    "url",
    "uuid",
    OTHER,
)  # a text has one of them
EPOCHS: Final = ("epoch_s", "epoch_ms", "epoch_us")  # and texts and numbers may be one of these on top

MAX_CHECKED_CHARACTERS: Final = 200  # characters
MAX_BOOLEAN_CHARACTERS: Final = 5
REMEMBERED: Final = 64  # characters; longer texts rarely come again soon
FIRST_SECOND: Final = 1_000_000_000  # of 2001: smaller numbers count other things than seconds
LAST_SECOND: Final = 4_200_000_000  # of 2103

_ISO: Final = timestamp_parser(("auto",), zone("UTC"))
# Nothing is read twice: what a part has taken it never gives back (`++`). A number with a plus sign or with zeros in
# front is a phone number, a postal code or an article number: a text.
_PATTERN: Final = re.compile(
    r"""(?P<integer>-?(?:0|[1-9][0-9]{0,18}+))
      | (?P<number>-?(?:0|[1-9][0-9]{0,18}+)?\.[0-9]{1,19}+(?:[eE][+-]?[0-9]{1,3}+)?)
      | (?P<timestamp>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt\ ][0-9:.,Zz+-]{2,30}+)?)
      | (?P<uuid>[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})
      | (?P<url>[A-Za-z][A-Za-z0-9+-]{0,15}+://\S++)
      | (?P<email>[^\s@<>,;:]{1,64}+@[^\s@<>,;:.]++(?:\.[^\s@<>,;:.]++)++)""",
    re.VERBOSE,
)


class TextFacts(NamedTuple):
    """What is said of one value. `epoch` is empty when it can't be a time that is counted from 1970."""

    look: str
    epoch: str
    mark: int


def about_text(text: str) -> TextFacts:
    """Return what a text looks like."""
    return _remembered(text) if len(text) <= REMEMBERED else _about(text)


@lru_cache(maxsize=4096, typed=True)
def about_number(number: float) -> TextFacts:
    """Return what a number looks like; its `look` says nothing. Numbers that are equal have the same mark."""
    if type(number) is float and number.is_integer():
        number = int(number)
    return TextFacts(OTHER, epoch_of(number), mark_of(f"#{number:x}" if type(number) is int else f"#{number!r}"))


def epoch_of(number: float) -> str:
    """Return the unit in which a number would be a time of this century, or nothing."""
    for unit, scale in zip(EPOCHS, (1, 1_000, 1_000_000), strict=True):
        if FIRST_SECOND * scale <= number < LAST_SECOND * scale:
            return unit
    return ""


def _about(text: str) -> TextFacts:
    cut = text[:MAX_CHECKED_CHARACTERS].strip()
    found: Any = _PATTERN.fullmatch(cut)
    look: str = found.lastgroup if found else OTHER
    if not cut:
        look = BLANK
    elif look == TIMESTAMP and _ISO(cut) is None:
        look = OTHER
    elif len(cut) <= MAX_BOOLEAN_CHARACTERS and cut.lower() in BOOLEANS:
        look = "boolean"
    return TextFacts(look, epoch_of(int(cut)) if look == INTEGER else "", mark_of(text))


_remembered = lru_cache(maxsize=4096)(_about)
