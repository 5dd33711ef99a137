"""`entrepot verify`: reads all commands and events again and proves that the one follows from the other."""

from collections.abc import Callable

from app.log_reader import LogReader
from app.placement import partition_of
from projections.audit import Audit, Tally
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS

OnProgress = Callable[[int, int, int], None]  # partition, events compared, events in all


async def verify(
    bootstrap_servers: str, partitions: int, job_id: str | None, on_progress: OnProgress
) -> dict[int, Tally]:
    """Return what the audit of each partition found; of one partition and job when a job is given."""
    chosen = range(partitions) if job_id is None else [partition_of(job_id, partitions)]
    return {number: await _verify_partition(bootstrap_servers, number, job_id, on_progress) for number in chosen}


async def _verify_partition(bootstrap_servers: str, number: int, job_id: str | None, on_progress: OnProgress) -> Tally:
    audit = Audit(job_id)
    # The end of the events is taken first, so that every event up to it has its command among those read.
    async with LogReader(bootstrap_servers, JOBS_EVENTS.name, number) as events:
        async with LogReader(bootstrap_servers, JOBS_COMMANDS.name, number) as commands:
            commanded = commands.records()
            async for offset, value in events.records():
                while not audit.expects and (command := await anext(commanded, None)):
                    audit.command(*command)
                audit.event(offset, value)
                if audit.tally.events % 1000 == 0:
                    on_progress(number, offset, events.end)
            async for offset, value in commanded:
                audit.command(offset, value)
        on_progress(number, events.end, events.end)
    return audit.close()
