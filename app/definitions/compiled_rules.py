"""A cache of compiled rules, by offset of `definitions.events`."""

from collections.abc import Awaitable, Callable
from typing import Final

from connectors.kit.threads import in_thread
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rules import Rules

MAX_CACHED_RULES: Final = 100


class CompiledRulesCache:
    """Compiles the rules that `read` returns for an offset and keeps the latest."""

    def __init__(self, read: Callable[[int], Awaitable[Rules]]) -> None:
        self._read = read
        self._compiled: dict[int, CompiledRules] = {}

    async def at(self, rules_offset: int) -> CompiledRules:
        """Return the rules at an offset. Raises what `read` raises."""
        if rules_offset not in self._compiled:
            compiled = await in_thread(CompiledRules, await self._read(rules_offset), rules_offset)
            while len(self._compiled) >= MAX_CACHED_RULES:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[rules_offset] = compiled
        return self._compiled[rules_offset]
