"""All rebuilds in memory, as this server has read them, without the bodies of their recipes. It decides nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from projections.definitions.rebuild import ProfileRebuild, evolve
from projections.definitions.rebuild_spec import EVERYTHING, Scope, read_recipe
from projections.definitions.state import MAX_REBUILDS
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import DefinitionEvent, RebuildDiscarded, RebuildPromoted, RebuildReady, RebuildStarted

KEPT_REPORTS: Final = 10  # the latest; each has up to half a megabyte


@dataclass(frozen=True, slots=True)
class RebuildRecord:
    """A rebuild with what people ask of it. `versions` are those of its recipe, by stream; "" is the identity rules."""

    rebuild: ProfileRebuild
    started_at: datetime
    started_by: str
    offset: int  # of its start, where the bodies of its recipe stand
    versions: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    scope: Scope = EVERYTHING
    note: str = ""
    report: str = ""  # JSON
    ready_at: datetime | None = None
    ended_at: datetime | None = None  # promoted or discarded
    ended_by: str = ""
    rules_at: int = 0  # that of its promotion


class RebuildCatalog:
    """Knows how every rebuild is now, the latest last."""

    def __init__(self) -> None:
        self._marks: dict[str, RebuildRecord] = {}

    @property
    def all(self) -> Sequence[RebuildRecord]:
        """All that are remembered."""
        return list(self._marks.values())

    @property
    def under_way(self) -> RebuildRecord | None:
        """The one that is neither promoted nor discarded."""
        return next((each for each in self._marks.values() if each.rebuild.is_under_way), None)

    def get(self, definition_id: str) -> RebuildRecord | None:
        """Return a rebuild."""
        return self._marks.get(definition_id)

    def take(self, offset: int, event: DefinitionEvent) -> bool:
        """Take an event, if it is the next one of a rebuild."""
        mark = self._marks.get(event.definition_id)
        before = mark.rebuild if mark else None
        after = evolve(before, event)
        if after is None or after is before:
            return False
        mark = _started(after, offset, event) if mark is None else replace(mark, rebuild=after)
        self._marks[event.definition_id] = _told(mark, offset, event)
        self._let_go()
        return True

    def _let_go(self) -> None:
        while len(self._marks) > MAX_REBUILDS:
            del self._marks[next(iter(self._marks))]
        for name in list(self._marks)[:-KEPT_REPORTS]:
            self._marks[name] = replace(self._marks[name], report="")


def _started(rebuild: ProfileRebuild, offset: int, event: DefinitionEvent) -> RebuildRecord:
    mark = RebuildRecord(rebuild, event.occurred_at, event.actor, offset)
    try:
        recipe = read_recipe(rebuild.recipe)
    except InvalidRulesError:  # control never writes it
        return mark
    versions = {stream: each.version for stream, each in recipe.mappings.items()}
    if recipe.identity:
        versions[""] = recipe.identity.version
    return replace(mark, versions=MappingProxyType(versions), scope=recipe.scope)


def _told(mark: RebuildRecord, offset: int, event: DefinitionEvent) -> RebuildRecord:
    match event:
        case RebuildStarted():
            return replace(mark, rebuild=replace(mark.rebuild, recipe=""), note=event.note)
        case RebuildReady():
            return replace(mark, report=event.report, ready_at=event.occurred_at)
        case RebuildPromoted():
            return replace(mark, ended_at=event.occurred_at, ended_by=event.actor, rules_at=offset + 1)
        case RebuildDiscarded():
            return replace(mark, ended_at=event.occurred_at, ended_by=event.actor)
        case _:
            return mark
