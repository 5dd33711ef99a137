"""A validating parser for the JSON bodies of rules. It collects every problem, with a JSON pointer."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from projections.mapping.converters import format_example, text_fault
from schemas.coded import Params, fit_params
from schemas.definitions import FieldRefused
from schemas.json_values import json_pointer

MAX_TEXT: Final = 1_000  # characters
MAX_UNKNOWN: Final = 10  # unknown members of one object that are reported


class InvalidRulesError(ValueError):
    """The body is invalid; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: tuple[FieldRefused, ...]) -> None:
        super().__init__("; ".join(f"{problem.pointer or '/'}: {problem.code}" for problem in problems[:3]))
        self.problems = problems


def field_refused(pointer: str, code: str, params: Params | None = None) -> FieldRefused:
    """Return a problem whose parameters fit into an event."""
    return FieldRefused(pointer=pointer, code=code, params=fit_params(params or {}))


class JsonNode:
    """A value in a body, and its pointer. Invalid values are added to `problems`, and a neutral value is returned."""

    def __init__(self, value: Any, pointer: str, problems: list[FieldRefused]) -> None:
        self.value = value
        self.pointer = pointer
        self.problems = problems

    def refuse(self, code: str, params: Params | None = None) -> None:
        """Add a problem at this node."""
        self.problems.append(field_refused(self.pointer, code, params))

    def member(self, name: str, default: Any = None) -> "JsonNode":
        """Return a member of an object. Null counts as missing."""
        value = self.value.get(name) if isinstance(self.value, Mapping) else None
        return JsonNode(default if value is None else value, self.pointer + json_pointer(name), self.problems)

    def check_members(self, allowed: Collection[str]) -> None:
        """Refuse unknown members. Refuse a value that isn't an object, and drop all further problems of this node."""
        if not isinstance(self.value, Mapping):
            self.refuse("not_an_object", {"found": format_example(self.value)})
            self.problems = []
            return
        for name in [name for name in self.value if name not in allowed][:MAX_UNKNOWN]:
            self.member(name).refuse("unknown_member", {"member": format_example(name), "members": tuple(allowed)})

    def items(self, minimum: int, maximum: int) -> "list[JsonNode]":
        """Return the items of a list."""
        if not isinstance(self.value, list) or not minimum <= len(self.value) <= maximum:
            self.refuse("not_a_list", {"min": minimum, "max": maximum, "found": format_example(self.value)})
            return []
        return [JsonNode(item, f"{self.pointer}/{index}", self.problems) for index, item in enumerate(self.value)]

    def text(self, maximum: int = MAX_TEXT) -> str:
        """Return a text of 1 to `maximum` characters."""
        value = self.value
        if isinstance(value, str) and 0 < len(value) <= maximum and not text_fault(value, 4 * maximum):
            return value
        self.refuse("not_a_text", {"max": maximum, "found": format_example(value)})
        return ""

    def choice(self, options: Collection[str]) -> str:
        """Return one of the options."""
        if isinstance(self.value, str) and self.value in options:
            return self.value
        self.refuse("not_an_option", {"options": tuple(options), "found": format_example(self.value)})
        return ""

    def integer(self, minimum: int, maximum: int) -> int:
        """Return an integer."""
        if type(self.value) is int and minimum <= self.value <= maximum:
            return self.value
        self.refuse("not_an_integer", {"min": minimum, "max": maximum, "found": format_example(self.value)})
        return minimum
