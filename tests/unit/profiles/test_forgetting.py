"""Persons are forgotten on a cluster in memory, also when the owner crashes at any step."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.definitions.forgetting_catalog import ForgettingCatalog
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.profile_store.partition_store import PartitionStore
from app.profiles import forgetting
from app.profiles.forgetting import ForgettingWorker
from app.profiles.lookup_client import GenerationReader, PartitionUnavailable, ProfilesClient
from app.records.encoding import encoded
from projections.definitions.forgetting import MAX_PERSON_KEYS
from projections.definitions.rebuild_spec import RebuildSpec, VersionedBody, spec_text
from projections.definitions.rules import key_hash
from projections.definitions.state import EMPTY, handle
from projections.mapping.mapper import MAX_KEY_BYTES
from projections.profiles.partitioning import partition_of_key
from projections.profiles.profile_view import shown_key
from projections.profiles.update_codec import decode_messages, encode_mapped
from projections.profiles.updates import Group, MappedMessages, NodeMessages
from schemas.definitions import (
    PARTITION,
    DefinitionEvent,
    ForgetPerson,
    ForgettingExtended,
    ForgettingStarted,
    PersonForgotten,
    RebuildPromoted,
)
from schemas.instants import micros
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, LANES, MAX_RECORD_BYTES, MESSAGES_REJECTED, UPDATES
from schemas.updates import MappedBatch
from schemas.wire.codec import decode, encode
from tests.golden.samples import full
from tests.unit.profiles.test_role import PARTITIONS, Running, running

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
REALTIME = LANES["realtime"].name
IDENTITY = VersionedBody(1, '{"kinds":[{"kind":"email","rank":1},{"kind":"cookie","rank":5}]}')


class CrashError(Exception):
    """The process dies."""


class CrashingProducer(BatchProducer):
    """Crashes at a write, before or after the broker has the records."""

    def __init__(self, cluster: MemoryCluster, crash_at: int | None = None, *, after: bool = False) -> None:
        super().__init__(cluster)
        self._crash_at = crash_at
        self._after = after
        self._writes = count()

    async def write(self, records: Iterable[ProducerRecord]) -> None:
        records = list(records)
        is_last = bool(records) and next(self._writes) == self._crash_at
        if is_last and not self._after:
            raise CrashError
        await super().write(records)
        if is_last:
            raise CrashError


class WithholdingProducer(BatchProducer):
    """Withholds the messages to one partition of the profiles that name an identity."""

    def __init__(self, cluster: MemoryCluster, partition: int, key: str) -> None:
        super().__init__(cluster)
        self._target = (UPDATES["realtime"].name, partition)
        self._key = key.encode()
        self.withheld: list[ProducerRecord] = []

    async def write(self, records: Iterable[ProducerRecord]) -> None:
        passed = []
        for record in records:
            is_withheld = (record.topic, record.partition) == self._target and self._key in (record.value or b"")
            (self.withheld if is_withheld else passed).append(record)
        await super().write(passed)


class Rig:
    """Profiles, control, and the processes that forget persons, one after another."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.profiles: Running
        self._raw = count()
        self._commands = count()

    async def send(
        self,
        email: str,
        cookie: str,
        generation: int = 0,
        at: datetime = NOON - timedelta(days=1),
        forgettings_offset: int = 1_000_000,
    ) -> None:
        """Send a message that names both identities, as a lane maps it."""
        number, time = next(self._raw), micros(at)
        by_partition = {number: MappedMessages() for number in range(PARTITIONS)}
        row = [email, time, 0, number, 0, "Graz"]
        by_partition[partition_of_key(email, PARTITIONS)].groups = [
            Group("visits", ("latest:city",), number, ["b"], [row])
        ]
        by_partition[partition_of_key(cookie, PARTITIONS)].links = [(cookie, email, time, "b", number)]
        for partition, mapped in by_partition.items():
            batch = MappedBatch(
                topic=REALTIME, partition=0, first_offset=number, next_offset=number + 1, rules_offset=0,
                payload=encode_mapped(mapped), generation=generation, forgettings_offset=forgettings_offset,
            )  # fmt: skip
            await self.record(ProducerRecord(UPDATES["realtime"].name, encode(batch), partition=partition))

    async def until_linked(self, email: str, *cookies: str) -> None:
        async with asyncio.timeout(10):
            while not (root := await self.profiles.node(email)) or not {*cookies} <= {*root.identities()}:
                await asyncio.sleep(0.001)

    async def request(self, key: str, name: str = "forgetting:1") -> None:
        command = ForgetPerson(
            command_id=f"request-{next(self._commands)}", definition_id=name, issued_at=NOON, issued_by="user:ada",
            key_hashes=(key_hash(shown_key(key)),), at=NOON,
        )  # fmt: skip
        await self.record(encoded(DEFINITIONS_COMMANDS, command, name, PARTITION))
        async with asyncio.timeout(10):
            while not self.events(name):
                await asyncio.sleep(0)

    async def record(self, *records: ProducerRecord) -> None:
        async with BatchProducer(self.cluster) as producer:
            await producer.write(records)

    def events(self, name: str = "forgetting:1") -> Sequence[DefinitionEvent]:
        records = self.cluster.records(DEFINITIONS_EVENTS.name, PARTITION)
        events: Sequence[Any] = [decode(record.value or b"") for record in records]
        return [event for event in events if event.definition_id == name]

    @asynccontextmanager
    async def worker(self, producer: BatchProducer | None = None) -> AsyncIterator[ForgettingWorker]:
        """Give a process of its own that forgets persons."""
        plane = self.profiles.store.plane
        async with AsyncExitStack() as stack:
            tail, catalog = DefinitionsTail(self.cluster), ForgettingCatalog()
            rules = RulesReader(tail)
            tail.subscribe(catalog.apply)
            tail.start()
            stack.push_async_callback(tail.stop)
            await tail.caught_up()
            client = await stack.enter_async_context(ProfilesClient(plane, PARTITIONS))
            writer = await stack.enter_async_context(producer or BatchProducer(self.cluster))
            yield ForgettingWorker(self.cluster, PARTITIONS, plane, client, rules, catalog, writer, lambda: NOON)

    async def forget(self, *names: str, producer: BatchProducer | None = None) -> None:
        """Run a process until persons are forgotten."""
        async with self.worker(producer) as worker:
            running = asyncio.create_task(worker.run(lambda number: number == PARTITION))
            try:
                async with asyncio.timeout(10):
                    while not running.done() and not all(self.report(name) for name in names or ["forgetting:1"]):
                        await asyncio.sleep(0.001)
                if running.done():
                    await running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def report(self, name: str = "forgetting:1") -> PersonForgotten | None:
        reports = [event for event in self.events(name) if isinstance(event, PersonForgotten)]
        assert len(reports) <= 1
        return reports[0] if reports else None

    async def assert_dropped(self, *keys: str) -> None:
        async with ProfilesClient(self.profiles.store.plane, PARTITIONS) as client:
            for node in await (await client.reader()).nodes(keys):
                assert node
                assert (node.forgotten, node.parent, node.registers, node.edges) == (micros(NOON), "", {}, {}), node.key


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_INTERVAL", "RETRY_DELAY", "MIN_POLL_INTERVAL"):
        monkeypatch.setattr(forgetting, name, 0.001)


