"""Fixtures of the safe_faust tests: topics, records, committed offsets, workers, and a proxy that can hold writes."""

import asyncio
import json
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.kafka.clients import KafkaCluster
from app.supervisor.broker.server import Broker
from app.supervisor.ports import loopback

PRODUCE = 0  # its API key, https://kafka.apache.org/protocol#protocol_api_keys
PARTITIONS = 2
TIMEOUT_SECONDS = 30.0


@dataclass
class WorkerProcess:
    """A worker process, and the reports it has printed so far."""

    process: asyncio.subprocess.Process
    errors: Path
    reports: list[dict[str, Any]] = field(default_factory=list)

    async def until_reported(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next report that matches; fail with the worker's log when it ends or times out."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while line := await self.process.stdout.readline():
                    self.reports.append(json.loads(line))
                    if wanted(self.reports[-1]):
                        return self.reports[-1]
        except TimeoutError:
            pass
        raise AssertionError(f"no matching report; last {self.reports[-5:]}\n{self.errors.read_text()[-4000:]}")

    async def until_done(self, records: int) -> None:
        """Wait until the worker has processed `records` in total."""
        if self.done < records:
            await self.until_reported(lambda _: self.done >= records)

    @property
    def done(self) -> int:
        return sum(report.get("done", 0) for report in self.reports)

    async def exit_code(self) -> int:
        """Read the remaining reports, and return the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while line := await self.process.stdout.readline():
                self.reports.append(json.loads(line))
            return await self.process.wait()

    async def stop(self) -> int:
        self.process.terminate()
        return await self.exit_code()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.exit_code()


@dataclass
class Rig:
    """One consumer group with a source, an output and a changelog of its own."""

    broker: Broker
    data_dir: Path
    run: str = field(default_factory=lambda: uuid4().hex[:8])
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def source(self) -> str:
        return f"source-{self.run}"

    @property
    def output(self) -> str:
        return f"output-{self.run}"

    @property
    def changelog(self) -> str:
        return f"group-{self.run}-state-changelog"

    async def create(self, *topics: str) -> None:
        async with administrator(self.broker.cluster) as admin:
            await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])

    async def alter(self, topic: str, config: dict[str, str]) -> None:
        async with administrator(self.broker.cluster) as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])

    async def put(self, values: Sequence[bytes], keys: int = 4) -> None:
        """Write values round-robin over `keys` keys; a key always has the same partition."""
        async with producer(self.broker.cluster) as client:
            await put(client, self.source, values, keys)

    async def start(
        self,
        instance_id: str = "one",
        *,
        style: str = "packed",
        watchdog_seconds: float = 60.0,
        through: "HoldingProxy | None" = None,
        partitions: int = PARTITIONS,
    ) -> WorkerProcess:
        options = {
            "bootstrap_servers": (through or self.broker.cluster).bootstrap_servers,
            "password_file": str(self.broker.password_file),
            "app_id": f"group-{self.run}",
            "instance_id": instance_id,
            "data_dir": str(self.data_dir),
            "partitions": partitions,
            "source": self.source,
            "output": self.output,
            "style": style,
            "watchdog_seconds": watchdog_seconds,
        }
        errors = self.data_dir / f"worker-{len(self.workers)}.log"
        with errors.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.integration.support.safe_faust_worker", json.dumps(options)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=2**24,
            )
        self.workers.append(WorkerProcess(process, errors))
        return self.workers[-1]

    async def committed(self) -> list[int]:
        """Return the group's committed offset of each source partition; 0 where there is none."""
        async with consumer(self.broker.cluster, group_id=f"group-{self.run}") as reader:
            return [await reader.committed(TopicPartition(self.source, n)) or 0 for n in range(PARTITIONS)]

    async def until_committed(self, wanted: list[int]) -> None:
        """Wait until exactly these offsets are committed."""
        committed: list[int] = []
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while committed != wanted:
                    committed = await self.committed()
        except TimeoutError:
            raise AssertionError(f"committed {committed}, expected {wanted}\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(worker.errors.read_text()[-4000:] for worker in self.workers)

    async def ends(self, topic: str) -> list[int]:
        async with consumer(self.broker.cluster) as reader:
            partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            return list((await reader.end_offsets(partitions)).values())

    async def read(self, topic: str) -> list[Any]:
        """Return all committed records of a topic, in order within each partition."""
        async with consumer(self.broker.cluster, isolation_level="read_committed") as reader:
            partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            ends = await reader.end_offsets(partitions)
            read: list[Any] = []
            while any([await reader.position(partition) < ends[partition] for partition in partitions]):
                for polled in (await reader.getmany(timeout_ms=200)).values():
                    read += polled
            return read

    async def state(self) -> dict[str, int]:
        """Return the state that a new worker would recover from the changelog."""
        return {record.key.decode(): int(record.value) for record in await self.read(self.changelog)}


async def put(client: AIOKafkaProducer, topic: str, values: Sequence[bytes], keys: int = 4) -> None:
    sent = [
        await client.send(topic, value, key=b"key-%d" % (n % keys), partition=n % keys % PARTITIONS)
        for n, value in enumerate(values)
    ]
    await asyncio.gather(*sent)


@asynccontextmanager
async def administrator(kafka: KafkaCluster) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**kafka.connection())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def producer(kafka: KafkaCluster, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    client = AIOKafkaProducer(**kafka.connection(), **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def consumer(kafka: KafkaCluster, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    reader = AIOKafkaConsumer(**kafka.connection(), enable_auto_commit=False, **options)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def rig(broker: Broker, data_dir: Path) -> AsyncIterator[Rig]:
    group = Rig(broker, data_dir)
    await group.create(group.source, group.output)
    try:
        yield group
    finally:
        for worker in group.workers:
            await worker.kill()


class HoldingProxy:
    """A TCP or TLS proxy of the broker that can hold the produce requests for one topic; everything else passes.

    Responses that name the broker's port are rewritten to the proxy's, so that clients keep using the proxy.
    """

    def __init__(self, broker: Broker, topic: str, tls: ssl.SSLContext | None = None) -> None:
        self._broker = (loopback(), broker.port)
        self._tls = tls
        self._topic = topic.encode()
        self._open = asyncio.Event()
        self._open.set()
        self.held = asyncio.Event()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, loopback(), 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def bootstrap_servers(self) -> str:
        return f"{loopback()}:{self._port}"

    @property
    def _port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def hold(self) -> None:
        self._open.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(*self._broker)
        for direction in (self._requests(reader, broker_writer), self._responses(broker_reader, writer)):
            task = asyncio.create_task(direction)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with closing(writer):
            async for frame in frames(reader):
                if struct.unpack(">h", frame[4:6])[0] == PRODUCE and self._topic in frame and not self._open.is_set():
                    self.held.set()
                    await self._open.wait()
                writer.write(frame)

    async def _responses(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._broker
        real, proxied = (host.encode() + struct.pack(">i", number) for number in (port, self._port))
        async with closing(writer):
            async for frame in frames(reader):
                writer.write(frame.replace(real, proxied))


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield Kafka requests or responses: a length of four bytes, then the content."""
    try:
        while True:
            head = await reader.readexactly(4)
            yield head + await reader.readexactly(struct.unpack(">i", head)[0])
    except (asyncio.IncompleteReadError, ConnectionError):
        return
