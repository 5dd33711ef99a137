"""A deployment in memory for tests of rebuilds: its topics, rules by e-mail, messages of people, and events."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.rebuild.stores import RebuildStores
from projections.definitions.rebuild import ProfileRebuild
from projections.definitions.rebuild_spec import RebuildSpec, VersionedBody, spec_text
from projections.profiles.profile_view import profile_of
from schemas.definitions import PARTITION, DefinitionEvent, RebuildPromoted, RebuildReady, RebuildStarted
from schemas.messages import MessageBatch
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, LANES, TOPICS
from schemas.wire.codec import encode

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PARTITIONS = 2
REBUILD_ID = "rebuild:1"
IDENTITY = VersionedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}]}))
PEOPLE = VersionedBody(
    1,
    json.dumps(
        {
            "identities": [{"field": "email", "kind": "email"}],
            "attributes": [
                {"name": "city", "field": "city", "type": "string", "merge": "latest"},
                {"name": "messages", "type": "integer", "merge": "count"},
            ],
            "timestamp": None,
        }
    ),
)
SPEC = RebuildSpec(IDENTITY, {"people": PEOPLE})
BUILDING = ProfileRebuild(
    definition_id=REBUILD_ID, seq=1, command_offset=0, updated_at=NOON, status="building", spec=""
)


def cluster() -> MemoryCluster:
    partitions = dict.fromkeys(TOPICS, PARTITIONS) | {DEFINITIONS_EVENTS.name: 1, DEFINITIONS_COMMANDS.name: 1}
    return MemoryCluster(partitions, NOON.timestamp)


def visits(people: int, messages: int = 1) -> list[dict[str, Any]]:
    """Return messages of so many people, and so many messages of each."""
    return [{"email": f"p{number}@x.org", "city": "Graz"} for _ in range(messages) for number in range(people)]


async def write(kafka: MemoryCluster, *records: ProducerRecord) -> None:
    async with BatchProducer(kafka) as producer:
        await producer.write(records)


async def send(kafka: MemoryCluster, messages: Sequence[Any], lane: str = "realtime", partition: int = 0) -> None:
    """Send single messages of the stream `people`."""
    headers = (("stream", b"people"),)
    values = [json.dumps(message).encode() for message in messages]
    topic = LANES[lane].name
    await write(kafka, *(ProducerRecord(topic, value, partition=partition, headers=headers) for value in values))


async def send_packed(kafka: MemoryCluster, batch: str, messages: Sequence[Any], partition: int = 0) -> None:
    """Send messages of the stream `people` as one record of the backfill lane."""
    content = MessageBatch(
        batch_id=batch, stream="people", source="", job_id=batch.partition("/")[0], run=1, ingested_at=NOON, first=0,
        count=len(messages), payload=b"".join(json.dumps(message).encode() + b"\n" for message in messages),
    )  # fmt: skip
    await write(kafka, ProducerRecord(LANES["backfill"].name, encode(content), partition=partition))


def event(kind: Any, seq: int, rebuild_id: str = REBUILD_ID, **fields: Any) -> DefinitionEvent:
    command_id = f"{rebuild_id}/{seq}"
    made: DefinitionEvent = kind(
        event_id=command_id, definition_id=rebuild_id, seq=seq, occurred_at=NOON, command_id=command_id,
        command_offset=seq, actor="user:ada", rules=1, **fields,
    )  # fmt: skip
    return made


def started(rebuild_id: str = REBUILD_ID, spec: RebuildSpec = SPEC) -> DefinitionEvent:
    return event(RebuildStarted, 1, rebuild_id, spec=spec_text(spec))


def ready(rebuild_id: str = REBUILD_ID, seq: int = 2) -> DefinitionEvent:
    return event(RebuildReady, seq, rebuild_id, report="{}")


def promoted(rebuild_id: str = REBUILD_ID, seq: int = 2, generation: int = 1) -> DefinitionEvent:
    return event(RebuildPromoted, seq, rebuild_id, generation=generation, spec=spec_text(SPEC))


async def record(kafka: MemoryCluster, *events: DefinitionEvent) -> None:
    """Write events of definitions, as control would."""
    topic = DEFINITIONS_EVENTS.name
    await write(kafka, *(ProducerRecord(topic, encode(item), partition=PARTITION) for item in events))


def attributes(stores: RebuildStores, email: str) -> dict[str, Any]:
    """Return the attributes of a person."""
    key = f"00:email:{email}"
    node = stores.nodes([key])[key]
    return {attribute.name: attribute.value for attribute in profile_of(key, node.registers, node.edges).attributes}
