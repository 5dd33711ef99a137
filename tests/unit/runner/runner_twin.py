"""A partition of a runner with its control, on a cluster in memory. The test moves the clock."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from app.kafka.memory.cluster import MemoryCluster
from app.kafka.transactions import GroupCommit
from app.records.encoding import encoded
from app.records.envelopes import stamp
from app.runner.partition import APP_ID, OwnedPartition
from app.runner.slots import Slots
from connectors.contract import Limits
from projections.jobs.decide import handle
from projections.jobs.state import Job
from schemas.commands import JobCommand
from schemas.events import JobEvent
from schemas.messages import MessageBatch
from schemas.topics import JOBS_COMMANDS, LANES, TOPICS
from schemas.wire.codec import decode
from tests.unit.runner.jobs import START, job, run_context


class RunnerTwin:
    """Call `step` or `until`: nothing happens between them, except what sources and the cluster do."""

    def __init__(self, limits: Limits, slots: int, **jobs: dict[str, Any]) -> None:
        self.seconds = 0.0
        self.events: list[JobEvent] = []
        self.cluster = MemoryCluster(dict.fromkeys(TOPICS, 1))
        self.jobs = {name: job(job_id=name, name=name, command_offset=-1, **fields) for name, fields in jobs.items()}
        self.context = run_context(
            limits=limits, clock=self.now, monotonic=lambda: self.seconds,
            slots=defaultdict(lambda: Slots(slots, lambda: self.seconds)),
        )  # fmt: skip
        self.partition = OwnedPartition(0, self.cluster, self.context, self.jobs.values())
        self._next_command = 0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with GroupCommit(self.cluster, f"{APP_ID}.0") as self._writer:
            try:
                yield
            finally:
                await self.partition._stop_runs()

    async def step(self, seconds: float = 0.0) -> None:
        """Advance the clock, then decide all commands and reconcile once."""
        self.seconds += seconds
        for record in self.cluster.records(JOBS_COMMANDS.name)[self._next_command :]:
            self._next_command += 1
            command: Any = decode(record.value or b"")
            state, events = handle(self.jobs[command.job_id], command, record.offset)
            assert state
            self.jobs[command.job_id] = state
            for event in events:
                self.events.append(event)
                self.partition.fold(len(self.events), event)
        self.partition._reconcile(self._writer)
        await asyncio.sleep(0.001)  # lets sockets and threads proceed; `until` repeats it as often as needed

    async def until(self, reached: Callable[[], object], seconds: float = 0.0) -> None:
        """Step until something is reached; each step advances the clock by `seconds`."""
        try:
            async with asyncio.timeout(20):
                while not reached():
                    await self.step(seconds)
        except TimeoutError:
            statuses = {name: state.status for name, state in self.jobs.items()}
            raise AssertionError(f"not reached after {self.seconds:.0f} s of the clock: {statuses}") from None

    @property
    def written(self) -> int:
        """The number of commands on the log."""
        return len(self.cluster.records(JOBS_COMMANDS.name))

    async def send(self, kind: type[JobCommand], name: str, **fields: Any) -> None:
        """Write a command of a user; the next step decides it."""
        command: Any = kind(**stamp(name, "user:ada", self.now), **fields)
        await self._writer.submit([encoded(JOBS_COMMANDS, command, name, 0)])

    def of(self, name: str, kind: type[JobEvent]) -> list[Any]:
        return [event for event in self.events if event.job_id == name and isinstance(event, kind)]

    def rows(self, stream: str) -> list[bytes]:
        """Return the messages of a stream, in the order of the log."""
        lines: list[bytes] = []
        for topic in LANES.values():
            for record in self.cluster.records(topic.name):
                batch: Any = decode(record.value or b"")
                assert isinstance(batch, MessageBatch)
                lines += batch.payload.splitlines() if batch.stream == stream else []
        return lines

    def state(self, name: str) -> Job:
        return self.jobs[name]
