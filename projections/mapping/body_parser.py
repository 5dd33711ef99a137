"""Reads bodies of rules by hand, part by part: every problem is kept, with a JSON pointer and what would do instead."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from projections.mapping.converters import shown, text_fault
from schemas.definitions import FieldRefused
from schemas.json_pointer import json_pointer

MAX_TEXT: Final = 1_000  # characters
MAX_UNKNOWN: Final = 10  # members of one object that are named


class InvalidRulesError(ValueError):
    """The body can't be followed; `problems` has all that is wrong with it."""

    def __init__(self, problems: tuple[FieldRefused, ...]) -> None:
        super().__init__("; ".join(f"{each.pointer or '/'}: {each.message}" for each in problems[:3]))
        self.problems = problems


class JsonNode:
    """A part of a body, and where it is. What can't be read is noted in `problems`, and something harmless returned."""

    def __init__(self, value: Any, pointer: str, problems: list[FieldRefused]) -> None:
        self.value = value
        self.pointer = pointer
        self.problems = problems

    def refuse(self, message: str) -> None:
        """Note a problem."""
        self.problems.append(FieldRefused(pointer=self.pointer, message=message))

    def member(self, name: str, default: Any = None) -> "JsonNode":
        """Return a member of an object; null stands for one that is missing."""
        found = self.value.get(name) if isinstance(self.value, Mapping) else None
        return JsonNode(default if found is None else found, self.pointer + json_pointer(name), self.problems)

    def check_members(self, known: Collection[str]) -> None:
        """Refuse members that nothing would look at, and what isn't an object; then that is all that is said of it."""
        if not isinstance(self.value, Mapping):
            self.refuse(f"an object is needed, not {shown(self.value)}")
            self.problems = []
            return
        for name in [each for each in self.value if each not in known][:MAX_UNKNOWN]:
            self.member(name).refuse(f"{shown(name)} means nothing here; possible are {', '.join(known)}")

    def items(self, least: int, most: int) -> "list[JsonNode]":
        """Return the items of a list."""
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            self.refuse(f"a list of {least} to {most} is needed, not {shown(self.value)}")
            return []
        return [JsonNode(each, f"{self.pointer}/{index}", self.problems) for index, each in enumerate(self.value)]

    def text(self, most: int = MAX_TEXT) -> str:
        """Return a text of 1 to `most` characters."""
        value = self.value
        if isinstance(value, str) and 0 < len(value) <= most and not text_fault(value, 4 * most):
            return value
        self.refuse(f"a text of 1 to {most} characters is needed, not {shown(value)}")
        return ""

    def choice(self, options: Collection[str]) -> str:
        """Return one of the options."""
        if isinstance(self.value, str) and self.value in options:
            return self.value
        self.refuse(f"one of {', '.join(options)} is needed, not {shown(self.value)}")
        return ""

    def integer(self, least: int, most: int) -> int:
        """Return an integer."""
        if type(self.value) is int and least <= self.value <= most:
            return self.value
        self.refuse(f"an integer from {least} to {most} is needed, not {shown(self.value)}")
        return least
