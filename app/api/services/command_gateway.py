"""Sends commands to `jobs.commands` and `definitions.commands`, and waits until their events are visible.

Other records of the API go through its producer, too.
"""

import asyncio
import time
from typing import Any, Final

from aiokafka.errors import KafkaError

from app.api.http.problems import ApiProblem
from app.api.services.event_tail import EventTail
from app.api.services.metrics import Metrics
from app.definitions.catalog import DefinitionCatalog
from app.kafka.clients import Cluster, Producer
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.reconnecting_producer import ReconnectingProducer
from app.records.encoding import encoded
from app.records.partitioning import partition_of
from app.store.read_store import ReadStore
from schemas.commands import JobCommand
from schemas.definitions import PARTITION, DefinitionCommand, DefinitionRefused
from schemas.events import CommandRefused
from schemas.topics import DEFINITIONS_COMMANDS, JOBS_COMMANDS

MIN_POLL_INTERVAL: Final = 0.002
MAX_POLL_INTERVAL: Final = 0.010
SEND_TIMEOUT_SECONDS: Final = 10.0


class Refused(Exception):
    """The decider refused the command; `event` has the reason and the commands allowed instead."""

    def __init__(self, event: CommandRefused | DefinitionRefused) -> None:
        super().__init__(event.code)
        self.event = event


class CommandGateway:
    """Sends commands in the given order and waits for their events."""

    def __init__(
        self,
        cluster: Cluster,
        partitions: int,
        tail: EventTail,
        catalog: DefinitionCatalog,
        store: ReadStore,
        metrics: Metrics,
    ) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._tail = tail
        self._catalog = catalog
        self._store = store
        self._metrics = metrics
        self._producer = ReconnectingProducer("commands", self._make)

    @property
    def connected(self) -> bool:
        """Whether commands can be sent."""
        return self._producer.ready is not None

    def start(self) -> None:
        """Connect the producer; retries until a broker is reachable."""
        self._producer.start()

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        await self._producer.stop()

    def _make(self) -> Producer:
        timeout_ms = int(SEND_TIMEOUT_SECONDS * 1000)
        return self._cluster.producer(compression=None, linger_ms=0, request_timeout_ms=timeout_ms)

    async def submit(
        self, command: JobCommand | DefinitionCommand, wait_seconds: float, traceparent: str = ""
    ) -> tuple[Any, ...] | None:
        """Send a command and return its events once they are visible; None when not within `wait_seconds`.

        Raises:
            Refused: the decider refused it.
            ApiProblem: 503, it is unknown whether Kafka has it.

        """
        started = time.perf_counter()
        events = await self._events(command, started + wait_seconds, traceparent)
        refusal = next((event for event in events or () if isinstance(event, CommandRefused | DefinitionRefused)), None)
        outcome = "refused" if refusal else "sent" if events is None else "done"
        self._metrics.commands.labels(type(command).__name__, outcome).inc()
        if refusal is not None:
            raise Refused(refusal)
        if events is not None:
            self._metrics.visible_seconds.observe(time.perf_counter() - started)
        return events

    async def _events(
        self, command: JobCommand | DefinitionCommand, deadline: float, traceparent: str
    ) -> tuple[Any, ...] | None:
        """Send a command and return its events when they are visible or a refusal; None at the deadline."""
        is_job = isinstance(command, JobCommand)
        waiters: EventTail | DefinitionCatalog = self._tail if is_job else self._catalog
        with waiters.expect(command.command_id) as future:
            await self.deliver(self._record(command, traceparent))
            try:
                events = await asyncio.wait_for(asyncio.shield(future), max(0.0, deadline - time.perf_counter()))
            except TimeoutError:
                return None
        if not is_job:
            return events  # the catalog has applied them
        visible = await self._visible(events, deadline)
        return events if visible or any(isinstance(event, CommandRefused) for event in events) else None

    def _record(self, command: JobCommand | DefinitionCommand, traceparent: str) -> ProducerRecord:
        if isinstance(command, JobCommand):
            topic, key, partition = JOBS_COMMANDS, command.job_id, partition_of(command.job_id, self._partitions)
        else:
            topic, key, partition = DEFINITIONS_COMMANDS, command.definition_id, PARTITION
        return encoded(topic, command, key, partition, traceparent)

    async def deliver(self, record: ProducerRecord) -> None:
        """Send a record and return when Kafka has it.

        Raises:
            ApiProblem: 503, it is unknown whether Kafka has it.

        """
        producer = self._producer.ready
        if producer is None:
            raise ApiProblem(503, "kafka_unreachable", "Kafka is not reachable yet; nothing was changed, try again")
        try:
            await asyncio.wait_for(send(producer, [record]), SEND_TIMEOUT_SECONDS)
        except (KafkaError, TimeoutError) as error:
            raise ApiProblem(
                503,
                "kafka_unreachable",
                "Kafka did not confirm the change in time, so it is unknown whether it will happen: check before "
                "you repeat it, or repeat a creation with the same Idempotency-Key",
                headers={"Retry-After": "5"},
            ) from error

    async def _visible(self, events: tuple[Any, ...], deadline: float) -> bool:
        """Wait until the read models have applied the events of a job; False at the deadline."""
        job_id, seq = events[0].job_id, max(event.seq for event in events)
        interval = MIN_POLL_INTERVAL
        while await self._store.jobs.applied_seq(job_id) < seq:
            if time.perf_counter() + interval > deadline:
                return False
            await asyncio.sleep(interval)
            interval = min(interval * 1.5, MAX_POLL_INTERVAL)
        return True
