"""All definitions in memory, as this server has read them: few, so that no database is needed. It decides nothing.

Bodies of versions that are neither in force nor the draft stay in Kafka; where they stand is remembered.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from app.definitions.rebuild_catalog import RebuildCatalog
from app.definitions.tail import DefinitionsTail
from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from app.records.command_waiters import CommandWaiters
from projections.definitions.definition import Definition, DefinitionState, evolve, initial
from projections.definitions.kinds import VERSIONED_KINDS
from projections.definitions.rebuild_spec import AppliedBody
from projections.definitions.state import in_force
from projections.jobs.event_checks import read_definition_event
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    PARTITION,
    DefinitionApplied,
    DefinitionDrafted,
    DefinitionEvent,
    DefinitionKind,
    DraftDiscarded,
    RebuildPromoted,
    kind_of,
)
from schemas.topics import DEFINITIONS_EVENTS

Events = tuple[DefinitionEvent, ...]
VersionStatus = Literal["draft", "applied", "superseded", "discarded"]


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What is remembered of a version: what became of it, who drafted it, and the offset where its body stands."""

    version: int
    status: VersionStatus
    drafted_at: datetime
    drafted_by: str
    offset: int
    applied_at: datetime | None = None
    applied_by: str = ""


class VersionLostError(Exception):
    """The record that a version's body stands in can't be found any more."""


class DefinitionCatalog:
    """Follows `definitions.events` and knows how every definition is now."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tail = DefinitionsTail(cluster, self._take)
        self._states: dict[str, Definition] = {}
        self._versions: dict[str, dict[int, VersionRecord]] = {}
        self.rebuilds = RebuildCatalog()
        self._awaited: CommandWaiters[DefinitionEvent] = CommandWaiters(
            remembered=0
        )  # bodies are large, and ids never used twice

    @property
    def alive(self) -> bool:
        """Whether all definitions are known and followed."""
        return self._tail.alive

    @property
    def complete(self) -> bool:
        """Whether all definitions were known once; what is shown may be a little old while Kafka is away."""
        return self._tail.complete

    @property
    def position(self) -> int:
        """The offset of the next event: all before it are known here."""
        return self._tail.position

    @property
    def definitions(self) -> Sequence[Definition]:
        """All that have versions, by id."""
        return [self._states[each] for each in sorted(self._states) if kind_of(each) in VERSIONED_KINDS]

    def start(self) -> None:
        """Begin to follow."""
        self._tail.start()

    async def stop(self) -> None:
        """Stop following."""
        await self._tail.stop()

    def get(self, definition_id: str) -> Definition | None:
        """Return a definition that has versions."""
        return self._states.get(definition_id) if kind_of(definition_id) in VERSIONED_KINDS else None

    def versions(self, definition_id: str) -> Mapping[int, VersionRecord]:
        """Return what is known of its versions, oldest first."""
        return self._versions.get(definition_id, {})

    def expect(self, command_id: str) -> AbstractContextManager["asyncio.Future[Events]"]:
        """Give a future of the events that a command leads to; to be entered before the command is sent."""
        return self._awaited.expect(command_id)

    async def body(self, definition_id: str, mark: VersionRecord) -> str:
        """Return the body of a version, from memory or from Kafka.

        Raises:
            VersionLostError: it isn't there any more.
            KafkaError, OSError: it can't be read now.

        """
        found = self._states[definition_id]
        for known in (found.draft, found.applied):
            if known and known.version == mark.version:
                return known.body
        async with PartitionReader(self._cluster, DEFINITIONS_EVENTS.name, PARTITION, mark.offset) as log:
            log.end = mark.offset + 1
            async for record in log.records():
                event = read_definition_event(record.value)
                if isinstance(event, DefinitionDrafted):
                    return event.body
        raise VersionLostError

    def _take(self, offset: int, event: DefinitionEvent | None) -> None:
        if event is None:
            return
        if event.kind is DefinitionKind.REBUILD:
            if self.rebuilds.take(offset, event) and isinstance(event, RebuildPromoted):
                self._promote(event)
        else:
            self._take_rule(offset, event)
        self._awaited.answer(event.command_id, (event,))

    def _take_rule(self, offset: int, event: DefinitionEvent) -> None:
        before: DefinitionState = self._states.get(event.definition_id) or initial(event.definition_id)
        after = evolve(before, event)
        if isinstance(after, Definition) and after is not before:
            self._states[event.definition_id] = after
            self._mark(before, offset, event)

    def _promote(self, event: RebuildPromoted) -> None:
        """Let the versions of a recipe be those in force, all at once."""
        try:
            after = in_force(self._states, event)
        except InvalidRulesError:  # control never writes it
            return
        for name, state in after.items():
            marks, before = self._versions.get(name, {}), self._states[name].applied
            if state.applied != before:
                _becomes(marks, before, status="superseded")
                _becomes(marks, state.applied, status="applied", applied_at=event.occurred_at, applied_by=event.actor)
        self._states = dict(after)

    def _mark(self, before: DefinitionState, offset: int, event: DefinitionEvent) -> None:
        marks = self._versions.setdefault(event.definition_id, {})
        draft = before.draft if isinstance(before, Definition) else None
        applied = before.applied if isinstance(before, Definition) else None
        match event:
            case DefinitionDrafted():
                _becomes(marks, draft, status="discarded")
                marks[event.version] = VersionRecord(event.version, "draft", event.occurred_at, event.actor, offset)
            case DefinitionApplied():
                _becomes(marks, applied, status="superseded")
                at, by = event.occurred_at, event.actor
                _becomes(marks, draft, status="applied", applied_at=at, applied_by=by)
            case DraftDiscarded():
                _becomes(marks, draft, status="discarded")
            case _:
                pass


def _becomes(marks: dict[int, VersionRecord], which: AppliedBody | None, **facts: Any) -> None:
    if which is not None:
        marks[which.version] = replace(marks[which.version], **facts)
