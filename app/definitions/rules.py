"""The rules in force, read from `definitions.events` and kept up to date; also as they were at any offset.

Rules at offset N are what all records before N add up to: the same for every reader, at any time.
"""

import asyncio
from typing import Final

from aiokafka.errors import KafkaTimeoutError

from app.definitions.tail import DefinitionsTail, event_in
from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from projections.definitions.rules import NO_RULES, Rules, fold
from schemas.definitions import PARTITION, DefinitionEvent
from schemas.topics import DEFINITIONS_EVENTS

START_SECONDS: Final = 60.0


class NoSuchRulesError(ValueError):
    """`definitions.events` ends before that offset: records of it were lost, or this is another cluster."""


class RulesReader:
    """The newest `rules` and the offset `rules_at` that they are those of."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tail = DefinitionsTail(cluster, self._take)
        self._rules = NO_RULES
        self._before = NO_RULES  # those of the generation before
        self._news = asyncio.Event()  # set, and replaced by a new one, whenever `rules_at` moves

    @property
    def rules(self) -> Rules:
        """What is in force, as far as it was read."""
        return self._rules

    def of(self, generation: int) -> Rules:
        """Return the rules of a generation of profiles: of one that isn't live any more, its last ones.

        Two are known. What was live two promotions ago is answered for by nobody.
        """
        return self._before if generation < self._rules.generation else self._rules

    @property
    def rules_at(self) -> int:
        """The offset of the next record: `rules` are what those before it add up to."""
        return self._tail.position

    @property
    def alive(self) -> bool:
        """Whether news would be heard of right now."""
        return self._tail.alive

    def start(self) -> None:
        """Begin to read, and follow what comes, through losses of the broker, until `stop`."""
        self._tail.start()

    async def caught_up(self, seconds: float = START_SECONDS) -> None:
        """Wait until all that there was at the start is read.

        Raises:
            KafkaTimeoutError: the end was not reached in so many seconds.

        """
        try:
            async with asyncio.timeout(seconds):
                await self._tail.caught_up()
        except TimeoutError as error:
            raise KafkaTimeoutError(f"{DEFINITIONS_EVENTS.name} could not be read to its end") from error

    async def stop(self) -> None:
        """Stop following; what is known stays."""
        await self._tail.stop()

    async def reached(self, offset: int) -> Rules:
        """Wait until `rules_at` is at least that offset, and return the rules of then: to wait for news, one more."""
        while self.rules_at < offset:
            await self._news.wait()
        return self._rules

    async def at(self, offset: int) -> Rules:
        """Return the rules as of an offset.

        Raises:
            NoSuchRulesError: the topic ends before it.
            KafkaError, OSError: it can't be read now.

        """
        if offset == self.rules_at:
            return self._rules
        rules = NO_RULES
        async with PartitionReader(self._cluster, DEFINITIONS_EVENTS.name, PARTITION) as log:
            if offset > log.end:
                raise NoSuchRulesError(f"{DEFINITIONS_EVENTS.name} ends at offset {log.end}, before {offset}")
            log.end = offset
            async for record in log.records():
                event = event_in(record.offset, record.value)
                rules = rules if event is None else fold(rules, event)
        return rules

    def _take(self, _offset: int, event: DefinitionEvent | None) -> None:
        if event is not None:
            before, self._rules = self._rules, fold(self._rules, event)
            if before.generation != self._rules.generation:
                self._before = before
        news, self._news = self._news, asyncio.Event()
        news.set()
