"""The data plane for tests: rules, packed and single raw messages, and a wait until all of them are processed."""

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
TIMEOUT_SECONDS = 180.0


async def apply_rules(running: Service, **bodies: Any) -> None:
    """Write the events of applied rules, as control would: `identity`, and mappings by stream."""
    for seq, (name, body) in enumerate(bodies.items(), 1):
        event = DefinitionApplied(
            event_id=str(uuid4()), definition_id=name if name == "identity" else f"mapping:{name}", seq=seq,
            occurred_at=datetime.now(UTC), command_id=str(uuid4()), command_offset=seq, actor="user:test", rules=1,
            version=1, body=json.dumps(body),
        )  # fmt: skip
        assert running.producer
        await running.producer.send_and_wait(DEFINITIONS_EVENTS.name, encode(event), partition=PARTITION)


def packed(stream: str, batch_id: str, messages: Sequence[dict[str, Any]], first: int = 0) -> bytes:
    """Return a packed record, as a run of an import job writes it."""
    return encode(
        MessageBatch(
            batch_id=batch_id, stream=stream, source="test", job_id=batch_id.partition("/")[0], run=1,
            ingested_at=datetime.now(UTC), first=first, count=len(messages),
            payload=b"".join(json.dumps(message).encode() + b"\n" for message in messages),
        )
    )  # fmt: skip


async def write_packed(running: Service, lane: str, records: Iterable[bytes]) -> None:
    async with AIOKafkaProducer(**running.broker.cluster.connection(), max_request_size=16 * 2**20) as producer:
        partitions = running.settings.partitions
        sent = [
            await producer.send(LANES[lane].name, value, partition=number % partitions)
            for number, value in enumerate(records)
        ]
        await asyncio.gather(*sent)


async def write_single(running: Service, lane: str, stream: str, messages: Iterable[dict[str, Any]]) -> None:
    """Write plain JSON records, as an external producer does."""
    async with AIOKafkaProducer(**running.broker.cluster.connection(), linger_ms=20) as producer:
        headers = [("stream", stream.encode())]
        sent = [
            await producer.send(LANES[lane].name, json.dumps(message).encode(), headers=headers) for message in messages
        ]
        await asyncio.gather(*sent)


async def until_settled(running: Service) -> None:
    """Wait until lanes and profiles have committed the end of their topics, and the ends no longer move."""
    previous_ends: dict[TopicPartition, int] = {}
    partitions = range(running.settings.partitions)
    groups = {
        f"entrepot.lane.{lane}": [TopicPartition(topic.name, n) for n in partitions] for lane, topic in LANES.items()
    }
    groups["entrepot.profiles"] = [TopicPartition(topic.name, n) for topic in UPDATES.values() for n in partitions]
    admin = AIOKafkaAdminClient(**running.broker.cluster.connection())
    await admin.start()
    async with AIOKafkaConsumer(
        **running.broker.cluster.connection(), isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        consumer.assign([partition for assigned in groups.values() for partition in assigned])
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while True:
                    ends = await consumer.end_offsets(consumer.assignment())
                    if ends == previous_ends and await _all_read(admin, consumer, groups, ends):
                        return
                    previous_ends = ends
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not settled at {previous_ends}; log {running.log_lines[-12:]}") from None
        finally:
            await admin.close()


async def _all_read(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, groups: dict[str, Any], ends: dict[TopicPartition, int]
) -> bool:
    for group, partitions in groups.items():
        committed: dict[TopicPartition, Any] = {}
        with suppress(KafkaError):
            committed = await admin.list_consumer_group_offsets(group)
        offsets = {partition: committed[partition].offset if partition in committed else 0 for partition in partitions}
        for partition, offset in offsets.items():
            if offset < ends[partition] and not await _is_empty(consumer, partition, offset, ends[partition]):
                return False
    return True


async def _is_empty(consumer: AIOKafkaConsumer, partition: TopicPartition, begin: int, end: int) -> bool:
    """Return whether there is no record between two offsets; transaction markers do not count."""
    consumer.seek(partition, begin)
    while await consumer.position(partition) < end:
        if await consumer.getmany(partition, timeout_ms=100):
            return False
    return True


async def profile(running: Service, ranked: str) -> Profile | None:
    """Look up a profile at its owner, as the API does."""
    node = await root(running, ranked)
    return profile_of(node.key, node.registers, node.edges) if node else None


async def root(running: Service, ranked: str) -> Node | None:
    store = await ReadStore.open(running.settings.database())
    try:
        async with (
            ProfilesClient(store.plane, running.settings.partitions) as client,
            asyncio.timeout(TIMEOUT_SECONDS),
        ):
            while True:
                try:
                    return await (await client.reader()).root(ranked)
                except PartitionUnavailable:
                    await asyncio.sleep(0.1)
    finally:
        await store.close()
