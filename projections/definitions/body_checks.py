"""Whether a definition's body can be rules: by itself when it is drafted, together with all others when applied."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from projections.definitions.kinds import versioned_kind
from projections.definitions.rules import Rules
from projections.json_object import InvalidJsonError, json_object
from projections.mapping.body_parser import InvalidRulesError
from projections.mapping.mapping import (
    NO_IDENTITY,
    IdentityRules,
    MappingRules,
    check_rules,
)
from schemas.definitions import IDENTITY, MAPPING, FieldRefused, mapping_of
from schemas.json_values import json_pointer

SHOWN: Final = 3


class InvalidBodyError(ValueError):
    """The body can't be rules; `errors` says where and why, with JSON pointers into the body."""

    def __init__(self, errors: Iterable[FieldRefused]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{each.pointer or '/'}: {each.message}" for each in self.errors[:SHOWN]))


def check_body(definition_id: str, body: str) -> None:
    """Make sure that a body can be that definition, as far as it can be told without the others.

    Raises:
        InvalidBodyError: it can't.

    """
    try:
        value = json_object(body)
        json.dumps(value, ensure_ascii=False).encode()
        _check_numbers(value)
        _parse(definition_id, value)
    except InvalidJsonError as error:
        raise InvalidBodyError([FieldRefused(pointer="", message=str(error))]) from error
    except UnicodeEncodeError as error:  # not even a pointer to it could be written
        raise InvalidBodyError([FieldRefused(pointer="", message="half of a surrogate pair is no text")]) from error
    except InvalidRulesError as error:
        raise InvalidBodyError(error.problems) from error


def check_applied(rules: Rules, definition_id: str, body: str) -> None:
    """Make sure that a body that `check_body` took can be in force together with all others.

    Raises:
        InvalidBodyError: it can't.

    """
    bodies = {mapping_of(stream): each.body for stream, each in rules.mappings.items()}
    if rules.identity:
        bodies[IDENTITY] = rules.identity.body
    parsed = {name: _parsed(name, text, definition_id) for name, text in {**bodies, definition_id: body}.items()}
    identity = parsed.get(IDENTITY)
    mappings = {name.removeprefix(MAPPING): each for name, each in parsed.items() if isinstance(each, MappingRules)}
    try:
        check_rules(mappings, identity if isinstance(identity, IdentityRules) else NO_IDENTITY)
    except InvalidRulesError as error:
        raise InvalidBodyError(_into_body(each, definition_id) for each in error.problems) from error


def _parse(definition_id: str, value: Any) -> MappingRules | IdentityRules:
    versioned = versioned_kind(definition_id)
    if versioned is None:
        raise InvalidRulesError(
            (FieldRefused(pointer="", message=f"no kind of definition has the id {definition_id!r}"),)
        )
    return versioned.parse(value)


def _parsed(definition_id: str, body: str, asked: str) -> MappingRules | IdentityRules:
    """Parse what is in force, or asked to be. An older version of this service may have taken what this one can't."""
    try:
        return _parse(definition_id, json.loads(body))
    except InvalidRulesError as error:
        if definition_id == asked:
            raise InvalidBodyError(error.problems) from error
        raise InvalidBodyError([FieldRefused(pointer="", message=f"{definition_id} in force: {error}")]) from error


def _check_numbers(value: Any, pointer: str = "") -> None:
    """Refuse what other readers of JSON could not read, or not alike: integers beyond 64 bits, and doubles."""
    match value:
        case dict():
            for name, each in value.items():
                _check_numbers(each, pointer + json_pointer(name))
        case list():
            for place, each in enumerate(value):
                _check_numbers(each, f"{pointer}/{place}")
        case int() if not -(2**63) <= value < 2**63:
            raise InvalidRulesError((FieldRefused(pointer=pointer, message="an integer has at most 64 bits"),))
        case float() if value in {float("inf"), float("-inf")}:
            raise InvalidRulesError((FieldRefused(pointer=pointer, message="a number has to fit into a double"),))
        case _:
            pass


def _into_body(problem: FieldRefused, asked: str) -> FieldRefused:
    """Return a problem of all rules, whose pointer begins with a stream, as one of the body that is to be applied."""
    first, _, rest = problem.pointer.removeprefix("/").partition("/")
    named = mapping_of(first.replace("~1", "/").replace("~0", "~"))
    if named == asked:
        return replace(problem, pointer=f"/{rest}")
    return FieldRefused(pointer="", message=f"{named}: {problem.message}")
