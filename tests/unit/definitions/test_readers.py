"""One tail feeds the rules and the catalog: in order, each record once, all at one offset."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from app.definitions.catalog import DefinitionCatalog, VersionLostError
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail, NoSuchOffsetError, read_events
from app.kafka.memory.cluster import MemoryCluster
from projections.definitions.rules import NO_RULES, evolve_rules
from schemas.definitions import PARTITION, DefinitionCommand, DefinitionEvent
from schemas.topics import DEFINITIONS_EVENTS
from tests.golden.definition_histories import rebuilt_promoted_and_discarded
from tests.unit.definitions.conftest import Write
from tests.unit.projections.definitions.scenario import (
    FLIGHTS,
    apply,
    discard,
    draft,
    identity,
    mapping,
    no_definitions,
)


def history(*commands: DefinitionCommand) -> list[DefinitionEvent]:
    scenario, events = no_definitions(), list[DefinitionEvent]()
    for command in commands:
        scenario = scenario.when(command)
        events += scenario.events
    return events


APPLIED_TWICE = history(
    draft("identity", identity()),
    apply("identity"),
    draft(body=mapping(seen="count")),
    apply(),
    draft(body=mapping(seen="max")),
    apply(version=2),
)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def following(tail: DefinitionsTail) -> AsyncIterator[None]:
    tail.start()
    try:
        yield
    finally:
        await tail.stop()


async def test_every_subscriber_gets_each_record_once_and_in_order(cluster: MemoryCluster, write: Write) -> None:
    await write(APPLIED_TWICE[0], b"garbage", *APPLIED_TWICE[1:3])
    first: list[tuple[int, DefinitionEvent | None]] = []
    second: list[int] = []
    tail = DefinitionsTail(cluster)
    tail.subscribe(lambda offset, event: first.append((offset, event)))
    tail.subscribe(lambda offset, _: second.append(offset))
    async with following(tail):
        await tail.caught_up()
        assert first == [(0, APPLIED_TWICE[0]), (1, None), (2, APPLIED_TWICE[1]), (3, APPLIED_TWICE[2])]
        assert tail.alive
        await write(APPLIED_TWICE[3])
        await until(lambda: tail.position == 5)
    assert first[4:] == [(4, APPLIED_TWICE[3])]
    assert second == [0, 1, 2, 3, 4]


async def test_a_tail_that_cannot_reach_the_end_says_so(cluster: MemoryCluster) -> None:
    cluster.set_available(available=False)
    tail = DefinitionsTail(cluster)
    async with following(tail):
        with pytest.raises(KafkaTimeoutError, match=DEFINITIONS_EVENTS.name):
            await tail.caught_up(0)


async def test_rules_are_the_fold_of_the_events_before_their_offset(cluster: MemoryCluster, write: Write) -> None:
    await write(*APPLIED_TWICE)
    tail = DefinitionsTail(cluster)
    reader = RulesReader(tail)
    rules, folded = NO_RULES, [NO_RULES]
    for event in APPLIED_TWICE:
        rules = evolve_rules(rules, event)
        folded.append(rules)
    async with following(tail):
        await tail.caught_up()
        assert (reader.rules, reader.rules_offset) == (rules, len(APPLIED_TWICE))
        assert [await reader.at(offset) for offset in range(len(folded))] == folded
        with pytest.raises(NoSuchOffsetError):
            await reader.at(len(folded))


async def test_the_rules_before_a_promotion_are_those_of_the_previous_generation(
    cluster: MemoryCluster, write: Write
) -> None:
    events = rebuilt_promoted_and_discarded().events
    tail = DefinitionsTail(cluster)
    reader = RulesReader(tail)
    await write(*events)
    async with following(tail):
        await tail.caught_up()
        live = reader.rules.generation
        assert live > 0
        assert reader.of(live) == reader.rules
        assert reader.of(live - 1).generation == live - 1


async def test_reading_is_bounded_by_both_offsets(cluster: MemoryCluster, write: Write) -> None:
    await write(*APPLIED_TWICE)
    assert [offset async for offset, _ in read_events(cluster, 2, 4)] == [2, 3]
    assert [event async for _, event in read_events(cluster)] == APPLIED_TWICE


async def test_the_catalog_knows_every_version_and_finds_its_body(cluster: MemoryCluster, write: Write) -> None:
    discarded = history(draft(body=mapping(seen="min")), discard(), draft(body=mapping(seen="max")))
    tail = DefinitionsTail(cluster)
    catalog = DefinitionCatalog(tail)
    await write(*discarded)
    async with following(tail):
        await tail.caught_up()
        versions = catalog.versions(FLIGHTS)
        assert [(number, record.status) for number, record in versions.items()] == [(1, "discarded"), (2, "draft")]
        assert '"min"' in await catalog.body(FLIGHTS, versions[1])
        assert '"max"' in await catalog.body(FLIGHTS, versions[2])
        assert [definition.definition_id for definition in catalog.definitions] == [FLIGHTS]
        with pytest.raises(VersionLostError):
            await catalog.body(FLIGHTS, replace(versions[1], offset=1))
        with pytest.raises(VersionLostError):
            await catalog.body(FLIGHTS, replace(versions[1], offset=50))
        cluster.delete_records(TopicPartition(DEFINITIONS_EVENTS.name, PARTITION), 1)
        with pytest.raises(VersionLostError):
            await catalog.body(FLIGHTS, versions[1])


async def test_applying_a_version_supersedes_the_one_before(cluster: MemoryCluster, write: Write) -> None:
    tail = DefinitionsTail(cluster)
    catalog = DefinitionCatalog(tail)
    await write(*APPLIED_TWICE)
    async with following(tail):
        await tail.caught_up()
        records = catalog.versions(FLIGHTS)
    assert [record.status for record in records.values()] == ["superseded", "applied"]
    assert [record.applied_by for record in records.values()] == ["user:ada", "user:ada"]
    assert records[2].applied_at == APPLIED_TWICE[-1].occurred_at


async def test_a_waiter_gets_the_event_of_its_command(cluster: MemoryCluster, write: Write) -> None:
    tail = DefinitionsTail(cluster)
    catalog = DefinitionCatalog(tail)
    async with following(tail):
        await tail.caught_up()
        with catalog.expect(APPLIED_TWICE[0].command_id) as future:
            await write(*APPLIED_TWICE[:2])
            assert await asyncio.wait_for(future, 10) == (APPLIED_TWICE[0],)


async def test_a_repeated_event_leaves_the_versions_as_they_are(cluster: MemoryCluster, write: Write) -> None:
    tail = DefinitionsTail(cluster)
    catalog = DefinitionCatalog(tail)
    await write(*APPLIED_TWICE)
    await write(APPLIED_TWICE[2], APPLIED_TWICE[3])
    async with following(tail):
        await tail.caught_up()
        records = catalog.versions(FLIGHTS)
    assert [(record.status, record.offset) for record in records.values()] == [("superseded", 2), ("applied", 4)]
