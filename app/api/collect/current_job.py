"""The current state of a job: its read model, later events, and commands that are not decided yet."""

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from app.records.commands import UnreadableCommandError, decode_job_command
from app.records.events import decode_event
from app.records.partitioning import partition_of
from app.store.read_store import ReadStore
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS


async def job_now(cluster: Cluster, store: ReadStore, partitions: int, job_id: str) -> Job | None:
    """Return the job after the last command in its partition. Fence other producers of its commands first.

    Events are read from the position of the read models, commands from the position of the last event.
    """
    partition = partition_of(job_id, partitions)
    applied = await store.views.next_offset(partition)
    state: Job | None = await store.jobs.get(job_id)
    decided = -1
    async with PartitionReader(cluster, JOBS_EVENTS.name, partition, max(applied - 1, 0)) as events:
        async for record in events.records():
            if event := decode_event(record.value):
                decided = event.command_offset
                if event.job_id == job_id:
                    state = evolve(state, event)
    async with PartitionReader(cluster, JOBS_COMMANDS.name, partition, decided + 1) as commands:
        async for record in commands.records():
            if record.key != job_id.encode():
                continue
            try:
                command = decode_job_command(record.key, record.value, partition, partitions)
            except UnreadableCommandError:
                continue  # control makes a dead letter of it
            state, _ = handle(state, command, record.offset)
    return state
