"""Classify fields by name: identifiers, persons and timestamps. Format names for expressions and messages."""

import re
from typing import Final, NamedTuple

from projections.mapping.expression import RESERVED

FieldPath = tuple[str, ...]


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


EMAIL: Final = "email"
MAX_KIND_CHARACTERS: Final = 32
MAX_DISPLAY_CHARACTERS: Final = 60
ID_SUFFIXES: Final = ("uuid", "guid", "number", "num", "key", "id")
NUMBER_SUFFIXES: Final = frozenset({"number", "num"})  # more often a count than an ID
NON_IDS: Final = _word_set(
    "aid android avoid bid fluid grid hybrid invalid liquid mid monkey paid prepaid rapid solid turkey unpaid valid "
    "void"
)
PERSON_WORDS: Final = _word_set(
    "anonymous client contact cookie customer guest member passenger patient people person player profile student "
    "subscriber user visitor"
)
OTHER_PERSON_WORDS: Final = _word_set("agent bcc by cc from manager owner parent recipient referrer reply sender to")
OBJECT_WORDS: Final = _word_set(
    "account batch campaign category click company event flight gate house index invoice item job line message order "
    "organization page payment position postal product record request row seat segment sequence session shipment sku "
    "store ticket trace transaction version view zip"
)
CODE_WORDS: Final = _word_set("ean fax iban isbn mobile phone plz postal postcode ssn tel telephone zip zipcode")
PHONE_WORDS: Final = _word_set("cell cellphone handy mobile msisdn phone tel telephone")
TIME_WORDS: Final = _word_set("at date hour time timestamp ts when")
TIME_SUFFIXES: Final = ("time", "date", "timestamp", "hour")
OTHER_DATE_WORDS: Final = _word_set("birth birthday birthdate born dob due end ends expire expires expiry until valid")

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PLAIN_NAME: Final = re.compile(r"[^\W\d]\w*")


class NameFacts(NamedTuple):
    """The identity kind of an ID field, and whether it identifies a person: 2 yes, 1 perhaps, 0 no."""

    kind: str
    person: int
    by_number: bool


def words(name: str) -> list[str]:
    """Split a name into lower-case words: `userId`, `user_id` and `USER-ID` are `user` and `id`."""
    return [word.lower() for word in _WORD.findall(name)]


def parse_id_name(stream: str, path: FieldPath) -> NameFacts | None:
    """Return the facts of an ID field; None if its name isn't that of an ID.

    A bare `id` takes its kind from the enclosing object, or from the stream.
    """
    name_words = words(path[-1])
    last = name_words[-1] if name_words else ""
    suffix = next((suffix for suffix in ID_SUFFIXES if last.endswith(suffix) and last not in NON_IDS), None)
    if suffix is None:
        return None
    stem = [word for word in (*name_words[:-1], last.removesuffix(suffix)) if word]
    context = stem or words(path[-2] if len(path) > 1 else stream)
    kind = identity_kind(stem or [*context[:-1], *map(_singular, context[-1:])])
    return NameFacts(kind or "id", person_grade(context), by_number=suffix in NUMBER_SUFFIXES)


def identity_kind(parts: list[str]) -> str:
    """Join words to the name of an identity kind; empty without words. An ID never gets the kind `email`."""
    kind = "_".join(parts)[:MAX_KIND_CHARACTERS].rstrip("_")
    return f"{kind}_id" if kind == EMAIL else kind


def person_grade(parts: list[str]) -> int:
    """Return whether words name the person that a message is about: 2 yes, 1 perhaps, 0 no."""
    if OTHER_PERSON_WORDS.intersection(parts) or _contains_any(parts[-1:], OBJECT_WORDS):
        return 0
    return 2 if _contains_any(parts, PERSON_WORDS) else 1


def _contains_any(parts: list[str], vocabulary: frozenset[str]) -> bool:
    return any(word in vocabulary or _singular(word) in vocabulary for word in parts)


def _singular(word: str) -> str:
    return word if word.endswith("ss") else word.removesuffix("s")


def timestamp_grade(name: str) -> int:
    """Return whether a name is that of an event time: 2 yes, 1 perhaps, 0 no, but of another date."""
    name_words = words(name)
    if OTHER_DATE_WORDS.intersection(name_words):
        return 0
    return 2 if TIME_WORDS.intersection(name_words) or (name_words and name_words[-1].endswith(TIME_SUFFIXES)) else 1


def is_code(name: str) -> bool:
    """Whether a field holds codes of digits, such as phone numbers or postal codes."""
    return not CODE_WORDS.isdisjoint(words(name))


def is_phone(name: str) -> bool:
    """Whether a field is named like a phone number, and not like the ID of a phone."""
    name_words = words(name)
    return not PHONE_WORDS.isdisjoint(name_words) and not {"id", "uuid", "guid", "key"}.intersection(name_words)


def title_of(path: FieldPath) -> str:
    """Return a title for an identity kind."""
    return " ".join(words(path[-1])).capitalize() or "Id"


def expression_of(path: FieldPath) -> str:
    """Return a path in the syntax of expressions."""
    return ".".join(map(_quote_name, path))


def _quote_name(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name not in RESERVED:
        return name
    return f"`{name.replace('`', '``')}`"


def attribute_name(name: str, max_length: int) -> str:
    """Convert a name to a valid attribute name; empty if nothing remains."""
    printable = "".join(character if character.isprintable() else "_" for character in name)
    return printable.strip()[:max_length].strip()


def display_path(path: FieldPath) -> str:
    """Return a path for messages, in backticks and shortened."""
    name = ".".join(path)
    return f"`{name if len(name) <= MAX_DISPLAY_CHARACTERS else name[:MAX_DISPLAY_CHARACTERS] + '…'}`"
