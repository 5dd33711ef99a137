"""`entrepot rebuild-views`: fills the read store again from `jobs.events`, beside the live views, then swaps."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, get_args

from app.log_reader import LogReader
from app.settings import Settings
from app.store.questions import BehindError, Record
from app.store.read_store import ReadStore
from app.store.rebuild import Rebuild
from schemas.catalog import UnknownSchemaError
from schemas.events import JobEvent
from schemas.topics import JOBS_EVENTS
from schemas.wire import MalformedRecordError, decode

EVENTS: Final = get_args(JobEvent)
BATCH: Final = 1_000

OnProgress = Callable[[int, int, int], None]  # partition, offset reached, offset of the end


async def rebuild_views(settings: Settings, on_progress: OnProgress) -> int:
    """Rebuild, swap, and return how many events were read; readers keep the old views until then."""
    store = await ReadStore.open(settings.database())
    try:
        rebuild = await store.begin_rebuild()
        count = 0
        while True:  # it ends: where this has caught up, the projector feeds both
            for partition in range(settings.partitions):
                count += await _catch_up(settings.bootstrap_servers, rebuild, partition, on_progress)
            with suppress(BehindError):
                await rebuild.swap()
                return count
    finally:
        await store.close()


async def _catch_up(bootstrap_servers: str, rebuild: Rebuild, partition: int, on_progress: OnProgress) -> int:
    count = 0
    start = await rebuild.next_offset(partition)
    async with LogReader(bootstrap_servers, JOBS_EVENTS.name, partition, start) as log:
        async for batch in _batches(log):
            await rebuild.apply(partition, batch)
            count += len(batch)
            on_progress(partition, batch[-1].offset, log.end)
    return count


async def _batches(log: LogReader) -> AsyncIterator[list[Record]]:
    batch: list[Record] = []
    async for offset, value in log.records():
        try:
            event = decode(value)
        except (MalformedRecordError, UnknownSchemaError):
            continue  # the projector made a dead letter of it
        if isinstance(event, EVENTS):
            batch.append(Record(offset, event, value))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
