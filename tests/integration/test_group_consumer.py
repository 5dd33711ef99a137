"""Members of a group: what they read on from, and that they never wait for each other without end."""

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.kafka.clients import KafkaCluster
from app.kafka.group_consumer import GroupConsumer
from tests.integration.conftest import MakeTopic

WORK_SECONDS = 0.3


class Member:
    """Works on nothing in particular; `numbers` are the partitions that it has been given."""

    def __init__(self, kafka: str, topic: str, name: str) -> None:
        self.numbers: set[int] = set()
        self.reader = GroupConsumer(
            KafkaCluster(kafka), [topic], topic, name, on_assigned=self._assigned, on_revoked=self._revoked
        )

    async def _assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self.numbers |= numbers
        return {}

    async def _revoked(self, numbers: frozenset[int]) -> None:
        self.numbers -= numbers

    async def work(self, *, reads: bool) -> None:
        async with self.reader.running():
            while True:
                async with self.reader.guarded():
                    await asyncio.sleep(WORK_SECONDS)  # the group decides meanwhile, as nearly all of the time is work
                    await (self.reader.read(wait_ms=0) if reads else self.reader.poll_idle(0))


async def nothing(_numbers: frozenset[int]) -> None:
    pass


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not there():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("reads", [True, False])
async def test_who_works_when_somebody_joins_shares_and_goes_on(
    kafka: str, make_topic: MakeTopic, *, reads: bool
) -> None:
    topic = await make_topic(f"shared-by-members-{reads}", 2)
    first, second = Member(kafka, topic, "first"), Member(kafka, topic, "second")
    working = [asyncio.create_task(first.work(reads=reads))]
    try:
        await until(lambda: first.numbers == {0, 1})
        working.append(asyncio.create_task(second.work(reads=reads)))
        await until(lambda: len(first.numbers) == len(second.numbers) == 1)
        assert first.numbers | second.numbers == {0, 1}
    finally:
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def test_who_has_failed_is_asked_for_nothing_any_more(kafka: str, make_topic: MakeTopic) -> None:
    """What was half done when it failed must not be kept when partitions are given up."""
    topic = await make_topic("failed", 2)
    first, second = Member(kafka, topic, "first"), Member(kafka, topic, "second")
    async with first.reader.running():
        while first.numbers != {0, 1}:
            async with first.reader.guarded():
                await first.reader.read(wait_ms=50)
        with pytest.raises(ZeroDivisionError):
            async with first.reader.guarded():
                raise ZeroDivisionError
        working = asyncio.create_task(second.work(reads=True))
        try:
            await until(lambda: bool(second.numbers))
            assert first.numbers == {0, 1}, "nobody has asked it to give anything up"
            with pytest.raises(ZeroDivisionError):
                async with first.reader.guarded():
                    pass
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def test_what_is_left_is_read_where_the_position_is_gone(kafka: str, make_topic: MakeTopic) -> None:
    where = TopicPartition(await make_topic("cut-off"), 0)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in range(10):
            await producer.send_and_wait(where.topic, b"%d" % number, partition=0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_records({where: RecordsToDelete(before_offset=5)})
    await admin.close()

    async def assigned(_numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        return {where: 2}

    reader = GroupConsumer(
        KafkaCluster(kafka), [where.topic], "cut-off", "cut-off-1", on_assigned=assigned, on_revoked=nothing
    )
    found: list[bytes] = []
    async with reader.running(), asyncio.timeout(30):
        while len(found) < 5:
            async with reader.guarded():
                polled = await reader.read(wait_ms=200)
                found += [each.value for each in polled.get(where, ())]
    assert found == [b"5", b"6", b"7", b"8", b"9"]


async def test_what_waits_in_a_patient_topic_holds_nothing_else_up(kafka: str, make_topic: MakeTopic) -> None:
    urgent = TopicPartition(await make_topic("urgent"), 0)
    patient = TopicPartition(await make_topic("patient"), 0)

    async def assigned(_numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        return {urgent: 0, patient: 100}

    reader = GroupConsumer(
        KafkaCluster(kafka),
        [urgent.topic, patient.topic],
        "urgent-and-patient",
        "urgent-and-patient-1",
        on_assigned=assigned,
        on_revoked=nothing,
        background=[patient.topic],
    )
    waits: list[float] = []
    found: list[bytes] = []
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer, reader.running(), asyncio.timeout(60):
        await asyncio.gather(*[await producer.send(patient.topic, b"%d" % n, partition=0) for n in range(300)])
        while len(found) < 200:
            async with reader.guarded():
                some = await reader.read(urgent, patient, wait_ms=100, max_records=50)
                found += [each.value for each in some.get(patient, ())]
        for number in range(300, 330):
            async with reader.guarded():
                await producer.send_and_wait(patient.topic, b"%d" % number, partition=0)
                assert not await reader.read(urgent, wait_ms=20), "meanwhile the patient one is fetched"
                started = time.monotonic()
                await producer.send_and_wait(urgent.topic, b"now", partition=0)
                while not await reader.read(urgent, wait_ms=1_000):
                    pass
                waits.append(time.monotonic() - started)
                found += [each.value for each in (await reader.read(patient, wait_ms=1_000))[patient]]
    assert found == [b"%d" % n for n in range(100, 330)], "all of it, from where it was told to begin"
    assert statistics.median(waits) < 0.05, "a reader of both waits for 0.1 s in between"
