"""The `control` role: Faust agents that turn commands into events, and events into views.

Decisions are made in `projections.jobs.decide`. For each micro-batch: publish all events, await all acks, write the
state, acknowledge the commands.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from app.control.definitions import add_definitions
from app.control.projector import project
from app.control.rebuild_views import heal_views
from app.kafka.cluster import cluster_of
from app.kafka.producer_record import ProducerRecord
from app.kafka.safe_faust.app import SafeApp, make_table, make_worker_app
from app.kafka.safe_faust.batching import AgentEvent, ack, batches
from app.kafka.safe_faust.publishing import publish
from app.kafka.safe_faust.table import Change
from app.kafka.safe_faust.worker import run_worker
from app.process import Clock, utc_now
from app.records.commands import UnreadableCommandError, decode_job_command
from app.records.dead_letters import dead_letter
from app.records.encoding import encoded
from app.records.job_state import decode_job, decode_seq, encode_job
from app.sentences.sentence import sentence_of
from app.settings import Settings
from app.store.read_store import ReadStore
from app.tasks import cancel_all
from projections.jobs.decide import handle
from projections.jobs.state import Job
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS

APP_ID: Final = "entrepot.control"

_log = logging.getLogger(__name__)


class CommandBatch:
    """A micro-batch of commands: the records to publish, and the states after them."""

    def __init__(self, state: Mapping[bytes, bytes], partitions: int, clock: Clock) -> None:
        self._stored = state
        self._partitions = partitions
        self._clock = clock
        self._jobs: dict[str, tuple[int, Job | None]] = {}  # changed by this batch, with their partition
        self.records: list[ProducerRecord] = []

    def add(self, event: AgentEvent) -> None:
        """Handle one command; an unreadable record becomes a dead letter."""
        message = event.message
        try:
            command = decode_job_command(event.key, event.value or b"", message.partition, self._partitions)
        except UnreadableCommandError as error:
            _log.warning("%s/%d@%d: %s", message.topic, message.partition, message.offset, sentence_of(error))
            self.records.append(dead_letter(event, "malformed_command", error, self._clock()))
            return
        job, events = handle(self._job(command.job_id), command, message.offset)
        # The broker stamps the time of events: a wrong clock must not make them unwritable.
        self.records.extend(encoded(JOBS_EVENTS, event, event.job_id, message.partition) for event in events)
        self._jobs[command.job_id] = (message.partition, job)

    def changes(self) -> Iterable[Change]:
        """Yield the changed states."""
        for job_id, (partition, job) in self._jobs.items():
            if job:
                yield Change(partition, job_id.encode(), encode_job(job))

    def _job(self, job_id: str) -> Job | None:
        if job_id in self._jobs:
            return self._jobs[job_id][1]
        stored = self._stored.get(job_id.encode())
        return decode_job(stored) if stored is not None else None


def _agents(app: SafeApp, settings: Settings, store: ReadStore, clock: Clock) -> None:
    table = make_table(app, "jobs", decode_seq)

    async def handle_commands(stream: Any) -> None:
        async for batch in batches(stream):
            handled = CommandBatch(table.state, settings.partitions, clock)
            for event in batch:
                handled.add(event)
            await publish(app, handled.records)
            await table.write(handled.changes())
            ack(batch)

    async def fill_views(stream: Any) -> None:
        async for batch in batches(stream):
            await project(app, store, batch, clock)
            ack(batch)

    app.agent(app.topic(JOBS_COMMANDS.name), name="handle_commands")(handle_commands)
    app.agent(app.topic(JOBS_EVENTS.name), name="fill_views")(fill_views)


async def run_control(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until SIGTERM or SIGINT; return the exit code of the process."""
    cluster = cluster_of(settings)
    store = await ReadStore.open(settings.database())
    try:
        app = make_worker_app(
            APP_ID,
            cluster,
            instance_id=f"{APP_ID}-{settings.worker_id}",
            data_dir=settings.data_dir / "faust",
            partitions=settings.partitions,
        )
        _agents(app, settings, store, clock)
        add_definitions(app, cluster, clock)
        # Read before the projector moves them: afterwards they do not show a loss.
        applied = [await store.views.next_offset(partition) for partition in range(settings.partitions)]
        healing = asyncio.create_task(heal_views(cluster, settings, APP_ID, applied), name="heal views")
        try:
            return await run_worker(app, replication_factor=settings.replication_factor)
        finally:
            await cancel_all(healing)
    finally:
        await store.close()
