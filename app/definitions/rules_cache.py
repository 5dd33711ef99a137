"""A bounded cache of rules as they were at offsets of `definitions.events`."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

R = TypeVar("R")


class RulesCache(Generic[R]):
    """Reads the rules of an offset once, and evicts those that were read first."""

    def __init__(self, read: Callable[[int], Awaitable[R]], max_cached: int) -> None:
        self._read = read
        self._max_cached = max_cached
        self._rules: dict[int, R] = {}

    async def at(self, offset: int) -> R:
        """Return the rules at an offset. Raises what `read` raises."""
        if offset not in self._rules:
            rules = await self._read(offset)
            while len(self._rules) >= self._max_cached:
                del self._rules[next(iter(self._rules))]
            self._rules[offset] = rules
        return self._rules[offset]
