"""Values that are no identities: placeholders such as `null`, and values that many people share."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from unicodedata import decimal, normalize

ZEROS: Final = "0"
PUNCTUATION: Final = "-"
DEFAULT_BLOCKED_VALUES: Final = (
    ZEROS,
    PUNCTUATION,
    "-1",
    "#DIV/0!",
    "#N/A",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#REF!",
    "#VALUE!",
    "[object Null]",
    "[object Object]",
    "[object Undefined]",
    "\\N",
    "anonymous",
    "false",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "ffffffffffffffffffffffffffffffff",
    "guest",
    "invalid",
    "n.a.",
    "N/A",
    "NA",
    "NaN",
    "nil",
    "none",
    "not available",
    "not set",
    "null",
    "true",
    "undefined",
    "unknown",
)
_QUOTES: Final = " \t\"'`<>()[]{}\u2018\u2019\u201c\u201d\u201e\u201a\u00ab\u00bb\u2039\u203a"
MARKS: Final = frozenset(f"0{_QUOTES}!#$%&*+,-./:;=?@\\^_|~\u00b7\u2010\u2011\u2012\u2013\u2014\u2015\u2026\u2212")
_ZEROS_AND_MARKS: Final = "".join(sorted(MARKS))


def folded(value: str) -> str:
    """Return a value for comparison: in lower case, without quotes and brackets around it, and without full width.

    A value of zeros (of any script) and punctuation, such as the nil UUID, is `0`; one of punctuation alone is `-`.
    """
    lower = value.lower() if value.isascii() else _compatible(value)
    if lower[:1] not in MARKS:
        return lower
    core = lower.strip(_QUOTES)
    if core.strip(_ZEROS_AND_MARKS):
        return core
    return ZEROS if ZEROS in core else PUNCTUATION


def _compatible(value: str) -> str:
    lower = normalize("NFKC", value).lower()
    return "".join(ZEROS if decimal(character, None) == 0 else character for character in lower)


class BlockedValues:
    """A set of values, compared by their folded forms.

    For callers with many values: an ASCII value can only be blocked if its first character is in `MARKS`, or if its
    length is in `lengths` and its lower case in `values`.
    """

    __slots__ = ("lengths", "values")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = frozenset(map(folded, values))
        self.lengths = frozenset(map(len, self.values))

    def __contains__(self, value: str) -> bool:
        return folded(value) in self.values


def with_value_blocked(body: Mapping[str, Any], identity: str) -> dict[str, Any] | None:
    """Return the JSON body of identity rules that also block an identity (`kind:value`); None for an unknown kind."""
    name, _, value = identity.partition(":")
    if not value or all(kind["kind"] != name for kind in body.get("kinds", ())):
        return None
    kinds = [
        {**kind, "blocked_values": sorted({*(kind.get("blocked_values") or ()), value})}
        if kind["kind"] == name
        else kind
        for kind in body["kinds"]
    ]
    return {**body, "kinds": kinds}
