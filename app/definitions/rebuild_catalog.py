"""All rebuilds in memory, as read from `definitions.events`, without the bodies of their rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from projections.definitions.rebuild import ProfileRebuild, evolve
from projections.definitions.rebuild_spec import EVERYTHING, Scope, parse_spec
from projections.definitions.state import MAX_REBUILDS
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import DefinitionEvent, RebuildDiscarded, RebuildPromoted, RebuildReady, RebuildStarted

KEPT_REPORTS: Final = 10  # the latest; each has up to half a megabyte


@dataclass(frozen=True, slots=True)
class RebuildRecord:
    """A rebuild with its report and history. `versions` are those of its rules by definition id."""

    rebuild: ProfileRebuild
    started_at: datetime
    started_by: str
    offset: int  # of the event that started it, which has the bodies of its rules
    versions: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    scope: Scope = EVERYTHING
    note: str = ""
    report: str = ""  # JSON
    ready_at: datetime | None = None
    ended_at: datetime | None = None  # when it was promoted or discarded
    ended_by: str = ""
    rules_offset: int = 0  # the offset after its promotion


class RebuildCatalog:
    """The present state of every rebuild, the latest last."""

    def __init__(self) -> None:
        self._records: dict[str, RebuildRecord] = {}

    @property
    def all(self) -> Sequence[RebuildRecord]:
        """The latest rebuilds."""
        return list(self._records.values())

    @property
    def under_way(self) -> RebuildRecord | None:
        """The rebuild that is neither promoted nor discarded, if there is one."""
        return next((record for record in self._records.values() if record.rebuild.is_under_way), None)

    def get(self, definition_id: str) -> RebuildRecord | None:
        """Return a rebuild."""
        return self._records.get(definition_id)

    def apply(self, offset: int, event: DefinitionEvent) -> bool:
        """Apply an event; return whether it is the next one of its rebuild."""
        record = self._records.get(event.definition_id)
        before = record.rebuild if record else None
        after = evolve(before, event)
        if after is None or after is before:
            return False
        record = _started(after, offset, event) if record is None else replace(record, rebuild=after)
        self._records[event.definition_id] = _updated(record, offset, event)
        self._evict()
        return True

    def _evict(self) -> None:
        while len(self._records) > MAX_REBUILDS:
            del self._records[next(iter(self._records))]
        for name in list(self._records)[:-KEPT_REPORTS]:
            self._records[name] = replace(self._records[name], report="")


def _started(rebuild: ProfileRebuild, offset: int, event: DefinitionEvent) -> RebuildRecord:
    record = RebuildRecord(rebuild, event.occurred_at, event.actor, offset)
    try:
        spec = parse_spec(rebuild.spec)
    except InvalidRulesError:  # never written by control
        return record
    return replace(record, versions=spec.versions, scope=spec.scope)


def _updated(record: RebuildRecord, offset: int, event: DefinitionEvent) -> RebuildRecord:
    match event:
        case RebuildStarted():
            return replace(record, rebuild=replace(record.rebuild, spec=""), note=event.note)
        case RebuildReady():
            return replace(record, report=event.report, ready_at=event.occurred_at)
        case RebuildPromoted():
            return replace(record, ended_at=event.occurred_at, ended_by=event.actor, rules_offset=offset + 1)
        case RebuildDiscarded():
            return replace(record, ended_at=event.occurred_at, ended_by=event.actor)
        case _:
            return record
