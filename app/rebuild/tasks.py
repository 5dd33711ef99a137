"""The rebuilds that need work, folded from `definitions.events`."""

from dataclasses import dataclass, replace
from datetime import datetime

from app.definitions.tail import DefinitionsTail
from app.kafka.clients import Cluster
from projections.definitions.rebuild import ProfileRebuild, evolve
from projections.definitions.rebuild_spec import RebuildSpec, parse_spec
from projections.definitions.rules import NO_RULES, Rules, evolve_rules
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    REBUILD,
    DefinitionEvent,
    ForgettingExtended,
    ForgettingStarted,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildStarted,
)


@dataclass(frozen=True, slots=True)
class ForgottenPerson:
    """Identities forgotten by the event at `offset`: messages up to `at` with keys of these hashes don't count."""

    offset: int
    key_hashes: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class RebuildTask:
    """A rebuild in its present state. `rules_offset` is the offset after its promotion; 0 before.

    `forgotten` are the people who were forgotten since it started.
    """

    rebuild: ProfileRebuild
    spec: RebuildSpec
    start_offset: int
    rules_offset: int = 0
    forgotten: tuple[ForgottenPerson, ...] = ()

    @property
    def name(self) -> str:
        """The id without the prefix of rebuilds."""
        return self.rebuild.definition_id.removeprefix(REBUILD)


class RebuildTasks:
    """Follows the events. `tasks` are by id, oldest first: those under way, those discarded, the last one promoted."""

    def __init__(self, cluster: Cluster) -> None:
        self._tail = DefinitionsTail(cluster)
        self._tail.subscribe(self._apply)
        self._rules = NO_RULES
        self.tasks: dict[str, RebuildTask] = {}

    @property
    def rules(self) -> Rules:
        """The active rules."""
        return self._rules

    @property
    def rules_offset(self) -> int:
        """The offset of the next event."""
        return self._tail.position

    async def start(self) -> None:
        """Start to follow, and return once all existing events are read."""
        self._tail.start()
        await self._tail.caught_up()

    async def stop(self) -> None:
        """Stop following."""
        await self._tail.stop()

    def remove(self, rebuild_id: str) -> None:
        """Remove a finished task."""
        self.tasks.pop(rebuild_id, None)

    def _apply(self, offset: int, event: DefinitionEvent | None) -> None:
        if event is None:
            return
        self._rules = evolve_rules(self._rules, event)
        if isinstance(event, ForgettingStarted | ForgettingExtended):
            person = ForgottenPerson(offset, frozenset(event.key_hashes), event.at)
            self.tasks = {name: replace(task, forgotten=(*task.forgotten, person)) for name, task in self.tasks.items()}
        elif isinstance(event, RebuildStarted):
            self._start(offset, event)
        elif task := self.tasks.get(event.definition_id):
            self._evolve(task, offset, event)

    def _start(self, offset: int, event: RebuildStarted) -> None:
        rebuild = evolve(None, event)
        if rebuild is None or event.definition_id in self.tasks:
            return
        try:
            spec = parse_spec(event.spec)
        except InvalidRulesError:  # control never writes it
            return
        self.tasks[event.definition_id] = RebuildTask(replace(rebuild, spec=""), spec, offset)

    def _evolve(self, task: RebuildTask, offset: int, event: DefinitionEvent) -> None:
        rebuild = evolve(task.rebuild, event)
        if rebuild is None or rebuild is task.rebuild:
            return
        task = replace(task, rebuild=rebuild)
        if isinstance(event, RebuildPromoted):
            task = replace(task, rules_offset=offset + 1)
            self.tasks = {name: other for name, other in self.tasks.items() if other.rebuild.status != "promoted"}
        elif isinstance(event, RebuildDiscarded):
            task = replace(task, spec=RebuildSpec())
        self.tasks[event.definition_id] = task
