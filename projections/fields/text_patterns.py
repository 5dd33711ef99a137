"""Detect the pattern of a text or a number by cheap tests of its first characters, and hash its value.

Only suggestions use patterns; nothing is applied without confirmation.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from projections.fields.distinct_sketch import hash_text
from projections.identities.blocked_values import DEFAULT_BLOCKED_VALUES, BlockedValues
from projections.mapping.converters import BOOLEANS
from projections.time_zones import zone
from schemas.timestamps.formats import timestamp_parser

BLANK: Final = "blank"
OTHER: Final = "other"
BOOLEAN: Final = "boolean"
INTEGER: Final = "integer"
TIMESTAMP: Final = "timestamp"
UUID: Final = "uuid"
PHONE: Final = "phone"  # with a country code
DIGITS: Final = "digits"  # with separators or leading zeros, such as national phone numbers
PLACEHOLDER: Final = "placeholder"  # such as `N/A` or the nil UUID; an additional pattern of integers and booleans
PATTERNS: Final = (
    BLANK,
    BOOLEAN,
    INTEGER,
    "number",
    TIMESTAMP,
    "email",
    "url",
    UUID,
    PHONE,
    DIGITS,
    PLACEHOLDER,
    OTHER,
)  # every text has exactly one
EPOCHS: Final = ("epoch_s", "epoch_ms", "epoch_us")  # additional patterns of texts and numbers

PLACEHOLDER_NUMBERS: Final = frozenset({0, -1})  # of the default blocked values
MAX_CHECKED_CHARACTERS: Final = 200
MAX_BOOLEAN_CHARACTERS: Final = 5
MAX_CACHED_CHARACTERS: Final = 64  # longer texts rarely repeat soon
FIRST_SECOND: Final = 1_000_000_000  # in 2001; smaller numbers are rarely seconds
LAST_SECOND: Final = 4_200_000_000  # in 2103

_PLACEHOLDERS: Final = BlockedValues(DEFAULT_BLOCKED_VALUES)
_ISO: Final = timestamp_parser(("auto",), zone("UTC"))
# Possessive quantifiers (`++`) prevent backtracking. A number with a plus sign or leading zeros is a phone number, a
# postal code or an article number, hence a text.
_PATTERN: Final = re.compile(
    r"""(?P<integer>-?(?:0|[1-9][0-9]{0,18}+))
      | (?P<number>-?(?:0|[1-9][0-9]{0,18}+)?\.[0-9]{1,19}+(?:[eE][+-]?[0-9]{1,3}+)?)
      | (?P<timestamp>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt\ ][0-9:.,Zz+-]{2,30}+)?)
      | (?P<uuid>[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})
      | (?P<phone>\(?\+[0-9()][0-9\ ()./-]{6,28}+)
      | (?P<digits>[0-9(][0-9\ ()./-]{3,28}+)
      | (?P<url>[A-Za-z][A-Za-z0-9+-]{0,15}+://\S++)
      | (?P<email>[^\s@<>,;:]{1,64}+@[^\s@<>,;:.]++(?:\.[^\s@<>,;:.]++)++)""",
    re.VERBOSE,
)


class TextFacts(NamedTuple):
    """The pattern of a value, and an additional one if it may be an epoch timestamp or a placeholder."""

    pattern: str
    extra: str
    value_hash: int


def text_facts(text: str) -> TextFacts:
    """Return the pattern and the hash of a text."""
    return _cached_text_facts(text) if len(text) <= MAX_CACHED_CHARACTERS else _text_facts(text)


@lru_cache(maxsize=4096, typed=True)
def number_facts(number: float) -> TextFacts:
    """Return the epoch unit and the hash of a number. Equal numbers have the same hash."""
    if type(number) is float and number.is_integer():
        number = int(number)
    extra = PLACEHOLDER if number in PLACEHOLDER_NUMBERS else epoch_of(number)
    return TextFacts(OTHER, extra, hash_text(f"#{number:x}" if type(number) is int else f"#{number!r}"))


def epoch_of(number: float) -> str:
    """Return the unit in which a number is a timestamp of this century; empty if there is none."""
    for unit, scale in zip(EPOCHS, (1, 1_000, 1_000_000), strict=True):
        if FIRST_SECOND * scale <= number < LAST_SECOND * scale:
            return unit
    return ""


def _text_facts(text: str) -> TextFacts:
    excerpt = text[:MAX_CHECKED_CHARACTERS].strip()
    match: Any = _PATTERN.fullmatch(excerpt)
    pattern: str = match.lastgroup if match else OTHER
    extra = epoch_of(int(excerpt)) if pattern == INTEGER else ""
    if not excerpt:
        pattern = BLANK
    elif pattern == TIMESTAMP and _ISO(excerpt) is None:
        pattern = OTHER
    elif len(excerpt) <= MAX_BOOLEAN_CHARACTERS and excerpt.lower() in BOOLEANS:
        pattern = BOOLEAN
    elif pattern in {OTHER, UUID, DIGITS} and excerpt in _PLACEHOLDERS:
        pattern = PLACEHOLDER
    if pattern in {INTEGER, BOOLEAN} and excerpt in _PLACEHOLDERS:
        extra = PLACEHOLDER
    return TextFacts(pattern, extra, hash_text(text))


_cached_text_facts = lru_cache(maxsize=4096)(_text_facts)
