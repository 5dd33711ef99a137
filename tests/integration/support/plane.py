"""The data plane for tests: rules, raw messages of both kinds, and waiting until everything on the way has arrived."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.profiles.lookup_client import PartitionUnavailable, ProfilesClient
from app.store.read_store import ReadStore
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import Profile, profile_of
from schemas.definitions import PARTITION, DefinitionApplied
from schemas.messages import MessageBatch
from schemas.topics import DEFINITIONS_EVENTS, LANES, UPDATES
from schemas.wire.codec import encode
from tests.integration.support.service import Service

ROLES = ("lane-realtime", "lane-backfill", "profiles")
PATIENCE_SECONDS = 180.0


async def apply_rules(running: Service, **bodies: Any) -> None:
    """Have rules applied, as control would: `identity`, and mappings by stream."""
    for seq, (name, body) in enumerate(bodies.items(), 1):
        word = DefinitionApplied(
            event_id=str(uuid4()), definition_id=name if name == "identity" else f"mapping:{name}", seq=seq,
            occurred_at=datetime.now(UTC), command_id=str(uuid4()), command_offset=seq, actor="user:test", rules=1,
            version=1, body=json.dumps(body),
        )  # fmt: skip
        assert running.producer
        await running.producer.send_and_wait(DEFINITIONS_EVENTS.name, encode(word), partition=PARTITION)


def packed(stream: str, batch_id: str, messages: Sequence[dict[str, Any]], first: int = 0) -> bytes:
    """One packed record, as a connector's run would write it."""
    return encode(
        MessageBatch(
            batch_id=batch_id, stream=stream, source="test", job_id=batch_id.partition("/")[0], run=1,
            ingested_at=datetime.now(UTC), first=first, count=len(messages),
            payload=b"".join(json.dumps(each).encode() + b"\n" for each in messages),
        )
    )  # fmt: skip


async def write_packed(running: Service, lane: str, records: Iterable[bytes]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=running.broker.bootstrap_servers, max_request_size=16 * 2**20
    ) as producer:
        partitions = running.settings.partitions
        sent = [
            await producer.send(LANES[lane].name, value, partition=number % partitions)
            for number, value in enumerate(records)
        ]
        await asyncio.gather(*sent)


async def write_single(running: Service, lane: str, stream: str, messages: Iterable[dict[str, Any]]) -> None:
    """Write plain JSON records, as an outside producer would."""
    async with AIOKafkaProducer(bootstrap_servers=running.broker.bootstrap_servers, linger_ms=20) as producer:
        headers = [("stream", stream.encode())]
        sent = [await producer.send(LANES[lane].name, json.dumps(each).encode(), headers=headers) for each in messages]
        await asyncio.gather(*sent)


async def settled(running: Service) -> None:
    """Wait until the lanes and the profiles have read everything, and nothing new has come of it."""
    before: dict[TopicPartition, int] = {}
    partitions = range(running.settings.partitions)
    groups = {
        f"entrepot.lane.{lane}": [TopicPartition(each.name, n) for n in partitions] for lane, each in LANES.items()
    }
    groups["entrepot.profiles"] = [TopicPartition(each.name, n) for each in UPDATES.values() for n in partitions]
    admin = AIOKafkaAdminClient(bootstrap_servers=running.broker.bootstrap_servers)
    await admin.start()
    async with AIOKafkaConsumer(
        bootstrap_servers=running.broker.bootstrap_servers, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        consumer.assign([each for those in groups.values() for each in those])
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    ends = await consumer.end_offsets(consumer.assignment())
                    if ends == before and await _all_read(admin, consumer, groups, ends):
                        return
                    before = ends
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not settled at {before}; the roles said {running.said[-12:]}") from None
        finally:
            await admin.close()


async def _all_read(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, groups: dict[str, Any], ends: dict[TopicPartition, int]
) -> bool:
    for group, those in groups.items():
        told: dict[TopicPartition, Any] = {}
        with suppress(KafkaError):
            told = await admin.list_consumer_group_offsets(group)
        read = {each: told[each].offset if each in told else 0 for each in those}
        for each in those:
            if read[each] < ends[each] and not await _holds_nothing(consumer, each, read[each], ends[each]):
                return False
    return True


async def _holds_nothing(consumer: AIOKafkaConsumer, where: TopicPartition, begin: int, end: int) -> bool:
    """Tell whether there is no message between two offsets; what ends a transaction is none."""
    consumer.seek(where, begin)
    while await consumer.position(where) < end:
        if await consumer.getmany(where, timeout_ms=100):
            return False
    return True


async def profile(running: Service, ranked: str) -> Profile | None:
    """Ask the owner for a profile, as the API does."""
    node = await root(running, ranked)
    return profile_of(node.key, node.registers, node.edges) if node else None


async def root(running: Service, ranked: str) -> Node | None:
    store = await ReadStore.open(running.settings.database())
    try:
        async with (
            ProfilesClient(store.plane, running.settings.partitions) as asking,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            while True:
                try:
                    return await (await asking.reader()).root(ranked)
                except PartitionUnavailable:
                    await asyncio.sleep(0.1)
    finally:
        await store.close()