@pytest.fixture
def cluster() -> MemoryCluster:
    topics = {topic.name: PARTITIONS for topic in (*UPDATES.values(), MESSAGES_REJECTED)}
    return MemoryCluster({**topics, DEFINITIONS_COMMANDS.name: 1, DEFINITIONS_EVENTS.name: 1})


@pytest.fixture
async def rig(tmp_path: Path, cluster: MemoryCluster) -> AsyncIterator[Rig]:
    made = Rig(cluster)
    deciding = asyncio.create_task(decide(cluster))
    async with running(tmp_path, cluster) as made.profiles:
        await made.profiles.answered()
        yield made
    deciding.cancel()
    await asyncio.gather(deciding, return_exceptions=True)


async def decide(cluster: MemoryCluster) -> None:
    """Decide commands, as control does."""
    state = EMPTY
    consumer = cluster.consumer(DEFINITIONS_COMMANDS.name, isolation="read_committed")
    async with started(consumer), BatchProducer(cluster) as producer:
        while True:
            for records in (await consumer.getmany(timeout_ms=60_000)).values():
                for record in records:
                    command: Any = decode(record.value)
                    state, events = handle(state, command, record.offset)
                    await producer.write(
                        encoded(DEFINITIONS_EVENTS, event, event.definition_id, PARTITION) for event in events
                    )


