"""Control's second agent: commands about definitions to events, in the one partition that they have.

It decides nothing itself; that is `projections.definitions.state`. What it keeps is one record: the states of all
definitions depend on each other, so a crash must not leave them at different moments.
"""

import logging
from collections.abc import Iterable
from typing import Any, Final

from app.clock import Clock
from app.definitions.records import definition_command_in
from app.definitions.state_codec import command_offset_in, decode_rulebook, encode_rulebook
from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import SafeApp, make_table
from app.kafka.safe_faust.batching import Event, ack, batches
from app.kafka.safe_faust.publishing import publish
from app.kafka.safe_faust.table import Change, StateTable
from app.records.commands import UnreadableCommandError
from app.records.dead_letters import dead_letter
from projections.definitions.state import EMPTY, DefinitionsState, answer
from schemas.definitions import PARTITION, DefinitionEvent
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

KEY: Final = b"rulebook"

_log = logging.getLogger(__name__)


class DefinitionsAgent:
    """Answers commands about definitions, a micro-batch at a time."""

    def __init__(self, app: SafeApp, table: StateTable, clock: Clock) -> None:
        self._app = app
        self._table = table
        self._clock = clock
        self._read: tuple[bytes | None, DefinitionsState] = (None, EMPTY)  # what the table has, and as it was read

    async def answer_commands(self, stream: Any) -> None:
        """Publish all events of a batch, await all acks, write the rulebook, acknowledge the commands."""
        async for batch in batches(stream):
            before = self._book()
            book, records = before, list[ProducerRecord]()
            for event in batch:
                book = self._answered(book, event, records)
            await publish(self._app, records)
            if book is not before:
                await self._table.write([Change(PARTITION, KEY, encode_rulebook(book))])
            ack(batch)

    def _book(self) -> DefinitionsState:
        stored = self._table.state.get(KEY)
        if stored is not self._read[0]:
            self._read = (stored, decode_rulebook(stored) if stored is not None else EMPTY)
        return self._read[1]

    def _answered(self, book: DefinitionsState, event: Event, records: list[ProducerRecord]) -> DefinitionsState:
        found = event.message
        try:
            command = definition_command_in(event.key, event.value or b"", found.partition)
        except UnreadableCommandError as error:
            _log.warning("%s/%d@%d: %s", found.topic, found.partition, found.offset, error)
            records.append(dead_letter(event, "malformed_command", str(error), self._clock()))
            return book
        book, facts = answer(book, command, found.offset)
        records.extend(published(facts))
        return book


def published(facts: Iterable[DefinitionEvent]) -> Iterable[ProducerRecord]:
    """Return events as their records. Their time is the broker's: a wrong clock must not make them unwritable."""
    for fact in facts:
        key = fact.definition_id.encode()
        yield ProducerRecord(
            DEFINITIONS_EVENTS.name, encode(fact), key=key, partition=PARTITION, headers=headers_of(fact)
        )


def add_definitions(app: SafeApp, clock: Clock) -> None:
    """Declare the agent and its table."""
    agent = DefinitionsAgent(app, make_table(app, "definitions", command_offset_in), clock)
    app.agent(app.topic(DEFINITIONS_COMMANDS.name), name="answer_definitions")(agent.answer_commands)
