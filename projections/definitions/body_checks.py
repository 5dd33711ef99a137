"""Check the body of a definition: by itself when it is drafted, and with all active bodies when it is applied."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from projections.definitions.kinds import versioned_kind
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Rules
from projections.json_object import InvalidJsonError, json_object
from projections.mapping.body_parser import InvalidRulesError, field_refused
from projections.mapping.mapping import (
    NO_IDENTITY,
    IdentityRules,
    MappingRules,
    check_rules,
)
from schemas.coded import caused_by
from schemas.definitions import IDENTITY, MAPPING, FieldRefused, mapping_of
from schemas.json_values import json_pointer


class InvalidBodyError(Exception):
    """The body is invalid; `errors` lists the problems, with JSON pointers into the body."""

    def __init__(self, errors: Iterable[FieldRefused]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)


def check_body(definition_id: str, body: str) -> None:
    """Check that a body is valid by itself.

    Raises:
        InvalidBodyError: it is invalid.

    """
    try:
        value = json_object(body)
        json.dumps(value, ensure_ascii=False).encode()
        _check_numbers(value)
        _parse(definition_id, value)
    except InvalidJsonError as error:
        raise InvalidBodyError([field_refused("", error.code, error.params)]) from error
    except UnicodeEncodeError as error:  # a pointer to it could not be encoded either
        raise InvalidBodyError([field_refused("", "surrogate_in_text")]) from error
    except InvalidRulesError as error:
        raise InvalidBodyError(error.problems) from error


def check_applied(rules: Rules, definition_id: str, body: str) -> None:
    """Check that a body that `check_body` accepted is consistent with all active rules.

    Raises:
        InvalidBodyError: it is inconsistent.

    """
    bodies = {mapping_of(stream): applied.body for stream, applied in rules.mappings.items()}
    if rules.identity:
        bodies[IDENTITY] = rules.identity.body
    parsed = {name: _parsed(name, text, definition_id) for name, text in {**bodies, definition_id: body}.items()}
    identity = parsed.get(IDENTITY)
    mappings = {name.removeprefix(MAPPING): rule for name, rule in parsed.items() if isinstance(rule, MappingRules)}
    try:
        check_rules(mappings, identity if isinstance(identity, IdentityRules) else NO_IDENTITY)
    except InvalidRulesError as error:
        raise InvalidBodyError(_into_body(problem, definition_id) for problem in error.problems) from error


def check_draft(identity: VersionedBody | None, definition_id: str, body: str) -> None:
    """Check a body by itself, and with these identity rules alone.

    Raises:
        InvalidBodyError: it is invalid.

    """
    check_body(definition_id, body)
    check_applied(Rules(identity), definition_id, body)


def _parse(definition_id: str, value: Any) -> MappingRules | IdentityRules:
    versioned = versioned_kind(definition_id)
    if versioned is None:
        raise InvalidRulesError((field_refused("", "unknown_definition_kind", {"definition": definition_id}),))
    return versioned.parse(value)


def _parsed(definition_id: str, body: str, applied_id: str) -> MappingRules | IdentityRules:
    """Parse an active body, or the one to be applied. An active body may be invalid for this version of Entrepot."""
    try:
        return _parse(definition_id, json.loads(body))
    except InvalidRulesError as error:
        if definition_id == applied_id:
            raise InvalidBodyError(error.problems) from error
        raise InvalidBodyError([_elsewhere(definition_id, error.problems[0])]) from error


def _check_numbers(value: Any, pointer: str = "") -> None:
    """Refuse numbers that JSON parsers read differently: integers beyond 64 bits, numbers too large for a double."""
    match value:
        case dict():
            for name, member in value.items():
                _check_numbers(member, pointer + json_pointer(name))
        case list():
            for index, item in enumerate(value):
                _check_numbers(item, f"{pointer}/{index}")
        case int() if not -(2**63) <= value < 2**63:
            raise InvalidRulesError((field_refused(pointer, "integer_too_large"),))
        case float() if value in {float("inf"), float("-inf")}:
            raise InvalidRulesError((field_refused(pointer, "number_too_large"),))
        case _:
            pass


def _into_body(problem: FieldRefused, applied_id: str) -> FieldRefused:
    """Return a problem of all rules, whose pointer starts with a stream, as one of the body to be applied."""
    first, _, rest = problem.pointer.removeprefix("/").partition("/")
    named = mapping_of(first.replace("~1", "/").replace("~0", "~"))
    if named == applied_id:
        return replace(problem, pointer=f"/{rest}")
    return _elsewhere(named, problem)


def _elsewhere(definition_id: str, problem: FieldRefused) -> FieldRefused:
    """Return a problem of another definition as one of the body to be applied."""
    params = {"definition": definition_id, "at": problem.pointer, **caused_by(problem.code, problem.params)}
    return field_refused("", "conflicting_definition", params)
