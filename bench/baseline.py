"""The baseline: a plain consumer that folds flights into a dict, without lanes, identities and deduplication."""

import time
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.kafka.clients import KafkaCluster
from schemas.messages import MessageBatch
from schemas.wire.codec import MAGIC, decode


def fold(aircraft: dict[str, Any] | None, flight: dict[str, Any]) -> dict[str, Any]:
    """Add a flight to the attributes of an aircraft, as defined by `bench.plane.FLIGHTS`."""
    at, miles = flight["time_hour"], flight["distance"]
    if aircraft is None:
        aircraft = {"last": at, "first": at, "position": flight["dest"], "first_seen_at": flight["origin"],
                 "flights": 0, "miles": 0, "longest": 0, "carriers": []}  # fmt: skip
    if at > aircraft["last"]:
        aircraft["last"], aircraft["position"] = at, flight["dest"]
    if at < aircraft["first"]:
        aircraft["first"], aircraft["first_seen_at"] = at, flight["origin"]
    aircraft["flights"] += 1
    aircraft["miles"] += miles
    aircraft["longest"] = max(aircraft["longest"], miles)
    if flight["carrier"] not in aircraft["carriers"]:
        aircraft["carriers"].append(flight["carrier"])
    return aircraft


async def dictionary_seconds(cluster: KafkaCluster, topic: str, partitions: int, messages: int) -> float:
    """Read raw messages with `getmany` of aiokafka into a dict in memory."""
    fleet: dict[str, dict[str, Any]] = {}
    async with AIOKafkaConsumer(**cluster.connection(), auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        started, seen = time.perf_counter(), 0
        while seen < messages:
            for records in (await consumer.getmany(timeout_ms=1_000, max_records=2_000)).values():
                for record in records:
                    for line in lines_of(record.value):
                        flight = orjson.loads(line)
                        tail = flight["tailnum"]
                        fleet[tail] = fold(fleet.get(tail), flight)
                        seen += 1
        return time.perf_counter() - started


def lines_of(value: bytes) -> list[bytes]:
    """Return the messages of a packed or single record."""
    if value[0] != MAGIC:
        return [value]
    batch = decode(value)
    assert isinstance(batch, MessageBatch)
    return batch.payload.splitlines()
