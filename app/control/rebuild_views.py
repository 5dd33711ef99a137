"""`entrepot views rebuild`: rebuilds the read models from `jobs.events`, beside the live ones, then swaps."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader, committed_offsets
from app.records.events import decode_event
from app.settings import Settings
from app.store.models import BehindError, EventRecord
from app.store.read_store import ReadStore
from app.store.views.rebuild import ViewRebuild
from schemas.topics import JOBS_EVENTS

BATCH: Final = 1_000

_log = logging.getLogger(__name__)

OnPartitionProgress = Callable[[int, int, int], None]  # partition, offset reached, end offset


async def rebuild_views(cluster: Cluster, settings: Settings, on_progress: OnPartitionProgress) -> int:
    """Rebuild, swap, and return how many events were read; readers keep the old views until then.

    Raises:
        BehindError: the views are ahead of the log; they are those of another cluster.

    """
    store = await ReadStore.open(settings.database())
    try:
        rebuild = await store.views.begin_rebuild()
        count = 0
        while True:  # ends, because the projector applies events to both once this has caught up
            before = count
            for partition in range(settings.partitions):
                count += await _catch_up(cluster, rebuild, partition, on_progress)
            try:
                await rebuild.swap()
            except BehindError:
                if count == before:
                    raise
            else:
                return count
    finally:
        await store.close()


async def heal_views(cluster: Cluster, settings: Settings, group: str, applied: Sequence[int]) -> None:
    """Rebuild the views when they lack events that the group has committed, as after the loss of the database.

    `applied` is the store's next offset of each partition, read before the projector of this process moved it.
    """
    try:
        if await _lack_events(cluster, group, applied):
            _log.warning("read models lack committed events; rebuilding them from %s", JOBS_EVENTS.name)
            count = await rebuild_views(cluster, settings, lambda *_: None)
            _log.warning("read models rebuilt from %d events", count)
    except Exception:  # noqa: BLE001  # commands are handled without the views, too
        _log.exception("cannot check or rebuild the read models; run `entrepot views rebuild` if jobs are missing")


async def _lack_events(cluster: Cluster, group: str, applied: Sequence[int]) -> bool:
    committed = await committed_offsets(cluster, group, JOBS_EVENTS.name, range(len(applied)))
    for partition, (shown, done) in enumerate(zip(applied, committed, strict=True)):
        if shown < done:  # perhaps only unreadable records, which no view shows
            async with PartitionReader(cluster, JOBS_EVENTS.name, partition, shown) as log:
                first = await anext(_batches(log), None)
                if first and first[0].offset < done:
                    return True
    return False


async def _catch_up(cluster: Cluster, rebuild: ViewRebuild, partition: int, on_progress: OnPartitionProgress) -> int:
    count = 0
    start = await rebuild.next_offset(partition)
    async with PartitionReader(cluster, JOBS_EVENTS.name, partition, start) as log:
        async for batch in _batches(log):
            await rebuild.apply(partition, batch)
            count += len(batch)
            on_progress(partition, batch[-1].offset, log.end)
    return count


async def _batches(log: PartitionReader) -> AsyncIterator[list[EventRecord]]:
    batch: list[EventRecord] = []
    async for offset, _, value in log.records():
        if event := decode_event(value):
            batch.append(EventRecord(offset, event, value))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
