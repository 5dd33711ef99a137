"""What the names of fields give away: whose id it may be, whether it tells a time; and how expressions write them."""

import re
from typing import Final, NamedTuple

from projections.mapping.expression import RESERVED

Path = tuple[str, ...]


def _any_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


EMAIL: Final = "email"
MAX_KIND_CHARACTERS: Final = 32
MAX_SHOWN_CHARACTERS: Final = 60
IDS: Final = ("uuid", "guid", "number", "num", "key", "id")
NUMBERS: Final = frozenset({"number", "num"})  # more often than ids they count or stand on a door
NO_IDS: Final = _any_of(
    "aid android avoid bid fluid grid hybrid invalid liquid mid monkey paid prepaid rapid solid turkey unpaid valid "
    "void"
)
PEOPLE: Final = _any_of(
    "anonymous client contact cookie customer guest member passenger patient people person player profile student "
    "subscriber user visitor"
)
OTHERS: Final = _any_of("agent bcc by cc from manager owner parent recipient referrer reply sender to")
THINGS: Final = _any_of(
    "account batch campaign category click company event flight gate house index invoice item job line message order "
    "organization page payment position postal product record request row seat segment sequence session shipment sku "
    "store ticket trace transaction version view zip"
)
CODES: Final = _any_of("ean fax iban isbn mobile phone plz postal postcode ssn tel telephone zip zipcode")
TIMES: Final = _any_of("at date hour time timestamp ts when")
TIME_ENDS: Final = ("time", "date", "timestamp", "hour")
LATER: Final = _any_of("birth birthday birthdate born dob due end ends expire expires expiry until valid")

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PLAIN: Final = re.compile(r"[^\W\d]\w*")


class NameFacts(NamedTuple):
    """What an id is named after, as the name of a kind; and how far it names a person: 2 yes, 1 perhaps, 0 no."""

    kind: str
    person: int
    by_number: bool


def words(name: str) -> list[str]:
    """Return the words of a name: `userId`, `user_id` and `USER-ID` are `user` and `id`."""
    return [each.lower() for each in _WORD.findall(name)]


def id_named(stream: str, path: Path) -> NameFacts | None:
    """Return what a field is the id of; None when its name isn't that of an id.

    A bare `id` is that of what is around it: of the object, or of the stream's messages.
    """
    found = words(path[-1])
    last = found[-1] if found else ""
    end = next((each for each in IDS if last.endswith(each) and last not in NO_IDS), None)
    if end is None:
        return None
    stem = [each for each in (*found[:-1], last.removesuffix(end)) if each]
    around = stem or words(path[-2] if len(path) > 1 else stream)
    kind = kind_of(stem or [*around[:-1], *map(_singular, around[-1:])])
    return NameFacts(kind or "id", person_grade(around), by_number=end in NUMBERS)


def kind_of(parts: list[str]) -> str:
    """Return words as the name of a kind of identity; empty when there are none. An id isn't of the kind `email`."""
    kind = "_".join(parts)[:MAX_KIND_CHARACTERS].rstrip("_")
    return f"{kind}_id" if kind == EMAIL else kind


def person_grade(parts: list[str]) -> int:
    """Return how far words name the person that a message is about: 2 yes, 1 perhaps, 0 no."""
    if OTHERS.intersection(parts) or _has_one_of(parts[-1:], THINGS):
        return 0
    return 2 if _has_one_of(parts, PEOPLE) else 1


def _has_one_of(parts: list[str], known: frozenset[str]) -> bool:
    return any(each in known or _singular(each) in known for each in parts)


def _singular(word: str) -> str:
    return word if word.endswith("ss") else word.removesuffix("s")


def tells_time(name: str) -> int:
    """Return how far a name is that of when a message was: 2 yes, 1 perhaps, 0 it's of another day."""
    found = words(name)
    if LATER.intersection(found):
        return 0
    return 2 if TIMES.intersection(found) or (found and found[-1].endswith(TIME_ENDS)) else 1


def is_code(name: str) -> bool:
    """Whether its digits are no number, as those of a phone or a postal code."""
    return not CODES.isdisjoint(words(name))


def title_of(path: Path) -> str:
    """Return a title for a kind of identity."""
    return " ".join(words(path[-1])).capitalize() or "Id"


def expression_of(path: Path) -> str:
    """Return a path as an expression reads it."""
    return ".".join(map(_step, path))


def _step(name: str) -> str:
    if _PLAIN.fullmatch(name) and name not in RESERVED:
        return name
    return f"`{name.replace('`', '``')}`"


def attribute_name(name: str, longest: int) -> str:
    """Return a name that an attribute may have; empty when nothing of it is left."""
    printable = "".join(each if each.isprintable() else "_" for each in name)
    return printable.strip()[:longest].strip()


def shown(path: Path) -> str:
    """Return a path as a sentence names it."""
    name = ".".join(path)
    return f"`{name if len(name) <= MAX_SHOWN_CHARACTERS else name[:MAX_SHOWN_CHARACTERS] + '…'}`"