def person(name: str) -> tuple[str, str, str]:
    """The keys of a person, in both partitions."""
    email = f"01:email:{name}@x.org"
    home = partition_of_key(email, PARTITIONS)
    here, there = (
        next(key for n in count() if partition_of_key(key := f"05:cookie:{name}.{n}", PARTITIONS) == number)
        for number in (home, 1 - home)
    )
    return email, here, there


@pytest.mark.slow
async def test_a_crash_at_any_step_leaves_nothing_half_done(rig: Rig) -> None:
    steps = 0
    for step in count():
        has_crashed = False
        for after in (False, True):
            name = f"{step}-{after}".lower()
            email, *cookies = person(name)
            for cookie in cookies:
                await rig.send(email, cookie)
            await rig.until_linked(email, *cookies)
            await rig.request(cookies[0], f"forgetting:{name}")
            try:
                await rig.forget(f"forgetting:{name}", producer=CrashingProducer(rig.cluster, step, after=after))
            except CrashError:
                has_crashed = True
                await rig.forget(f"forgetting:{name}")
            report = rig.report(f"forgetting:{name}")
            assert report
            assert (report.identities, report.profiles, report.complete) == (3, 1, True)
            await rig.assert_dropped(email, *cookies)
        if not has_crashed:
            break
        steps += 1
    assert steps == 5, "identities are recorded, updates fenced, both partitions drop their part, the end is reported"


async def test_hashes_are_recorded_before_data_is_dropped_and_no_event_has_a_key(rig: Rig) -> None:
    email, cookie, _ = person("ann")
    await rig.send(email, cookie)
    await rig.until_linked(email, cookie)
    await rig.request(cookie)
    with pytest.raises(CrashError):
        await rig.forget(producer=CrashingProducer(rig.cluster, 1))
    extension = rig.events()[-1]
    assert isinstance(extension, ForgettingExtended)
    assert extension.key_hashes == (key_hash(shown_key(email)),)
    await rig.forget()
    for topic in (DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS):
        values = b"".join(record.value or b"" for record in rig.cluster.records(topic.name))
        assert (b"ann" in values, b"cookie" in values) == (False, False)


async def test_an_unknown_person_is_forgotten(rig: Rig) -> None:
    await rig.request("05:cookie:unknown")
    await rig.forget()
    report = rig.report()
    assert report
    assert (report.identities, report.profiles, report.complete) == (1, 0, True)


async def test_two_forgettings_of_one_person_end(rig: Rig) -> None:
    email, *cookies = person("ann")
    for cookie in cookies:
        await rig.send(email, cookie)
    await rig.until_linked(email, *cookies)
    for number, cookie in enumerate(cookies):
        await rig.request(cookie, f"forgetting:{number}")
    await rig.forget("forgetting:0", "forgetting:1")
    reports = [rig.report(f"forgetting:{number}") for number in range(2)]
    assert [report and (report.identities, report.profiles) for report in reports] == [(3, 1), (3, 1)]
    await rig.assert_dropped(email, *cookies)


@pytest.mark.parametrize("late", ["05:cookie:late", "00:phone:late"])
async def test_an_identity_that_a_lane_links_by_older_rules_is_forgotten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    monkeypatch.setattr(forgetting, "WAIT_TIMEOUT", 0.3)
    email, cookie, _ = person("ann")
    await rig.send(email, cookie)
    await rig.until_linked(email, cookie)
    plane = rig.profiles.store.plane
    await rig.profiles.store.lanes.claim(REALTIME, [0], "lane")
    await rig.request(cookie)
    async with rig.worker() as worker, started(worker._offsets):
        assert await worker.step(), "records what is linked"
        assert await worker.step(), "finds no more"
        with pytest.raises(TimeoutError):  # the lane has not confirmed the rules
            await worker.step()
        await rig.send(min(email, late), max(email, late), forgettings_offset=0)
        await plane.confirm_rules(REALTIME, [0], 2, "lane")
        assert await worker.step()
        assert [type(event) for event in rig.events()] == [ForgettingStarted, ForgettingExtended, ForgettingExtended]
    await plane.confirm_rules(REALTIME, [0], 3, "lane")
    await rig.forget()
    await rig.assert_dropped(email, cookie, late)


