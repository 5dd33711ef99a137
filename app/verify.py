"""`entrepot verify`: reads all commands and events again and proves that the one follows from the other."""

from collections.abc import Callable

from app.command_records import UnreadableCommandError, command_in
from app.log_reader import LogReader, LogRecord
from app.placement import partition_of
from projections.audit import Audit, Tally
from schemas.commands import JobCommand
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS

OnProgress = Callable[[int, int, int], None]  # partition, events compared, events in all
CommandOf = Callable[[LogRecord, int], JobCommand | None]


async def verify(
    bootstrap_servers: str, partitions: int, job_id: str | None, on_progress: OnProgress
) -> dict[int, Tally]:
    """Return what the audit of each partition found; of one partition and job when a job is given."""
    chosen = range(partitions) if job_id is None else [partition_of(job_id, partitions)]

    def command(record: LogRecord, partition: int) -> JobCommand | None:
        try:
            return command_in(record.key, record.value, partition, partitions)
        except UnreadableCommandError:
            return None

    return {
        each: await _verify_partition(bootstrap_servers, each, Audit(job_id), command, on_progress) for each in chosen
    }


async def _verify_partition(
    bootstrap_servers: str, number: int, audit: Audit, command_of: CommandOf, on_progress: OnProgress
) -> Tally:
    # The end of the events is taken first, so that every event up to it has its command among those read.
    async with LogReader(bootstrap_servers, JOBS_EVENTS.name, number) as events:
        async with LogReader(bootstrap_servers, JOBS_COMMANDS.name, number) as commands:
            commanded = commands.records()
            async for event in events.records():
                while not audit.expects and (record := await anext(commanded, None)):
                    audit.command(record.offset, command_of(record, number))
                audit.event(event.offset, event.value)
                if audit.tally.events % 1000 == 0:
                    on_progress(number, event.offset, events.end)
            async for record in commanded:
                audit.command(record.offset, command_of(record, number))
        on_progress(number, events.end, events.end)
    return audit.close()
