"""`entrepot verify`: replays all commands and proves that they produce the recorded events."""

from collections.abc import Callable
from dataclasses import dataclass

from app.kafka.clients import Cluster
from app.kafka.partition_reader import LogRecord, PartitionReader
from app.records.commands import UnreadableCommandError, decode_definition_command, decode_job_command
from app.records.partitioning import partition_of
from projections.verification import AnyCommand, Audit, DefinitionsReplay, JobsReplay, VerifyCounts
from schemas.definitions import PARTITION
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, JOBS_COMMANDS, JOBS_EVENTS

OnAuditProgress = Callable[[str, int, int], None]  # title of the log, offset reached, end offset


@dataclass(frozen=True, slots=True)
class _Log:
    """One partition of commands, and of the events that they caused."""

    subject: str  # `jobs` or `definitions`
    commands: str
    events: str
    partition: int
    decode: Callable[[LogRecord], AnyCommand]

    @property
    def title(self) -> str:
        """The name that progress is shown under."""
        return f"{self.subject}, partition {self.partition}"


async def audit(
    cluster: Cluster, partitions: int, job_id: str | None, on_progress: OnAuditProgress
) -> dict[tuple[str, int], VerifyCounts]:
    """Return the counts of the audit by subject (`jobs`, `definitions`) and partition; of one job alone when given."""
    numbers = range(partitions) if job_id is None else [partition_of(job_id, partitions)]
    results = {}
    for number in numbers:
        log = _jobs_log(number, partitions)
        results[log.subject, number] = await _verify_log(cluster, log, Audit(JobsReplay(), job_id), on_progress)
    if job_id is None:
        log = _definitions_log()
        results[log.subject, PARTITION] = await _verify_log(cluster, log, Audit(DefinitionsReplay()), on_progress)
    return results


def _jobs_log(partition: int, partitions: int) -> _Log:
    def read(record: LogRecord) -> AnyCommand:
        return decode_job_command(record.key, record.value, partition, partitions)

    return _Log("jobs", JOBS_COMMANDS.name, JOBS_EVENTS.name, partition, read)


def _definitions_log() -> _Log:
    def read(record: LogRecord) -> AnyCommand:
        return decode_definition_command(record.key, record.value, PARTITION)

    return _Log("definitions", DEFINITIONS_COMMANDS.name, DEFINITIONS_EVENTS.name, PARTITION, read)


async def _verify_log(cluster: Cluster, log: _Log, audit: Audit, on_progress: OnAuditProgress) -> VerifyCounts:
    # The end of the events is taken first, so that every event up to it has its command among those read.
    async with PartitionReader(cluster, log.events, log.partition) as events:
        async with PartitionReader(cluster, log.commands, log.partition) as commands:
            remaining = commands.records()
            async for event in events.records():
                while not audit.expects and (record := await anext(remaining, None)):
                    audit.command(record.offset, _command(log, record))
                audit.event(event.offset, event.value)
                if audit.counts.events % 1000 == 0:
                    on_progress(log.title, event.offset, events.end)
            async for record in remaining:
                audit.command(record.offset, _command(log, record))
        on_progress(log.title, events.end, events.end)
    return audit.close()


def _command(log: _Log, record: LogRecord) -> AnyCommand | None:
    try:
        return log.decode(record)
    except UnreadableCommandError:
        return None