async def test_what_a_replaced_owner_of_a_lane_sends_later_is_skipped(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    email, cookie, late = person("ann")
    await rig.send(email, cookie)
    await rig.until_linked(email, cookie)
    await rig.request(cookie)
    await rig.forget()
    await rig.send(email, late, forgettings_offset=0)  # mapped before the request
    email_of_other, *others = person("bob")
    for other in others:
        await rig.send(email_of_other, other)
    await rig.until_linked(email_of_other, *others)
    assert await rig.profiles.node(late) is None
    await rig.assert_dropped(email, cookie)
    assert "a replaced owner of messages.realtime/0 has sent it" in caplog.text


async def test_the_first_owner_of_a_lane_uses_the_rules_of_earlier_forgettings(rig: Rig) -> None:
    await rig.request("05:cookie:unknown")
    await rig.forget()
    lanes, plane = rig.profiles.store.lanes, rig.profiles.store.plane
    await lanes.claim(REALTIME, [0], "lane")
    assert await plane.confirmed(REALTIME, [0]) == 1
    assert await plane.confirm_rules(REALTIME, [0], 0, "lane") == 1, "it has to read more definitions"


async def test_an_identity_that_returns_before_the_report_keeps_later_data(rig: Rig) -> None:
    await rig.request("01:email:new@x.org")
    with pytest.raises(CrashError):
        await rig.forget(producer=CrashingProducer(rig.cluster, 0))
    await rig.send("01:email:new@x.org", "05:cookie:new", at=NOON + timedelta(days=1))
    await rig.until_linked("01:email:new@x.org", "05:cookie:new")
    await rig.forget()
    node = await rig.profiles.node("01:email:new@x.org")
    assert node
    assert (node.forgotten, node.registers["latest:city"][3]) == (micros(NOON), "Graz")


async def test_a_person_whose_identities_are_being_merged_delays_no_other(rig: Rig) -> None:
    email, cookie, moved = person("ann")
    await rig.send(email, cookie)
    await rig.send("01:email:bob@x.org", moved)
    await rig.until_linked(email, cookie)
    await rig.until_linked("01:email:bob@x.org", moved)
    pointer = NodeMessages(shortcuts=[(moved, "00:email:unknown@x.org", 0)])
    await rig.profiles.send_messages(partition_of_key(moved, PARTITIONS), pointer)
    await rig.request(moved, "forgetting:moved")
    await rig.request(cookie, "forgetting:ann")
    await rig.forget("forgetting:ann")
    assert rig.report("forgetting:moved") is None
    await rig.assert_dropped(email, cookie)


@pytest.mark.parametrize("max_persons", [1, 100])
async def test_a_person_whose_nodes_are_slow_delays_no_other_and_keeps_its_progress(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, max_persons: int
) -> None:
    monkeypatch.setattr(forgetting, "MAX_PERSONS", max_persons)
    monkeypatch.setattr(forgetting, "WAIT_TIMEOUT", 0.3)
    looked_up: list[Sequence[str]] = []
    nodes = GenerationReader.nodes

    async def observed(reader: GenerationReader, keys: Sequence[str]) -> Any:
        looked_up.append(keys)
        return await nodes(reader, keys)

    monkeypatch.setattr(GenerationReader, "nodes", observed)
    for name in ("ann", "bob"):
        email, *cookies = person(name)
        for cookie in cookies:
            await rig.send(email, cookie)
        await rig.until_linked(email, *cookies)
        await rig.request(email, f"forgetting:{name}")
    keys = person("ann")
    late = [key for key in sorted(keys) if partition_of_key(key, PARTITIONS) == 1]
    producer = WithholdingProducer(rig.cluster, 1, keys[0])
    async with rig.worker(producer) as worker, started(worker._offsets), asyncio.timeout(10):
        while not rig.report("forgetting:bob"):
            await worker._try_step()
        while looked_up[-1] != late:  # the other nodes have forgotten
            await worker._try_step()
        assert rig.report("forgetting:ann") is None
        await rig.record(*producer.withheld)
        while not rig.report("forgetting:ann"):
            await worker._try_step()
    assert len(producer.withheld) == 1, "it is sent once"
    await rig.assert_dropped(*keys, *person("bob"))


async def test_persons_are_dropped_while_new_requests_arrive(rig: Rig) -> None:
    await rig.request("01:email:ann@x.org", "forgetting:ann")
    async with rig.worker() as worker, started(worker._offsets):
        assert await worker.step(), "finds no more"
        await rig.request("01:email:bob@x.org", "forgetting:bob")
        async with asyncio.timeout(10):
            while worker._catalog.get("forgetting:bob") is None:
                await asyncio.sleep(0)
        assert await worker.step()
    assert rig.report("forgetting:ann")


async def test_a_partition_that_is_handed_over_is_awaited(tmp_path: Path, cluster: MemoryCluster) -> None:
    rig, (email, cookie, _) = Rig(cluster), person("ann")
    deciding = asyncio.create_task(decide(cluster))
    async with running(tmp_path, cluster) as rig.profiles:
        await rig.send(email, cookie)
        await rig.until_linked(email, cookie)
        await rig.request(cookie)
        async with rig.worker() as worker:
            rig.profiles.stop.set()
            await rig.profiles.working
            await rig.profiles.server.__aexit__()
            async with started(worker._offsets):
                with pytest.raises(PartitionUnavailable):
                    await worker.step()
    shutil.rmtree(tmp_path / "profiles")
    cluster.expire_sessions()
    async with running(tmp_path, cluster) as rig.profiles:
        await rig.forget()
        await rig.assert_dropped(email, cookie)
    deciding.cancel()
    await asyncio.gather(deciding, return_exceptions=True)


@pytest.mark.parametrize("identities", [1, 100, MAX_PERSON_KEYS])
def test_the_messages_to_forget_a_person_grow_with_the_number_of_identities(identities: int) -> None:
    keys = [f"05:cookie:{number:0{MAX_KEY_BYTES - 7}}" for number in range(identities)]
    records = list(forgetting._forget_records(keys, 7, 0, 1))
    sizes = [len(record.value or b"") for record in records]
    assert max(sizes) < MAX_RECORD_BYTES * 0.9
    assert sum(sizes) < 6 * sum(map(len, keys)) + 1_000
    forgets = [forget for record in records for forget in decode_messages(decode(record.value or b"").payload).forget]  # type: ignore[union-attr]  # decode returns any record; the test knows which
    assert [target for targets, _, _ in forgets for target in targets] == keys
    assert all(list(person) == keys for _, _, person in forgets)


async def test_while_a_rebuild_goes_live_a_person_is_dropped_and_searched_again(
    tmp_path: Path, cluster: MemoryCluster
) -> None:
    rig, (email, cookie, other) = Rig(cluster), person("ann")
    deciding = asyncio.create_task(decide(cluster))
    for number in range(PARTITIONS):
        PartitionStore.open(tmp_path / "profiles" / f"1.{number}").close()
    async with running(tmp_path, cluster) as rig.profiles:
        await rig.send(email, cookie)
        await rig.send(email, other, generation=1)
        await rig.until_linked(email, cookie)
        promoted = replace(full(RebuildPromoted), generation=1, spec=spec_text(RebuildSpec(IDENTITY)))
        await rig.record(encoded(DEFINITIONS_EVENTS, promoted, promoted.definition_id, PARTITION))
        await rig.request(cookie)
        async with rig.worker() as worker, started(worker._offsets):
            assert await worker.step(), "records what is linked"
            assert await worker.step(), "finds no more"
            assert await worker.step(), "drops it"
            await rig.assert_dropped(email, cookie)
            assert not await worker.step()
            assert rig.report() is None
            await rig.profiles.store.plane.open_next(1)
            await rig.profiles.answered(1)
            await rig.profiles.store.plane.activate(1, 0)
            async with asyncio.timeout(10):
                while not rig.report():
                    await worker.step()
        report = rig.report()
        assert report
        assert (report.identities, report.profiles) == (3, 1)
        await rig.assert_dropped(email, other)
    deciding.cancel()
    await asyncio.gather(deciding, return_exceptions=True)
