"""Whether a definition's body can be rules: by itself when it is drafted, together with all others when applied."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from projections.json_diff import escaped
from projections.json_object import InvalidJsonError, json_object
from projections.rules import Rules
from schemas.definitions import FieldRefused, mapping_of, stream_of

KINDS_OF_ATTRIBUTE: Final = ("type", "merge")  # what all streams have to agree on


class InvalidBodyError(ValueError):
    """The body can't be rules; `errors` says where and why."""

    def __init__(self, *errors: FieldRefused) -> None:
        super().__init__("; ".join(f"{each.pointer or '/'}: {each.message}" for each in errors[:3]))
        self.errors = errors


def check_body(definition_id: str, body: str) -> None:
    """Make sure that a body can be that definition, as far as it can be told without the others.

    Raises:
        InvalidBodyError: it can't.

    """
    try:
        value = json_object(f"body of {definition_id}", body)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except InvalidJsonError as error:
        raise InvalidBodyError(FieldRefused(pointer="", message=str(error))) from error
    except ValueError as error:
        message = "a text has to be Unicode, and a number to fit into a double"
        raise InvalidBodyError(FieldRefused(pointer="", message=message)) from error
    _check_integers(value)


def _check_integers(value: Any, pointer: str = "") -> None:
    match value:
        case dict():
            for name, each in value.items():
                _check_integers(each, f"{pointer}/{escaped(name)}")
        case list():
            for place, each in enumerate(value):
                _check_integers(each, f"{pointer}/{place}")
        case int() if not -(2**63) <= value < 2**63:
            raise InvalidBodyError(FieldRefused(pointer=pointer, message="an integer has at most 64 bits"))
        case _:
            pass


def check_applied(rules: Rules, definition_id: str, body: str) -> None:
    """Make sure that a body that `check_body` took can be in force together with all others.

    Raises:
        InvalidBodyError: it can't.

    """
    stream = stream_of(definition_id)
    if stream is None:
        return
    known: dict[str, tuple[str, Mapping[str, Any]]] = {}  # by attribute: the first other stream that has it
    for other, mapping in sorted(rules.mappings.items()):
        if other != stream:
            for _, name, attribute in _attributes(mapping.body):
                known.setdefault(name, (other, attribute))
    errors = [
        FieldRefused(pointer=f"/attributes/{place}/{kind}", message=_differs(name, kind, known[name], attribute))
        for place, name, attribute in _attributes(body)
        for kind in KINDS_OF_ATTRIBUTE
        if name in known and known[name][1].get(kind) != attribute.get(kind)
    ]
    if errors:
        raise InvalidBodyError(*errors)


def _differs(name: str, kind: str, theirs: tuple[str, Mapping[str, Any]], ours: Mapping[str, Any]) -> str:
    other, attribute = mapping_of(theirs[0]), theirs[1]
    return (
        f"the attribute {name!r} has {kind} {ours.get(kind)!r} here and {attribute.get(kind)!r} in {other}; "
        "give it another name, or let both agree"
    )


def _attributes(body: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    found = json.loads(body).get("attributes")
    for place, each in enumerate(found if isinstance(found, list) else ()):
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            yield place, each["name"], each
