"""A whole service for tests: a real broker, and roles as the supervisor runs them, to command, watch and kill."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from app.kafka.cluster import with_embedded_kafka
from app.kafka.topics import ensure_topics
from app.process import utc_now
from app.records.envelopes import stamp
from app.records.events import decode_event
from app.records.partitioning import partition_of
from app.roles import role_named
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from app.supervisor.environment import environment_of
from app.supervisor.fork_server import ForkServer
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import Restarter
from app.supervisor.role_process import FORK_SERVER, RoleProcess, arguments_of
from schemas.commands import Command, CreateJob, JobCommand
from schemas.events import JobEvent
from schemas.messages import MessageBatch
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS, TOPICS
from schemas.wire.codec import decode, encode
from schemas.wire.headers import headers_of

TIMEOUT_SECONDS = 90.0
FORKS = ForkServer(FORK_SERVER)  # of all services of this process; it exits with it
TOKEN = "a-token-of-the-administrator-0123456789"
ALL = ("api", "control", "runner", "lane-backfill", "lane-realtime")


@dataclass
class Service:
    """The roles of one data directory; a role that ends is restarted."""

    settings: Settings
    broker: Broker
    log_lines: list[str] = field(default_factory=list)
    restarters: dict[str, Restarter] = field(default_factory=dict)
    history: dict[str, list[JobEvent]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    logged: asyncio.Event = field(default_factory=asyncio.Event)
    producer: AIOKafkaProducer | None = None
    logs: list[RoleLog] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.log_lines.append(line)
        self.logged.set()

    async def until_logged(self, text: str, seconds: float = TIMEOUT_SECONDS) -> None:
        """Wait until a role or its restarter logs a line that contains the text."""
        async with asyncio.timeout(seconds):
            while not any(text in line for line in self.log_lines):
                self.logged.clear()
                await self.logged.wait()

    async def start_role(self, name: str, worker_id: str = "0", **environment: str) -> RoleProcess:
        """Start a role, and restart it whenever it ends."""
        settings = self.settings.model_copy(update={"worker_id": worker_id})
        log = RoleLog(settings.data_dir / "logs" / f"{name}-{worker_id}.log", self.log)
        self.logs.append(log)
        process = RoleProcess(name, FORKS, arguments_of(role_named(name)), environment_of(settings) | environment, log)
        restarter = Restarter(process, self.log)
        self.restarters[f"{name}-{worker_id}"] = restarter
        await restarter.start()
        return process

    def pid(self, name: str, worker_id: str = "0") -> int:
        process = self.restarters[f"{name}-{worker_id}"].process
        assert isinstance(process, RoleProcess)
        return process.pid or 0

    def signal(self, name: str, number: signal.Signals, worker_id: str = "0") -> bool:
        """Send a signal, and return whether the role has a process: it may be waiting for its restart."""
        if pid := self.pid(name, worker_id):
            with suppress(ProcessLookupError):  # it has exited, and asyncio has not noticed yet
                os.kill(pid, number)
                return True
        return False

    async def kill(self, name: str) -> None:
        """Kill a role with SIGKILL, and wait until its end is noticed. Poll, because a restart sends no signal."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not (pid := self.pid(name)) or not self.signal(name, signal.SIGKILL):
                await asyncio.sleep(0.02)
            while self.pid(name) == pid:
                await asyncio.sleep(0.02)

    async def stop_role(self, name: str, worker_id: str = "0") -> None:
        await self.restarters.pop(f"{name}-{worker_id}").stop()

    async def send(self, command: type[Command], job_id: str, **fields: Any) -> JobCommand:
        """Write a command as the API would."""
        record: Any = command(**stamp(job_id, "user:test", utc_now), **fields)
        assert self.producer
        await self.producer.send_and_wait(
            JOBS_COMMANDS.name, encode(record), key=job_id.encode(), headers=list(headers_of(record)),
            partition=partition_of(job_id, self.settings.partitions),
        )  # fmt: skip
        return record

    async def create(self, job_id: str, source: Path, **configuration: Any) -> None:
        """Create and start an import of a file."""
        text = json.dumps({"source": str(source), "stream": "people", **configuration})
        await self.send(
            CreateJob, job_id, provider="file", job_type="import", kind="import", name=job_id, configuration=text
        )

    async def until(
        self, job_id: str, happened: Callable[[Sequence[JobEvent]], bool], seconds: float = TIMEOUT_SECONDS
    ) -> Sequence[JobEvent]:
        """Wait until a job's history satisfies `happened`, and return it."""
        events = self.history.setdefault(job_id, [])
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: happened(events))
        except TimeoutError:
            last = [f"{event.seq} {type(event).__name__}" for event in events[-8:]]
            raise AssertionError(f"{job_id}: last events {last}, log {self.log_lines[-12:]}") from None
        return tuple(events)

    async def visible(self, store: ReadStore, job_id: str, seq: int) -> None:
        """Wait until the views contain an event; the projector sends no signal, so poll."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await store.jobs.applied_seq(job_id) < seq:
                await asyncio.sleep(0.02)

    async def follow(self) -> None:
        """Collect the events of all jobs until cancelled, each `seq` once."""
        async with self.consumer(JOBS_EVENTS.name) as consumer:
            async for record in consumer:
                event = decode_event(record.value)
                if event is None:
                    continue
                events = self.history.setdefault(event.job_id, [])
                async with self.changed:
                    if event.seq > (events[-1].seq if events else 0):
                        events.append(event)
                    self.changed.notify_all()

    @asynccontextmanager
    async def consumer(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self.broker.cluster.connection(), auto_offset_reset="earliest",
            isolation_level="read_committed", enable_auto_commit=False,
        )  # fmt: skip
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, number) for number in range(self.settings.partitions)])
            await consumer.seek_to_beginning()
            yield consumer
        finally:
            await consumer.stop()

    async def committed(self, topic: str) -> dict[int, list[Any]]:
        """Return all committed records of a topic by partition, as a stock consumer reads them."""
        records: dict[int, list[Any]] = {number: [] for number in range(self.settings.partitions)}
        async with self.consumer(topic) as consumer:
            for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
                while await consumer.position(partition) < end:
                    polled = await consumer.getmany(partition, timeout_ms=200)
                    records[partition.partition] += [decode(record.value) for record in polled.get(partition, ())]
        return records

    async def rows(self, topic: str = "messages.backfill") -> dict[int, list[dict[str, Any]]]:
        """Return all messages of a topic by partition, in order."""
        return {
            partition: [orjson.loads(line) for batch in batches for line in lines(batch)]
            for partition, batches in (await self.committed(topic)).items()
        }


def lines(batch: MessageBatch) -> list[bytes]:
    return batch.payload.splitlines()


def kinds(events: Sequence[JobEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def has(*names: str) -> Callable[[Sequence[JobEvent]], bool]:
    """Match a history that contains events of all the named types."""
    return lambda events: set(names) <= set(kinds(events))


def at_least(count: int) -> Callable[[Sequence[JobEvent]], bool]:
    """Match a history of at least `count` events."""
    return lambda events: len(events) >= count


@asynccontextmanager
async def service(
    data_dir: Path, broker: Broker, roles: Sequence[str] = ALL, **settings: Any
) -> AsyncIterator[Service]:
    """Create the topics, run the roles, and stop all of them at the end."""
    values = Settings(admin_token=SecretStr(TOKEN), data_dir=data_dir, file_roots=(data_dir,), api_port=0, **settings)
    values = with_embedded_kafka(values, broker.cluster.bootstrap_servers, broker.password_file)
    await ensure_topics(broker.cluster, TOPICS.values(), values.partitions, 1)
    running = Service(values, broker)
    async with AsyncExitStack() as stack:
        running.producer = AIOKafkaProducer(**broker.cluster.connection())
        await running.producer.start()
        stack.push_async_callback(running.producer.stop)
        await stack.enter_async_context(in_background(running.follow()))
        stack.push_async_callback(_stop_all, running)
        for role in roles:
            await running.start_role(role)
        yield running


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work, and cancel it at the end; raise what it raised."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _stop_all(running: Service) -> None:
    await asyncio.gather(*(restarter.stop() for restarter in running.restarters.values()))
    for log in running.logs:
        log.close()
