"""`entrepot verify`: reads all commands and events again and proves that the one follows from the other."""

from collections.abc import Callable
from dataclasses import dataclass

from app.definitions.records import definition_command_in
from app.kafka.clients import Cluster
from app.kafka.partition_reader import LogRecord, PartitionReader
from app.records.commands import UnreadableCommandError, command_in
from app.records.partitioning import partition_of
from projections.verification import Audit, Command, DefinitionsReplay, JobsReplay, VerifyCounts
from schemas.definitions import PARTITION
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, JOBS_COMMANDS, JOBS_EVENTS

OnProgress = Callable[[str, int, int], None]  # what is proved, events compared, events in all


@dataclass(frozen=True, slots=True)
class _Log:
    """One partition of commands and of the events that they led to."""

    of: str
    commands: str
    events: str
    partition: int
    command_in: Callable[[LogRecord], Command]

    @property
    def title(self) -> str:
        """Return what it is called on the way."""
        return f"{self.of}, partition {self.partition}"


async def verify(
    cluster: Cluster, partitions: int, job_id: str | None, on_progress: OnProgress
) -> dict[tuple[str, int], VerifyCounts]:
    """Return what the audit found, by what of (`jobs`, `definitions`) and partition; of one job alone when given."""
    chosen = range(partitions) if job_id is None else [partition_of(job_id, partitions)]
    found = {}
    for each in chosen:
        log = _jobs_log(each, partitions)
        found[log.of, each] = await _verify_log(cluster, log, Audit(JobsReplay(), job_id), on_progress)
    if job_id is None:
        log = _definitions_log()
        found[log.of, PARTITION] = await _verify_log(cluster, log, Audit(DefinitionsReplay()), on_progress)
    return found


def _jobs_log(partition: int, partitions: int) -> _Log:
    def read(record: LogRecord) -> Command:
        return command_in(record.key, record.value, partition, partitions)

    return _Log("jobs", JOBS_COMMANDS.name, JOBS_EVENTS.name, partition, read)


def _definitions_log() -> _Log:
    def read(record: LogRecord) -> Command:
        return definition_command_in(record.key, record.value, PARTITION)

    return _Log("definitions", DEFINITIONS_COMMANDS.name, DEFINITIONS_EVENTS.name, PARTITION, read)


async def _verify_log(cluster: Cluster, log: _Log, audit: Audit, on_progress: OnProgress) -> VerifyCounts:
    # The end of the events is taken first, so that every event up to it has its command among those read.
    async with PartitionReader(cluster, log.events, log.partition) as events:
        async with PartitionReader(cluster, log.commands, log.partition) as commands:
            commanded = commands.records()
            async for event in events.records():
                while not audit.expects and (record := await anext(commanded, None)):
                    audit.command(record.offset, _command(log, record))
                audit.event(event.offset, event.value)
                if audit.tally.events % 1000 == 0:
                    on_progress(log.title, event.offset, events.end)
            async for record in commanded:
                audit.command(record.offset, _command(log, record))
        on_progress(log.title, events.end, events.end)
    return audit.close()


def _command(log: _Log, record: LogRecord) -> Command | None:
    try:
        return log.command_in(record)
    except UnreadableCommandError:
        return None
