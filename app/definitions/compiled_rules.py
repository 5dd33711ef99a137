"""The rules that messages are mapped by, made ready for use: one mapper for each stream that has a mapping."""

from collections.abc import Awaitable, Callable
from typing import Final

from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rules import Rules

MAX_CACHED_RULES: Final = 100


class CompiledRulesCache:
    """The rules of offsets of definitions.events, made ready as `read` returns them; some of them are held."""

    def __init__(self, read: Callable[[int], Awaitable[Rules]]) -> None:
        self._read = read
        self._books: dict[int, CompiledRules] = {}

    async def at(self, rules_at: int) -> CompiledRules:
        """Return the rules of an offset. Raises what `read` does."""
        if rules_at not in self._books:
            found = CompiledRules(await self._read(rules_at), rules_at)
            while len(self._books) >= MAX_CACHED_RULES:
                del self._books[next(iter(self._books))]
            self._books[rules_at] = found
        return self._books[rules_at]
