"""All forgettings in memory, as read from `definitions.events`."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

from app.records.command_waiters import CommandWaiters
from projections.definitions.forgetting import Forgetting, Forgettings
from schemas.definitions import DefinitionEvent, DefinitionKind


@dataclass(frozen=True, slots=True)
class ForgettingRecord:
    """A forgetting with its request. The rules at `rules_offset` exclude all of its identities."""

    forgetting: Forgetting
    requested_at: datetime
    requested_by: str
    command_id: str  # of the request
    rules_offset: int
    forgotten_at: datetime | None = None


class ForgettingCatalog:
    """The present state of every forgetting that is remembered, the latest last."""

    def __init__(self) -> None:
        self._forgettings = Forgettings()
        self._records: dict[str, ForgettingRecord] = {}
        self._waiters: CommandWaiters[DefinitionEvent] = CommandWaiters()

    @property
    def all(self) -> Sequence[ForgettingRecord]:
        """All forgettings that are remembered, oldest first."""
        return list(self._records.values())

    @property
    def under_way(self) -> Sequence[ForgettingRecord]:
        """The forgettings under way, oldest first."""
        return [self._records[name] for name in self._forgettings.under_way]

    def get(self, definition_id: str) -> ForgettingRecord | None:
        """Return a forgetting."""
        return self._records.get(definition_id)

    def expect_end(self, definition_id: str) -> AbstractContextManager["asyncio.Future[tuple[DefinitionEvent, ...]]"]:
        """Return a future that is done when a forgetting under way has ended."""
        return self._waiters.expect(definition_id)

    def apply(self, offset: int, event: DefinitionEvent | None) -> None:
        """Apply the record at an offset; those of other definitions change nothing."""
        if event is None or event.kind is not DefinitionKind.FORGETTING:
            return
        name, before = event.definition_id, self._forgettings
        self._forgettings = before.evolve(event)
        after = self._forgettings.get(name)
        if after is None or after is before.get(name):
            return
        record = self._records.get(name) or ForgettingRecord(
            after, event.occurred_at, event.actor, event.command_id, offset + 1
        )
        self._records[name] = replace(record, forgetting=after, rules_offset=offset + 1)
        if not after.is_under_way and record.forgotten_at is None:
            self._records[name] = replace(self._records[name], forgotten_at=event.occurred_at)
            self._waiters.answer(name, (event,))
            oldest = next(iter(before.ended), name)
            if oldest not in self._forgettings.ended:
                del self._records[oldest]
