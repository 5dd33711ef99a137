"""All definitions in memory, as read from `definitions.events`: few, so that no database is needed.

Bodies of versions that are neither applied nor the draft stay in Kafka; their offsets are kept.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from app.definitions.forgetting_catalog import ForgettingCatalog
from app.definitions.rebuild_catalog import RebuildCatalog
from app.definitions.tail import DefinitionsTail, NoSuchOffsetError, read_events
from app.records.command_waiters import CommandWaiters
from projections.definitions.definition import Definition, evolve
from projections.definitions.kinds import VERSIONED_KINDS
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.state import apply_promotion
from projections.definitions.tokens import NO_TOKENS
from projections.definitions.tokens import evolve as evolve_tokens
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
    """A version of a definition: its status, who drafted and applied it, and the offset of the event with its body."""

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
        self.forgettings = ForgettingCatalog()
        self.tokens = NO_TOKENS
        self._waiters: CommandWaiters[DefinitionEvent] = CommandWaiters()

    @property
    def alive(self) -> bool:
        """Whether the catalog is complete, and at most a few seconds old."""
        return self._tail.alive

    @property
    def complete(self) -> bool:
        """Whether all definitions were read once; the catalog may be a little old while Kafka is unreachable."""
        return self._tail.complete

    @property
    def age(self) -> float:
        """The seconds since the catalog was known to have all definitions."""
        return self._tail.age

    async def caught_up(self) -> None:
        """Wait until all definitions were read once, without a limit."""
        await self._tail.caught_up(None)

    @property
    def definitions(self) -> Sequence[Definition]:
        """All definitions that have versions, by id."""
        return [self._states[name] for name in sorted(self._states) if kind_of(name) in VERSIONED_KINDS]

    def get(self, definition_id: str) -> Definition | None:
        """Return a definition that has versions."""
        return self._states.get(definition_id) if kind_of(definition_id) in VERSIONED_KINDS else None

    def versions(self, definition_id: str) -> Mapping[int, VersionRecord]:
        """Return the versions of a definition by number, oldest first."""
        return self._versions.get(definition_id, {})

    def expect(self, command_id: str) -> AbstractContextManager["asyncio.Future[Events]"]:
        """Return a future of the events that a command causes; enter it before the command is sent."""
        return self._waiters.expect(command_id)

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
            events = [event async for _, event in read_events(self._tail.cluster, version.offset, version.offset + 1)]
        except NoSuchOffsetError as error:
            raise VersionLostError from error
        for event in events:
            if isinstance(event, DefinitionDrafted):
                return event.body
        raise VersionLostError

    def _apply(self, offset: int, event: DefinitionEvent | None) -> None:
        if event is None:
            return
        if event.kind is DefinitionKind.TOKEN:
            self.tokens = evolve_tokens(self.tokens, event)
        elif event.kind is DefinitionKind.REBUILD:
            if self.rebuilds.apply(offset, event) and isinstance(event, RebuildPromoted):
                self._promote(event)
        elif event.kind is DefinitionKind.FORGETTING:
            self.forgettings.apply(offset, event)
        else:
            self._apply_versioned(offset, event)
        self._waiters.answer(event.command_id, (event,))

    def _apply_versioned(self, offset: int, event: DefinitionEvent) -> None:
        before = self._states.get(event.definition_id)
        after = evolve(before, event)
        if after and after is not before:
            self._states[event.definition_id] = after
            self._record_version(before, offset, event)

    def _promote(self, event: RebuildPromoted) -> None:
        """Apply all versions of a promoted rebuild at once."""
        try:
            after = apply_promotion(self._states, event)
        except InvalidRulesError:  # never written by control
            return
        for name, state in after.items():
            versions, before = self._versions.get(name, {}), self._states[name].applied
            if state.applied != before:
                _update(versions, before, status="superseded")
                _update(versions, state.applied, status="applied", applied_at=event.occurred_at, applied_by=event.actor)
        self._states = dict(after)

    def _record_version(self, before: Definition | None, offset: int, event: DefinitionEvent) -> None:
        versions = self._versions.setdefault(event.definition_id, {})
        draft = before.draft if before else None
        applied = before.applied if before else None
        match event:
            case DefinitionDrafted():
                _update(versions, draft, status="discarded")
                versions[event.version] = VersionRecord(event.version, "draft", event.occurred_at, event.actor, offset)
            case DefinitionApplied():
                _update(versions, applied, status="superseded")
                at, by = event.occurred_at, event.actor
                _update(versions, draft, status="applied", applied_at=at, applied_by=by)
            case DraftDiscarded():
                _update(versions, draft, status="discarded")
            case _:
                pass


def _update(versions: dict[int, VersionRecord], body: VersionedBody | None, **changes: Any) -> None:
    if body is not None:
        versions[body.version] = replace(versions[body.version], **changes)
