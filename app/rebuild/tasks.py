"""Which rebuild there is work for, as `definitions.events` tells it. Does none of the work."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from app.definitions.tail import DefinitionsTail
from app.kafka.clients import Cluster
from projections.definitions.rebuild import ProfileRebuild, evolve
from projections.definitions.rebuild_spec import RebuildSpec, read_recipe
from projections.definitions.rules import NO_RULES, Rules, fold
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    REBUILD,
    DefinitionEvent,
    PersonForgotten,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildStarted,
)


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Somebody was forgotten by the event at `offset`: what was said up to `at` of identities with these hashes."""

    offset: int
    key_hashes: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class RebuildTask:
    """A rebuild as it stands, and what the builder needs of it. `began` and `rules_at` are offsets of its events.

    `rules_at` is that behind its promotion, 0 before; `forgotten` are people who were forgotten since it began.
    """

    rebuild: ProfileRebuild
    recipe: RebuildSpec
    began: int
    rules_at: int = 0
    forgotten: tuple[Forgetting, ...] = field(default=())

    @property
    def name(self) -> str:
        """Its id without what all ids of rebuilds begin with."""
        return self.rebuild.definition_id.removeprefix(REBUILD)


class RebuildTasks:
    """Reads all events, and then those that come.

    `tasks` are by id, the oldest first: what is under way, what was discarded, and what was promoted last.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._tail = DefinitionsTail(cluster)
        self._tail.subscribe(self._apply)
        self._rules = NO_RULES
        self.tasks: dict[str, RebuildTask] = {}

    @property
    def rules(self) -> Rules:
        """What is in force."""
        return self._rules

    @property
    def rules_at(self) -> int:
        """The offset of the next event."""
        return self._tail.position

    async def start(self) -> None:
        """Read all that there is, and begin to follow."""
        self._tail.start()
        await self._tail.caught_up()

    async def stop(self) -> None:
        """Stop following."""
        await self._tail.stop()

    def done(self, rebuild_id: str) -> None:
        """Forget a task: there is nothing more to do."""
        self.tasks.pop(rebuild_id, None)

    def _apply(self, offset: int, event: DefinitionEvent | None) -> None:
        if event is None:
            return
        self._rules = fold(self._rules, event)
        if isinstance(event, PersonForgotten):
            one = Forgetting(offset, frozenset(event.key_hashes), event.at)
            self.tasks = {name: replace(each, forgotten=(*each.forgotten, one)) for name, each in self.tasks.items()}
        elif isinstance(event, RebuildStarted):
            self._start(offset, event)
        elif task := self.tasks.get(event.definition_id):
            self._go_on(task, offset, event)

    def _start(self, offset: int, event: RebuildStarted) -> None:
        rebuild = evolve(None, event)
        if rebuild is None or event.definition_id in self.tasks:
            return
        try:
            recipe = read_recipe(event.recipe)
        except InvalidRulesError:  # control never writes it
            return
        self.tasks[event.definition_id] = RebuildTask(replace(rebuild, recipe=""), recipe, offset)

    def _go_on(self, task: RebuildTask, offset: int, event: DefinitionEvent) -> None:
        rebuild = evolve(task.rebuild, event)
        if rebuild is None or rebuild is task.rebuild:
            return
        task = replace(task, rebuild=rebuild)
        if isinstance(event, RebuildPromoted):
            task = replace(task, rules_at=offset + 1)
            self.tasks = {name: each for name, each in self.tasks.items() if each.rebuild.status != "promoted"}
        elif isinstance(event, RebuildDiscarded):
            task = replace(task, recipe=RebuildSpec())
        self.tasks[event.definition_id] = task
