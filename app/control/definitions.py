"""Control's second agent: turns commands about definitions into events, in the one partition that they have.

It decides nothing itself; that is `projections.definitions.state`. It stores nothing either: the state is the fold of
`definitions.events`, read again whenever the partition is assigned. Events are published in the order of their
commands, so what a crash leaves is the state after some command, and deciding the rest again repeats nothing.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from app.definitions.tail import read_events
from app.kafka.clients import Cluster
from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import Owned, SafeApp
from app.kafka.safe_faust.batching import AgentEvent, ack, batches
from app.kafka.safe_faust.publishing import publish
from app.process import Clock
from app.records.commands import UnreadableCommandError, decode_definition_command
from app.records.dead_letters import dead_letter
from app.records.encoding import encoded
from app.sentences.sentence import sentence_of
from projections.definitions.state import EMPTY, DefinitionsState, evolve, handle
from schemas.definitions import PARTITION
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS

Publish = Callable[[Iterable[ProducerRecord]], Awaitable[None]]  # returns once the broker has acked all records

_log = logging.getLogger(__name__)


class DefinitionsAgent:
    """Handles commands about definitions, a micro-batch at a time."""

    def __init__(self, cluster: Cluster, publish: Publish, clock: Clock) -> None:
        self._cluster = cluster
        self._publish = publish
        self._clock = clock
        self._state = EMPTY

    async def on_assigned(self, owned: Owned) -> None:
        """Fold all events published so far, if the partition of definitions is owned now."""
        self._state = EMPTY
        if (DEFINITIONS_COMMANDS.name, PARTITION) in owned:
            async for _, event in read_events(self._cluster):
                if event is not None:
                    self._state = evolve(self._state, event)

    async def handle_commands(self, stream: Any) -> None:
        """The agent on `definitions.commands`."""
        async for batch in batches(stream):
            await self.handle_batch(batch)

    async def handle_batch(self, batch: Sequence[AgentEvent]) -> None:
        """Publish all events of a batch, await all acks, then acknowledge the commands."""
        state, records = self._state, list[ProducerRecord]()
        for event in batch:
            state = self._handled(state, event, records)
        await self._publish(records)
        self._state = state
        ack(batch)

    def _handled(self, state: DefinitionsState, event: AgentEvent, records: list[ProducerRecord]) -> DefinitionsState:
        message = event.message
        try:
            command = decode_definition_command(event.key, event.value or b"", message.partition)
        except UnreadableCommandError as error:
            _log.warning("%s/%d@%d: %s", message.topic, message.partition, message.offset, sentence_of(error))
            records.append(dead_letter(event, "malformed_command", error, self._clock()))
            return state
        state, events = handle(state, command, message.offset)
        records.extend(encoded(DEFINITIONS_EVENTS, event, event.definition_id, PARTITION) for event in events)
        return state


def add_definitions(app: SafeApp, cluster: Cluster, clock: Clock) -> None:
    """Declare the agent and its hook."""
    agent = DefinitionsAgent(cluster, partial(publish, app), clock)
    app.when_assigned(agent.on_assigned)
    app.agent(app.topic(DEFINITIONS_COMMANDS.name), name="handle_definitions")(agent.handle_commands)
