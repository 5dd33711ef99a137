"""Rebuilds that need work follow from the events of definitions."""

from datetime import timedelta

from app.rebuild.tasks import ForgottenPerson, RebuildTasks
from projections.definitions.rebuild_spec import RebuildSpec
from schemas.definitions import DefinitionEvent, ForgettingStarted, RebuildDiscarded, RebuildStarted
from tests.unit.rebuild.deployment import NOON, SPEC, cluster, event, promoted, ready, record, started


async def folded(*events: DefinitionEvent) -> RebuildTasks:
    """Return the tasks after these events."""
    kafka = cluster()
    await record(kafka, *events)
    tasks = RebuildTasks(kafka)
    await tasks.start()
    await tasks.stop()
    assert kafka.connections == 0
    return tasks


def statuses(tasks: RebuildTasks) -> dict[str, str]:
    return {task.name: task.rebuild.status for task in tasks.tasks.values()}


def forgotten(seq: int, *hashes: str) -> DefinitionEvent:
    return event(ForgettingStarted, seq, "forgetting:1", key_hashes=hashes, at=NOON + timedelta(seconds=seq))


async def test_a_started_rebuild_has_the_spec_of_its_recipe() -> None:
    tasks = await folded(forgotten(1, "a"), started())
    task = tasks.tasks["rebuild:1"]
    assert (task.name, task.spec, task.start_offset, task.rules_offset, task.forgotten) == ("1", SPEC, 1, 0, ())
    assert task.rebuild.spec == "", "it is large"
    assert tasks.rules_offset == 2


async def test_a_start_that_is_invalid_or_repeated_is_ignored() -> None:
    invalid = event(RebuildStarted, 1, "rebuild:2", spec="{")
    tasks = await folded(ready(), invalid, started(), started(spec=RebuildSpec()))
    assert statuses(tasks) == {"1": "building"}
    assert (tasks.tasks["rebuild:1"].spec, tasks.tasks["rebuild:1"].start_offset) == (SPEC, 2)


async def test_people_forgotten_since_its_start_belong_to_a_rebuild() -> None:
    tasks = await folded(forgotten(1, "a"), started(), forgotten(2, "b", "c"), ready(), forgotten(3, "d"))
    second, third = (NOON + timedelta(seconds=seconds) for seconds in (2, 3))
    assert tasks.tasks["rebuild:1"].forgotten == (
        ForgottenPerson(2, frozenset({"b", "c"}), second),
        ForgottenPerson(4, frozenset({"d"}), third),
    )
    assert set(tasks.rules.forgotten) == {"a", "b", "c", "d"}


async def test_a_promotion_sets_the_offset_of_the_rules_and_replaces_the_last_promoted() -> None:
    events = [started(), ready(), promoted(seq=3)]
    tasks = await folded(*events)
    assert statuses(tasks) == {"1": "promoted"}
    assert (tasks.tasks["rebuild:1"].rules_offset, tasks.rules.generation) == (3, 1)
    later = [started("rebuild:2"), started("rebuild:3"), promoted("rebuild:3", generation=2)]
    tasks = await folded(*events, *later)
    assert statuses(tasks) == {"2": "building", "3": "promoted"}
    assert tasks.tasks["rebuild:3"].rules_offset == 6


async def test_a_discarded_rebuild_has_no_rules() -> None:
    tasks = await folded(started(), event(RebuildDiscarded, 2))
    assert statuses(tasks) == {"1": "discarded"}
    assert tasks.tasks["rebuild:1"].spec == RebuildSpec()
    for _ in range(2):  # removing it again changes nothing
        tasks.remove("rebuild:1")
        assert tasks.tasks == {}


async def test_an_event_that_is_not_the_next_one_changes_nothing() -> None:
    tasks = await folded(started(), promoted(seq=7), ready(), ready())
    task = tasks.tasks["rebuild:1"]
    assert (task.rebuild.status, task.rebuild.version, task.rules_offset) == ("ready", 1, 0)
