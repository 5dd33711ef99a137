"""A job as all that is committed by now makes it, also what no view and no event tells yet."""

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from app.records.commands import UnreadableCommandError, command_in
from app.records.events import event_in
from app.records.partitioning import partition_of
from app.store.read_store import ReadStore
from projections.jobs.decide import decide
from projections.jobs.evolve import evolve
from projections.jobs.state import JobState, NoJob
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS


async def job_now(cluster: Cluster, store: ReadStore, partitions: int, job_id: str) -> JobState:
    """Return the job behind the last command of its partition. Whoever could still add one has to be fenced before.

    The views say from where on events are to be read, the last event from where on commands are.
    """
    partition = partition_of(job_id, partitions)
    shown = await store.views.next_offset(partition)
    state: JobState = await store.jobs.get(job_id) or NoJob(job_id)
    answered = -1
    async with PartitionReader(cluster, JOBS_EVENTS.name, partition, max(shown - 1, 0)) as events:
        async for record in events.records():
            if event := event_in(record.value):
                answered = event.command_offset
                if event.job_id == job_id:
                    state = evolve(state, event)
    async with PartitionReader(cluster, JOBS_COMMANDS.name, partition, answered + 1) as commands:
        async for record in commands.records():
            if record.key != job_id.encode():
                continue
            try:
                command = command_in(record.key, record.value, partition, partitions)
            except UnreadableCommandError:
                continue  # control makes a dead letter of it
            for event in decide(state, command, record.offset):
                state = evolve(state, event)
    return state
