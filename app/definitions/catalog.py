"""All definitions in memory, as read from `definitions.events`: few, so that no database is needed.

Bodies of versions that are neither applied nor the draft stay in Kafka; their offsets are kept.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from app.definitions.rebuild_catalog import RebuildCatalog
from app.definitions.tail import DefinitionsTail, NoSuchOffsetError, read_events
from app.records.command_waiters import CommandWaiters
from projections.definitions.definition import Definition, DefinitionState, evolve, initial
from projections.definitions.kinds import VERSIONED_KINDS
from projections.definitions.rebuild_spec import AppliedBody
from projections.definitions.state import in_force
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    DefinitionApplied,
    DefinitionDrafted,
    DefinitionEvent,
    DefinitionKind,
    DraftDiscarded,
    RebuildPromoted,
    kind_of,
)

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
    """The record with the body of a version can't be found any more."""


class DefinitionCatalog:
    """The present state of every definition, and the history of its versions."""

    def __init__(self, tail: DefinitionsTail) -> None:
        self._tail = tail
        self._tail.subscribe(self._apply)
        self._states: dict[str, Definition] = {}
        self._versions: dict[str, dict[int, VersionRecord]] = {}
        self.rebuilds = RebuildCatalog()
        # Remembers no outcome: bodies are large, and no command id is used twice.
        self._awaited: CommandWaiters[DefinitionEvent] = CommandWaiters(remembered=0)

    @property
    def alive(self) -> bool:
        """Whether the catalog is complete and followed right now."""
        return self._tail.alive

    @property
    def complete(self) -> bool:
        """Whether all definitions were read once; the catalog may be a little old while Kafka is unreachable."""
        return self._tail.complete

    @property
    def definitions(self) -> Sequence[Definition]:
        """All definitions that have versions, by id."""
        return [self._states[name] for name in sorted(self._states) if kind_of(name) in VERSIONED_KINDS]

    def get(self, definition_id: str) -> Definition | None:
        """Return a definition that has versions."""
        return self._states.get(definition_id) if kind_of(definition_id) in VERSIONED_KINDS else None

    def versions(self, definition_id: str) -> Mapping[int, VersionRecord]:
        """Return what is known of its versions, oldest first."""
        return self._versions.get(definition_id, {})

    def expect(self, command_id: str) -> AbstractContextManager["asyncio.Future[Events]"]:
        """Give a future of the events that a command leads to; to be entered before the command is sent."""
        return self._awaited.expect(command_id)

    async def body(self, definition_id: str, version: VersionRecord) -> str:
        """Return the body of a version, from memory or from Kafka.

        Raises:
            VersionLostError: the topic has no such record any more.
            KafkaError, OSError: it can't be read now.

        """
        state = self._states[definition_id]
        for body in (state.draft, state.applied):
            if body and body.version == version.version:
                return body.body
        try:
            async for _, event in read_events(self._tail.cluster, version.offset, version.offset + 1):
                if isinstance(event, DefinitionDrafted):
                    return event.body
        except NoSuchOffsetError as error:
            raise VersionLostError from error
        raise VersionLostError

    def _apply(self, offset: int, event: DefinitionEvent | None) -> None:
        if event is None:
            return
        if event.kind is DefinitionKind.REBUILD:
            if self.rebuilds.take(offset, event) and isinstance(event, RebuildPromoted):
                self._promote(event)
        else:
            self._apply_versioned(offset, event)
        self._awaited.answer(event.command_id, (event,))

    def _apply_versioned(self, offset: int, event: DefinitionEvent) -> None:
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
