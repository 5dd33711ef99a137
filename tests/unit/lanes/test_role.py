"""A lane on a cluster in memory: what it maps, counts and stores, and in which order."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.latch import Latch
from app.lanes import role
from app.lanes.chunk import MappingChunk
from app.lanes.role import COUNT_INTERVAL_SECONDS, GROUP, Lane
from app.settings import Settings
from app.store.models import JobMapped, LaneSwitch, StaleOwnerError
from app.store.read_store import ReadStore
from projections.fields.field_stats import summarize
from schemas.definitions import PARTITION, DefinitionApplied, DefinitionDrafted
from schemas.messages import MessageBatch, MessageRejected
from schemas.topics import DEFINITIONS_EVENTS, LANES, MESSAGES_REJECTED, TOPICS, UPDATES
from schemas.updates import MappedBatch
from schemas.wire.codec import decode, encode
from tests.clock import ManualMonotonic

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
IDENTITY = {"kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}]}
BY_EMAIL = {"identities": [{"field": "email", "kind": "email"}], "attributes": [], "timestamp": None}
BY_MAIL = {"identities": [{"field": "mail", "kind": "email"}], "attributes": [], "timestamp": None}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.001)


class Rig:
    """Lanes of one deployment with two partitions, their store, and the clocks."""

    def __init__(self, store: ReadStore) -> None:
        self.store = store
        self.cluster = MemoryCluster(dict.fromkeys(TOPICS, 2) | {DEFINITIONS_EVENTS.name: 1})
        self.monotonic = ManualMonotonic()
        self.now = NOON
        self.stop = asyncio.Event()  # of the lane that was started last
        self.applied = 0

    async def write(self, topic: str, *records: ProducerRecord) -> None:
        async with BatchProducer(self.cluster) as producer:
            await producer.write(records)

    async def send(self, *messages: Any, lane: str = "realtime", partition: int = 0) -> None:
        """Send messages of the stream `people`: bytes as they are, the rest as JSON."""
        values = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
        headers = (("stream", b"people"),)
        topic = LANES[lane].name
        await self.write(
            topic, *(ProducerRecord(topic, value, partition=partition, headers=headers) for value in values)
        )

    async def apply(
        self, definition_id: str, body: Any, kind: type[DefinitionApplied | DefinitionDrafted] = DefinitionApplied
    ) -> None:
        """Apply a definition, as control would, or draft it."""
        self.applied += 1
        event = kind(
            event_id=str(self.applied), definition_id=definition_id, seq=self.applied, occurred_at=NOON,
            command_id=str(self.applied), command_offset=self.applied, actor="user:ada", rules=1,
            version=self.applied, body=json.dumps(body),
        )  # fmt: skip
        topic = DEFINITIONS_EVENTS.name
        await self.write(topic, ProducerRecord(topic, encode(event), partition=PARTITION))

    @asynccontextmanager
    async def lane(self, name: str = "realtime", worker_id: str = "1") -> AsyncIterator["asyncio.Task[None]"]:
        """Run a lane, and stop it at the end unless it has failed."""
        tail = DefinitionsTail(self.cluster)
        rules = RulesReader(tail)
        settings = Settings(partitions=2, worker_id=worker_id)
        stop = self.stop = asyncio.Event()
        tail.start()
        await tail.caught_up()
        running = asyncio.create_task(
            Lane(name, self.cluster, settings, self.store, rules, lambda: self.now, self.monotonic).run(stop)
        )
        try:
            yield running
            stop.set()
            if not running.done():
                await asyncio.wait_for(running, 10)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await tail.stop()

    def updates(self, lane: str = "realtime") -> list[MappedBatch]:
        """Return all updates, by partition."""
        records = [record for number in range(2) for record in self.cluster.records(UPDATES[lane].name, number)]
        return [decode(record.value or b"") for record in records]  # type: ignore[misc]  # all are

    def mapped(self, lane: str = "realtime") -> list[tuple[int, int]]:
        """Return the raw offsets and the rules of the updates, in order."""
        return sorted((update.first_offset, update.rules_offset) for update in self.updates(lane))

    async def updated(self, count: int, lane: str = "realtime") -> None:
        async def are_there() -> bool:
            return len(self.updates(lane)) >= count

        await until(are_there)

    async def counted(self, offset: int, lane: str = "realtime", partition: int = 0) -> None:
        async def is_there() -> bool:
            return await self.next_offset(lane, partition) == offset

        await until(is_there)

    async def next_offset(self, lane: str = "realtime", partition: int = 0) -> int:
        return await self.store.streams.next_offset(LANES[lane].name, partition)

    async def until_rules(self, rules_at: int, partition: int) -> None:
        """Wait until the offset is stored at which these rules begin in a partition."""
        topic = LANES["realtime"].name

        async def are_stored() -> bool:
            return rules_at in {rules for _, rules in await self.store.plane.rules_of(topic, partition)}

        await until(are_stored)

    async def messages(self) -> int:
        return sum(view.count for view in await self.store.streams.counts())

    def letters(self) -> list[MessageRejected]:
        records = [record for number in range(2) for record in self.cluster.records(MESSAGES_REJECTED.name, number)]
        return [decode(record.value or b"") for record in records]  # type: ignore[misc]  # decode returns any record; the test knows which

    async def pause(self, *, paused: bool, lane: str = "backfill") -> None:
        await self.store.lanes.switch(lane, LaneSwitch(paused=paused, by="user:ada", at=NOON))
        self.monotonic.now += 1


@pytest.fixture
async def rig(store: ReadStore) -> Rig:
    rig = Rig(store)
    await rig.apply("identity", IDENTITY)
    await rig.apply("mapping:people", BY_EMAIL)
    return rig


async def test_messages_become_updates_and_counts(rig: Rig) -> None:
    await rig.send({"email": "a@b.c"})
    async with rig.lane():
        await rig.updated(1)
        await rig.send({"email": "d@e.f"}, {"email": "g@h.i"}, partition=1)
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        await rig.counted(2, partition=1)
    (view,) = await rig.store.streams.counts()
    assert (view.stream, view.lane, view.count) == ("people", "realtime", 3)
    assert {(update.topic, update.rules_offset) for update in rig.updates()} == {("messages.realtime", 2)}
    assert await rig.next_offset() == 1


async def test_counts_are_stored_once_an_interval_and_at_the_end(rig: Rig) -> None:
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)
        await asyncio.sleep(0.01)
        assert await rig.next_offset() == 0
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        await rig.counted(1)
        await rig.send({"email": "d@e.f"})
        await rig.updated(2)
        await asyncio.sleep(0.01)
        assert await rig.next_offset() == 1
    assert await rig.next_offset() == 2
    assert await rig.messages() == 2


async def test_counts_are_stored_on_time_also_when_no_more_messages_arrive(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.lanes.role.POLL_TIMEOUT_MS", 60_000)
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)
        await asyncio.sleep(0.01)
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        await rig.counted(1)
        await rig.send({"email": "d@e.f"})  # it has a poll that ends soon, so the lane stops soon
        await rig.updated(2)


async def test_a_lane_stops_once_the_counts_in_progress_are_stored(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.lanes.role.POLL_TIMEOUT_MS", 10)
    async with rig.lane() as running:
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)
        async with rig.store.database.writing():  # nothing else is stored meanwhile
            rig.monotonic.now += COUNT_INTERVAL_SECONDS
            await until(is_counting)
            rig.stop.set()
            await asyncio.wait({running}, timeout=0.1)
            assert not running.done()
        await running
        assert await rig.next_offset() == 1


async def is_counting() -> bool:
    return any(task.get_name() == "storing counts" for task in asyncio.all_tasks())


async def test_messages_of_a_job_are_counted_as_mapped(rig: Rig) -> None:
    async with rig.lane():
        for number, count in enumerate((2, 3)):
            batch = MessageBatch(
                batch_id=f"job/{number}", stream="people", source="", job_id="job", run=1, ingested_at=NOON, first=0,
                count=count, payload=b'{"email":"a@b.c"}\n' * count,
            )  # fmt: skip
            await rig.write(LANES["realtime"].name, ProducerRecord(LANES["realtime"].name, encode(batch), partition=0))
            await rig.updated(number + 1)
    assert await rig.store.lanes.mapped("job") == JobMapped(job_id="job", count=5, at=NOON)


async def test_nothing_is_counted_before_its_updates_are_acked(rig: Rig) -> None:
    async with rig.lane():
        rig.cluster.withhold_acks()
        topic = LANES["realtime"].name
        sending = asyncio.create_task(rig.send({"email": "a@b.c"}))
        await rig.updated(1)
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        await asyncio.sleep(0.01)
        assert await rig.next_offset() == 0, topic
        rig.cluster.release_acks()
        await sending
        await rig.counted(1)


async def test_a_lane_resumes_where_it_has_counted(rig: Rig) -> None:
    await rig.send({"email": "a@b.c"}, {"email": "d@e.f"})
    async with rig.lane():
        await rig.updated(1)
    before = rig.mapped()
    await rig.send({"email": "g@h.i"})
    async with rig.lane():
        await rig.updated(len(before) + 1)
    assert rig.mapped() == [*before, (2, 2)]
    assert await rig.messages() == 3


async def test_a_lane_that_is_not_the_owner_any_more_fails(rig: Rig) -> None:
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)
    async with rig.lane() as running:
        await rig.send({"email": "d@e.f"})
        await rig.updated(2)
        await rig.store.lanes.claim(LANES["realtime"].name, [0], "other")
        assert await rig.store.streams.add(LANES["realtime"].name, 0, 1, 2, [], owner="other")
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        with pytest.raises(StaleOwnerError):
            await asyncio.wait_for(asyncio.shield(running), 10)
    assert await rig.messages() == 1, "the other worker has counted it"


async def test_an_owner_that_is_replaced_while_it_maps_counts_nothing_and_its_updates_are_told_apart(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, calls, is_mapping, released = MappingChunk.fill, count(), threading.Event(), threading.Event()

    def suspended(chunk: MappingChunk, records: Any, end: float) -> None:
        fill(chunk, records, end)
        if next(calls) == 0:
            is_mapping.set()
            assert released.wait(10)

    async def is_suspended() -> bool:
        return is_mapping.is_set()

    monkeypatch.setattr(MappingChunk, "fill", suspended)
    await rig.send({"email": "a@b.c"})
    async with rig.lane() as replaced:
        await until(is_suspended)
        await rig.apply("mapping:others", BY_EMAIL, DefinitionDrafted)
        async with rig.lane():  # the same member of the group
            await rig.updated(1)
            rig.monotonic.now += COUNT_INTERVAL_SECONDS
            await rig.counted(1)
            released.set()
            await rig.updated(2)
        with pytest.raises((StaleOwnerError, KafkaError)):
            await asyncio.wait_for(asyncio.shield(replaced), 10)
    assert [update.forgettings_offset for update in rig.updates()] == [3, 2]
    assert await rig.messages() == 1
    assert await rig.store.plane.unconfirmed(3) == []


async def test_unreadable_messages_become_dead_letters(rig: Rig) -> None:
    await rig.send(b"{", {"email": "a@b.c"})
    async with rig.lane():
        await rig.updated(1)
    (letter,) = rig.letters()
    assert (letter.topic, letter.partition, letter.offset) == ("messages.realtime", 0, 0)
    assert await rig.next_offset() == 2


async def test_the_offset_of_new_rules_is_stored_before_they_are_used(rig: Rig) -> None:
    topic = LANES["realtime"].name
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)
        await rig.apply("mapping:people", BY_MAIL)
        await rig.until_rules(3, 0)
        await rig.until_rules(3, 1)
        await rig.send({"mail": "d@e.f"})
        await rig.updated(2)
    assert rig.mapped() == [(0, 2), (1, 3)]
    assert await rig.store.plane.rules_of(topic, 0) == [(0, 2), (1, 3)]
    assert await rig.store.plane.rules_of(topic, 1) == [(0, 3)]


async def test_rules_that_map_alike_are_not_stored(rig: Rig) -> None:
    kinds: tuple[type[DefinitionApplied | DefinitionDrafted], ...] = (DefinitionApplied, DefinitionDrafted)
    for number, kind in enumerate(kinds):
        await rig.apply("mapping:others", BY_EMAIL, kind)
        await rig.send({"email": "a@b.c"})
        async with rig.lane():
            await rig.updated(number + 1)
    assert rig.mapped() == [(0, 3), (1, 3)]
    assert await rig.store.plane.rules_of(LANES["realtime"].name, 0) == [(0, 3)]


async def test_all_changes_of_the_rules_are_confirmed_also_while_paused(rig: Rig) -> None:
    plane, topic = rig.store.plane, LANES["backfill"].name
    assert await plane.unconfirmed(99) == [], "no lane has mapped a message yet"
    await rig.pause(paused=True)
    async with rig.lane("backfill"):

        async def confirmed() -> bool:
            behind = await plane.unconfirmed(rig.applied)
            return not behind and await plane.unconfirmed(99) == [(topic, 0), (topic, 1)]

        await until(confirmed)
        await rig.apply("mapping:others", BY_EMAIL, DefinitionDrafted)
        await until(confirmed)


async def test_a_confirmation_of_newer_rules_remains(rig: Rig) -> None:
    plane, topic = rig.store.plane, LANES["realtime"].name
    for rules_offset in (3, 2):
        await plane.confirm_rules(topic, [0], rules_offset)
    assert await plane.unconfirmed(3) == []
    assert [await plane.confirmed(topic, numbers) for numbers in ([0], [0, 1], [1])] == [3, 3, 0]


async def test_a_lane_maps_nothing_by_older_rules_than_an_earlier_owner_confirmed(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    plane, topic = rig.store.plane, LANES["realtime"].name
    await plane.confirm_rules(topic, [0], 3)
    await rig.send({"email": "a@b.c", "mail": "d@e.f"})

    async def waits() -> bool:
        return "waits for rules" in caplog.text

    async with rig.lane():
        await until(waits)
        await asyncio.sleep(0.05)
        assert rig.updates() == []
        await rig.apply("mapping:people", BY_MAIL)
        await rig.updated(1)
    assert rig.mapped() == [(0, 3)]
    assert await plane.rules_of(topic, 0) == [(0, 3)]


async def test_messages_are_mapped_by_the_rules_of_their_offset(rig: Rig) -> None:
    await rig.apply("mapping:people", BY_MAIL)
    for offset, rules_offset in ((0, 2), (2, 3)):
        await rig.store.plane.record_rules(LANES["realtime"].name, 0, offset, rules_offset)
    both = {"email": "a@b.c", "mail": "a@b.c"}
    await rig.send(both, both, both, both)
    async with rig.lane():
        await rig.updated(2)
    assert rig.mapped() == [(0, 2), (2, 3)]


async def test_messages_before_the_first_known_rules_are_mapped_by_these(rig: Rig) -> None:
    await rig.apply("mapping:people", BY_MAIL)
    for offset, rules_offset in ((1, 2), (2, 3)):
        await rig.store.plane.record_rules(LANES["realtime"].name, 0, offset, rules_offset)
    both = {"email": "a@b.c", "mail": "a@b.c"}
    await rig.send(both, both, both)
    async with rig.lane():
        await rig.updated(2)
    assert rig.mapped() == [(0, 2), (2, 3)]


async def test_a_paused_lane_reads_nothing_until_it_is_resumed(rig: Rig) -> None:
    await rig.pause(paused=True)
    await rig.send({"email": "a@b.c"}, lane="backfill")
    async with rig.lane("backfill"):
        await asyncio.sleep(0.05)
        assert rig.updates("backfill") == []
        await rig.pause(paused=False)
        await rig.updated(1, "backfill")
    assert await rig.next_offset("backfill") == 1


async def test_a_pause_takes_effect_between_two_chunks(rig: Rig) -> None:
    await rig.apply("mapping:people", BY_MAIL)
    for offset, rules_offset in ((0, 2), (2, 3)):
        await rig.store.plane.record_rules(LANES["backfill"].name, 0, offset, rules_offset)
    both = {"email": "a@b.c", "mail": "a@b.c"}
    await rig.send(both, both, both, lane="backfill")
    async with rig.lane("backfill"):
        rig.cluster.withhold_acks()
        await rig.updated(1, "backfill")
        await rig.pause(paused=True)
        rig.cluster.release_acks()
        await rig.counted(2, "backfill")
        assert rig.mapped("backfill") == [(0, 2)]
        await rig.pause(paused=False)
        await rig.updated(2, "backfill")
    assert rig.mapped("backfill") == [(0, 2), (2, 3)]
    assert await rig.next_offset("backfill") == 3


async def test_counts_are_also_stored_between_two_chunks(rig: Rig) -> None:
    await rig.apply("mapping:people", BY_MAIL)
    for offset, rules_at in ((0, 2), (2, 3)):
        await rig.store.plane.record_rules(LANES["realtime"].name, 0, offset, rules_at)
    both = {"email": "a@b.c", "mail": "a@b.c"}
    await rig.send(both, both, both)
    async with rig.lane():
        rig.cluster.withhold_acks()
        await rig.updated(1)
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        rig.cluster.release_acks()
        rig.cluster.withhold_acks()
        await rig.counted(2)
        rig.cluster.release_acks()
    assert await rig.next_offset() == 3


async def test_the_group_s_offsets_follow_the_counts(rig: Rig) -> None:
    group = f"{GROUP}.realtime"
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)

        async def is_committed() -> bool:
            rig.monotonic.now += COUNT_INTERVAL_SECONDS
            return rig.cluster.offsets(group).get(TopicPartition(LANES["realtime"].name, 0)) == 1

        await until(is_committed)


async def test_sampled_fields_are_stored_where_no_more_messages_arrive(rig: Rig) -> None:
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await rig.updated(1)
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        await rig.counted(1)
        await rig.send({"mail": "a@b.c"})
        rig.monotonic.now += COUNT_INTERVAL_SECONDS
        await rig.counted(2)
        assert await fields(rig) == {"email"}, "fields are stored every five seconds"
        rig.now += timedelta(seconds=5)

        async def are_stored() -> bool:
            rig.monotonic.now += COUNT_INTERVAL_SECONDS
            return await fields(rig) == {"email", "mail"}

        await until(are_stored)


async def fields(rig: Rig) -> set[str]:
    return {field.name for field in summarize(await rig.store.streams.sketches("people")).fields}


async def test_a_second_worker_takes_over_at_what_is_counted(rig: Rig) -> None:
    async with rig.lane() as first:
        await rig.send({"email": "a@b.c"}, partition=1)
        await rig.updated(1)
        async with rig.lane(worker_id="2") as second:
            await rig.counted(1, partition=1)
            await rig.send({"email": "d@e.f"}, partition=1)
            await rig.send({"email": "g@h.i"})
            await rig.updated(3)
            await rig.apply("mapping:people", BY_MAIL)
            for number in range(2):
                await rig.until_rules(3, number)
            assert not first.done()
            assert not second.done()
    assert await rig.messages() == 3
    assert len(rig.updates()) == 3


async def test_costly_records_leave_the_event_loop_free_and_their_stream_is_logged(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill, released = MappingChunk.fill, threading.Event()

    def slow(chunk: MappingChunk, records: Any, end: float) -> None:
        fill(chunk, records, end)
        assert released.wait(10), "the event loop stands still"

    monkeypatch.setattr(MappingChunk, "fill", slow)
    monkeypatch.setattr(role, "SLOW_SECONDS", 0.01)

    async def is_logged() -> bool:
        return "mapping stream people" in caplog.text

    await rig.apply("identity", IDENTITY)
    await rig.apply("mapping:people", BY_EMAIL)
    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await until(is_logged)
        released.set()
        await rig.updated(1)


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, Latch]]:
    """A lane whose mapping waits for the event; the latch does not exit."""
    add, released, latch = MappingChunk.add, threading.Event(), Latch(lambda _: None)

    def stall(chunk: MappingChunk, record: Any) -> None:
        add(chunk, record)
        assert released.wait(10)

    monkeypatch.setattr(MappingChunk, "add", stall)
    monkeypatch.setattr(role, "SLOW_SECONDS", 0.001)
    monkeypatch.setattr(role, "Latch", lambda: latch)
    yield released, latch
    released.set()


async def test_a_mapping_without_progress_aborts_the_process_and_is_named(
    rig: Rig, stalled: tuple[threading.Event, Latch]
) -> None:
    released, latch = stalled

    async def is_aborted() -> bool:
        return latch.reason is not None

    async with rig.lane():
        await rig.send({"email": "a@b.c"}, partition=1)
        await until(is_aborted)
        released.set()
        await rig.updated(1)
    assert latch.reason is not None
    assert "mapping stream people (mapping:people version 2) in messages.realtime/1@0" in latch.reason


async def test_slow_progress_does_not_abort_the_process(
    rig: Rig, stalled: tuple[threading.Event, Latch], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released, latch = stalled
    positions = count()
    monkeypatch.setattr(MappingChunk, "position", property(lambda _: next(positions)))

    async def is_checked_often() -> bool:
        return caplog.text.count("is slow") > 2 * role.MAX_STALLED_CHECKS

    async with rig.lane():
        await rig.send({"email": "a@b.c"})
        await until(is_checked_often)
        released.set()
        await rig.updated(1)
    assert latch.reason is None
