"""The active rules: the fold of `definitions.events`, kept up to date; also as they were at any offset.

Rules at offset N are the fold of all records before N: the same for every reader, at any time.
"""

from app.definitions.tail import DefinitionsTail, read_events
from projections.definitions.rules import NO_RULES, Rules, evolve_rules
from schemas.definitions import DefinitionEvent


class RulesReader:
    """The newest `rules`, and `rules_offset`, the offset that they are the rules of."""

    def __init__(self, tail: DefinitionsTail) -> None:
        self._tail = tail
        self._tail.subscribe(self._apply)
        self._rules = NO_RULES
        self._previous = NO_RULES  # the last rules of the previous generation

    @property
    def rules(self) -> Rules:
        """The rules at `rules_offset`."""
        return self._rules

    def of(self, generation: int) -> Rules:
        """Return the rules of the live generation of profiles, or the last rules of the one before it.

        No process serves an older generation.
        """
        return self._previous if generation < self._rules.generation else self._rules

    @property
    def rules_offset(self) -> int:
        """The offset of the next record."""
        return self._tail.position

    async def at(self, offset: int) -> Rules:
        """Return the rules as of an offset.

        Raises:
            NoSuchOffsetError: the topic ends before it.
            KafkaError, OSError: it can't be read now.

        """
        if offset == self.rules_offset:
            return self._rules
        rules = NO_RULES
        async for _, event in read_events(self._tail.cluster, end=offset):
            if event is not None:
                rules = evolve_rules(rules, event)
        return rules

    def _apply(self, _offset: int, event: DefinitionEvent | None) -> None:
        if event is None:
            return
        before, self._rules = self._rules, evolve_rules(self._rules, event)
        if before.generation != self._rules.generation:
            self._previous = before
