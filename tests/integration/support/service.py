"""A whole service for tests: a real broker, the roles as the supervisor runs them, and ways to ask, watch and kill."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.clock import utc_now
from app.kafka.topics import ensure_topics
from app.records.envelopes import stamp
from app.records.events import event_in
from app.records.partitioning import partition_of
from app.roles import role_named
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from app.supervisor.environment import environment_of
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import Restarter
from app.supervisor.role_process import RoleProcess, command_of
from schemas.commands import Command, CreateJob, JobCommand
from schemas.events import JobEvent
from schemas.messages import MessageBatch
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS, TOPICS
from schemas.wire.codec import decode, encode
from schemas.wire.headers import headers_of

PATIENCE_SECONDS = 90.0
ALL = ("api", "control", "runner", "lane-backfill", "lane-realtime")


@dataclass
class Service:
    """The roles of one data directory, each kept running."""

    settings: Settings
    broker: Broker
    said: list[str] = field(default_factory=list)
    restarters: dict[str, Restarter] = field(default_factory=dict)
    history: dict[str, list[JobEvent]] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)
    producer: AIOKafkaProducer | None = None
    logs: list[RoleLog] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.said.append(line)
        self.spoke.set()

    async def until_said(self, words: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a line with these words came from a role or from its restarter."""
        async with asyncio.timeout(seconds):
            while not any(words in each for each in self.said):
                self.spoke.clear()
                await self.spoke.wait()

    async def start_role(self, name: str, worker_id: str = "0", **environment: str) -> RoleProcess:
        """Start a role; it is started again whenever it ends."""
        settings = self.settings.model_copy(update={"worker_id": worker_id})
        log = RoleLog(settings.data_dir / "logs" / f"{name}-{worker_id}.log", self.say)
        self.logs.append(log)
        process = RoleProcess(name, command_of(role_named(name)), environment_of(settings) | environment, log)
        restarter = Restarter(process, self.say)
        self.restarters[f"{name}-{worker_id}"] = restarter
        await restarter.start()
        return process

    def pid(self, name: str, worker_id: str = "0") -> int:
        process = self.restarters[f"{name}-{worker_id}"].process
        assert isinstance(process, RoleProcess)
        return process._process.pid if process._process and process._process.returncode is None else 0

    def signal(self, name: str, number: signal.Signals, worker_id: str = "0") -> bool:
        """Send a signal, and tell whether there was somebody to take it: a role may be between two lives."""
        if pid := self.pid(name, worker_id):
            with suppress(ProcessLookupError):  # it has ended, and asyncio doesn't know yet
                os.kill(pid, number)
                return True
        return False

    async def kill(self, name: str) -> None:
        """Kill a role with -9; one that is between two lives is waited for, as nothing tells that it is back."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.signal(name, signal.SIGKILL):
                await asyncio.sleep(0.02)

    async def stop_role(self, name: str, worker_id: str = "0") -> None:
        await self.restarters.pop(f"{name}-{worker_id}").stop()

    async def send(self, command: type[Command], job_id: str, **facts: Any) -> JobCommand:
        """Write a command as the API would."""
        word: Any = command(**stamp(job_id, "user:test", utc_now), **facts)
        assert self.producer
        await self.producer.send_and_wait(
            JOBS_COMMANDS.name, encode(word), key=job_id.encode(), headers=list(headers_of(word)),
            partition=partition_of(job_id, self.settings.partitions),
        )  # fmt: skip
        return word

    async def create(self, job_id: str, source: Path, **configuration: Any) -> None:
        """Create an import of a file, and start it."""
        text = json.dumps({"source": str(source), "stream": "people", **configuration})
        await self.send(
            CreateJob, job_id, provider="file", job_type="import", kind="import", name=job_id, configuration=text
        )

    async def until(
        self, job_id: str, happened: Callable[[Sequence[JobEvent]], bool], seconds: float = PATIENCE_SECONDS
    ) -> Sequence[JobEvent]:
        """Wait until a job's history satisfies `happened`, and return it."""
        events = self.history.setdefault(job_id, [])
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: happened(events))
        except TimeoutError:
            told = [f"{each.seq} {type(each).__name__}" for each in events[-8:]]
            raise AssertionError(f"{job_id} stands at {told}; the roles said {self.said[-12:]}") from None
        return tuple(events)

    async def visible(self, store: ReadStore, job_id: str, seq: int) -> None:
        """Wait until the views have an event; that they will is the projector's promise, and it sends no signal."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await store.jobs.applied_seq(job_id) < seq:
                await asyncio.sleep(0.02)

    async def follow(self) -> None:
        """Collect the events of all jobs for ever, each `seq` once."""
        async with self.consumer(JOBS_EVENTS.name) as consumer:
            async for record in consumer:
                event = event_in(record.value)
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
            bootstrap_servers=self.broker.bootstrap_servers, auto_offset_reset="earliest",
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
        """Return all committed words of a topic by partition, as a stock reader sees them."""
        found: dict[int, list[Any]] = {number: [] for number in range(self.settings.partitions)}
        async with self.consumer(topic) as consumer:
            for where, end in (await consumer.end_offsets(consumer.assignment())).items():
                while await consumer.position(where) < end:
                    polled = await consumer.getmany(where, timeout_ms=200)
                    found[where.partition] += [decode(record.value) for record in polled.get(where, ())]
        return found

    async def rows(self, topic: str = "messages.backfill") -> dict[int, list[dict[str, Any]]]:
        """Return all messages of a topic by partition, in order."""
        return {
            partition: [orjson.loads(line) for word in words for line in lines(word)]
            for partition, words in (await self.committed(topic)).items()
        }


def lines(batch: MessageBatch) -> list[bytes]:
    return batch.payload.splitlines()


def kinds(events: Sequence[JobEvent]) -> list[str]:
    return [type(each).__name__ for each in events]


def has(*names: str) -> Callable[[Sequence[JobEvent]], bool]:
    """Tell whether each of the names has come."""
    return lambda events: set(names) <= set(kinds(events))


def at_least(count: int) -> Callable[[Sequence[JobEvent]], bool]:
    """Tell whether so many events have come."""
    return lambda events: len(events) >= count


@asynccontextmanager
async def service(
    data_dir: Path, broker: Broker, roles: Sequence[str] = ALL, **settings: Any
) -> AsyncIterator[Service]:
    """Run the roles on a broker whose topics are made; ends all of them."""
    told = Settings(
        data_dir=data_dir, bootstrap_servers=broker.bootstrap_servers, file_roots=(data_dir,), api_port=0, **settings
    )
    await ensure_topics(broker.bootstrap_servers, TOPICS.values(), told.partitions, 1)
    running = Service(told, broker)
    async with AsyncExitStack() as stack:
        running.producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
        await running.producer.start()
        stack.push_async_callback(running.producer.stop)
        following = asyncio.create_task(running.follow())
        stack.push_async_callback(_cancelled, following)
        stack.push_async_callback(_all_stopped, running)
        for each in roles:
            await running.start_role(each)
        yield running


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _all_stopped(running: Service) -> None:
    await asyncio.gather(*(each.stop() for each in running.restarters.values()))
    for log in running.logs:
        log.close()
