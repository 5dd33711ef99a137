"""From a request to a command on `jobs.commands`, and back with what it led to. It decides nothing."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError

from app.api.http.problems import ApiProblem
from app.api.services.event_tail import EventTail
from app.api.services.metrics import Metrics
from app.kafka.clients import Cluster, Producer
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.reconnecting_producer import ReconnectingProducer
from app.records.partitioning import partition_of
from app.store.read_store import ReadStore
from schemas.commands import JobCommand
from schemas.definitions import DefinitionCommand
from schemas.events import CommandRefused, JobEvent
from schemas.topics import JOBS_COMMANDS
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

MIN_POLL_INTERVAL: Final = 0.002
MAX_POLL_INTERVAL: Final = 0.010
SEND_TIMEOUT_SECONDS: Final = 10.0


class Refused(Exception):
    """The decider refused the command; `event` says why and what would do."""

    def __init__(self, event: CommandRefused) -> None:
        super().__init__(event.message)
        self.event = event


@dataclass(frozen=True, slots=True)
class Done:
    """What a command led to, visible in the views."""

    events: tuple[JobEvent, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """The command is kept, and what it leads to was not visible within the time given."""


class CommandGateway:
    """Sends commands in the order they are given and waits for what they lead to."""

    def __init__(self, cluster: Cluster, partitions: int, tail: EventTail, store: ReadStore, measures: Metrics) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._tail = tail
        self._store = store
        self._measures = measures
        self._producer = ReconnectingProducer("commands", self._make)

    @property
    def connected(self) -> bool:
        """Whether commands can be sent."""
        return self._producer.ready is not None

    def start(self) -> None:
        """Connect the producer, again and again until a broker answers."""
        self._producer.start()

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        await self._producer.stop()

    def _make(self) -> Producer:
        timeout_ms = int(SEND_TIMEOUT_SECONDS * 1000)
        return self._cluster.producer(compression=None, linger_ms=0, request_timeout_ms=timeout_ms)

    async def submit(self, command: JobCommand, patience: float, traceparent: str = "") -> Done | Sent:
        """Send a command and wait up to `patience` seconds until what it leads to is visible.

        Raises:
            Refused: the decider refused it.
            Problem: 503, it is not known whether Kafka has it.

        """
        started = time.perf_counter()
        kind = type(command).__name__
        with self._tail.expect(command.command_id) as future:
            partition = partition_of(command.job_id, self._partitions)
            await self.deliver(JOBS_COMMANDS.name, command, command.job_id, partition, traceparent)
            deadline = started + patience
            try:
                events = await asyncio.wait_for(asyncio.shield(future), max(0.0, deadline - time.perf_counter()))
            except TimeoutError:
                self._measures.commands.labels(kind, "sent").inc()
                return Sent()
        refusal = next((each for each in events if isinstance(each, CommandRefused)), None)
        seq = max(each.seq for each in events)
        visible = await self._visible(command.job_id, seq, deadline)
        if refusal is not None:
            self._measures.commands.labels(kind, "refused").inc()
            raise Refused(refusal)
        self._measures.commands.labels(kind, "done" if visible else "sent").inc()
        if not visible:
            return Sent()
        self._measures.visible_seconds.observe(time.perf_counter() - started)
        return Done(events)

    async def deliver(
        self, topic: str, command: JobCommand | DefinitionCommand, key: str, partition: int, traceparent: str = ""
    ) -> None:
        """Send a command and return when Kafka has it.

        Raises:
            Problem: 503, it is not known whether Kafka has it.

        """
        producer = self._producer.ready
        if producer is None:
            raise ApiProblem(503, "kafka_unreachable", "Kafka is not reachable yet; nothing was changed, try again")
        headers = headers_of(command, traceparent)
        record = ProducerRecord(topic, encode(command), key=key.encode(), partition=partition, headers=headers)
        try:
            await asyncio.wait_for(send(producer, [record]), SEND_TIMEOUT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            raise ApiProblem(
                503,
                "kafka_unreachable",
                "Kafka did not confirm the change in time, so it is not known whether it will happen: look again, "
                "or repeat a creation with the same Idempotency-Key",
                headers={"Retry-After": "5"},
            ) from error

    async def _visible(self, job_id: str, seq: int, deadline: float) -> bool:
        pause = MIN_POLL_INTERVAL
        while await self._store.jobs.applied_seq(job_id) < seq:
            if time.perf_counter() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, MAX_POLL_INTERVAL)
        return True
