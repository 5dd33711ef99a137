"""What a person would write by hand to keep each aircraft of the flights: no lanes, no identities, no repeats."""

import time
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.messages import MessageBatch
from schemas.wire.codec import MAGIC, decode


def fold(known: dict[str, Any] | None, flight: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of an aircraft after a flight: the attributes that `bench.plane.FLIGHTS` asks for."""
    at, miles = flight["time_hour"], flight["distance"]
    if known is None:
        known = {"last": at, "first": at, "position": flight["dest"], "first_seen_at": flight["origin"],
                 "flights": 0, "miles": 0, "longest": 0, "carriers": []}  # fmt: skip
    if at > known["last"]:
        known["last"], known["position"] = at, flight["dest"]
    if at < known["first"]:
        known["first"], known["first_seen_at"] = at, flight["origin"]
    known["flights"] += 1
    known["miles"] += miles
    known["longest"] = max(known["longest"], miles)
    if flight["carrier"] not in known["carriers"]:
        known["carriers"].append(flight["carrier"])
    return known


async def dictionary_seconds(bootstrap_servers: str, topic: str, partitions: int, messages: int) -> float:
    """Read so many raw messages with aiokafka's `getmany` into a dict, which nobody keeps."""
    aircraft: dict[str, dict[str, Any]] = {}
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        started, seen = time.perf_counter(), 0
        while seen < messages:
            for records in (await consumer.getmany(timeout_ms=1_000, max_records=2_000)).values():
                for record in records:
                    for line in lines_of(record.value):
                        flight = orjson.loads(line)
                        tail = flight["tailnum"]
                        aircraft[tail] = fold(aircraft.get(tail), flight)
                        seen += 1
        return time.perf_counter() - started


def lines_of(value: bytes) -> list[bytes]:
    """Return the messages of a record, packed or single."""
    if value[0] != MAGIC:
        return [value]
    word = decode(value)
    assert isinstance(word, MessageBatch)
    return word.payload.splitlines()
