"""What the tests of safe_faust share: topics, records, committed offsets, workers, and a way to hold writes."""

import asyncio
import json
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

PRODUCE = 0  # its API key, https://kafka.apache.org/protocol#protocol_api_keys
PARTITIONS = 2
PATIENCE = 30.0


@dataclass
class WorkerProcess:
    """A worker, and what it has said so far."""

    process: asyncio.subprocess.Process
    errors: Path
    said: list[dict[str, Any]] = field(default_factory=list)

    async def says(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next thing said that is wanted; fails with the worker's log when it ends or stays silent."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                while line := await self.process.stdout.readline():
                    self.said.append(json.loads(line))
                    if wanted(self.said[-1]):
                        return self.said[-1]
        except TimeoutError:
            pass
        raise AssertionError(f"never said; said {self.said[-5:]}\n{self.errors.read_text()[-4000:]}")

    async def has_done(self, records: int) -> None:
        """Wait until so many records in all were worked on."""
        if self.done < records:
            await self.says(lambda _: self.done >= records)

    @property
    def done(self) -> int:
        return sum(each.get("done", 0) for each in self.said)

    async def exit_code(self) -> int:
        """Wait for the end, reading what is still said."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := await self.process.stdout.readline():
                self.said.append(json.loads(line))
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

    bootstrap: str
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
        async with administrator(self.bootstrap) as admin:
            await admin.create_topics([NewTopic(each, PARTITIONS, 1) for each in topics])

    async def alter(self, topic: str, config: dict[str, str]) -> None:
        async with administrator(self.bootstrap) as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])

    async def put(self, values: Sequence[bytes], keys: int = 4) -> None:
        """Write the values in turn to the partitions; the key of a record is one of `keys`, and tied to a partition."""
        async with producer(self.bootstrap) as sending:
            await put(sending, self.source, values, keys)

    async def start(
        self,
        instance_id: str = "one",
        *,
        style: str = "packed",
        watchdog_seconds: float = 60.0,
        bootstrap: str = "",
        partitions: int = PARTITIONS,
    ) -> WorkerProcess:
        asked = {
            "bootstrap": bootstrap or self.bootstrap,
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
                *("-m", "tests.integration.support.safe_faust_worker", json.dumps(asked)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=2**24,
            )
        self.workers.append(WorkerProcess(process, errors))
        return self.workers[-1]

    async def committed(self) -> list[int]:
        """The group's committed offset of each partition of the source; 0 where there is none."""
        async with consumer(self.bootstrap, group_id=f"group-{self.run}") as reader:
            return [await reader.committed(TopicPartition(self.source, n)) or 0 for n in range(PARTITIONS)]

    async def commits(self, wanted: list[int]) -> None:
        """Wait until exactly this is committed."""
        found: list[int] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while found != wanted:
                    found = await self.committed()
        except TimeoutError:
            raise AssertionError(f"{found} is committed, and not {wanted}\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(each.errors.read_text()[-4000:] for each in self.workers)

    async def ends(self, topic: str) -> list[int]:
        async with consumer(self.bootstrap) as reader:
            partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            return list((await reader.end_offsets(partitions)).values())

    async def read(self, topic: str) -> list[Any]:
        """All committed records of the topic, in order within each partition."""
        async with consumer(self.bootstrap, isolation_level="read_committed") as reader:
            partitions = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            ends = await reader.end_offsets(partitions)
            found: list[Any] = []
            while any([await reader.position(each) < ends[each] for each in partitions]):
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found += records
            return found

    async def state(self) -> dict[str, int]:
        """What a worker that starts now would recover from the changelog."""
        return {each.key.decode(): int(each.value) for each in await self.read(self.changelog)}


async def put(sending: AIOKafkaProducer, topic: str, values: Sequence[bytes], keys: int = 4) -> None:
    waiting = [
        await sending.send(topic, value, key=b"key-%d" % (n % keys), partition=n % keys % PARTITIONS)
        for n, value in enumerate(values)
    ]
    await asyncio.gather(*waiting)


@asynccontextmanager
async def administrator(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def producer(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    sending = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
    await sending.start()
    try:
        yield sending
    finally:
        await sending.stop()


@asynccontextmanager
async def consumer(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **options)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def rig(bootstrap: str, data_dir: Path) -> AsyncIterator[Rig]:
    made = Rig(bootstrap, data_dir)
    await made.create(made.source, made.output)
    try:
        yield made
    finally:
        for each in made.workers:
            await each.kill()


class SlowRoad:
    """A way to the broker on which the produce requests for one topic can be held; all else passes.

    Clients stay on it because answers that name the broker's port are changed to name this one's.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        host, port = bootstrap.split(":")
        self._broker = (host, int(port))
        self._topic = topic.encode()
        self._free = asyncio.Event()
        self._free.set()
        self.held = asyncio.Event()
        self._server: asyncio.Server
        self._roads: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for each in self._roads:
            each.cancel()
        await asyncio.gather(*self._roads, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def _port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def hold(self) -> None:
        self._free.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection(*self._broker)
        for road in (self._requests(reader, down), self._answers(up, writer)):
            task = asyncio.create_task(road)
            self._roads.add(task)
            task.add_done_callback(self._roads.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with closing(writer):
            async for frame in frames(reader):
                if struct.unpack(">h", frame[4:6])[0] == PRODUCE and self._topic in frame and not self._free.is_set():
                    self.held.set()
                    await self._free.wait()
                writer.write(frame)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._broker
        real, ours = (host.encode() + struct.pack(">i", each) for each in (port, self._port))
        async with closing(writer):
            async for frame in frames(reader):
                writer.write(frame.replace(real, ours))


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Kafka's requests and answers: four bytes of length, then the rest."""
    try:
        while True:
            head = await reader.readexactly(4)
            yield head + await reader.readexactly(struct.unpack(">i", head)[0])
    except (asyncio.IncompleteReadError, ConnectionError):
        return
