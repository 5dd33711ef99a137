"""The read store: what the projector writes and the API reads. It decides nothing; commands never pass through it.

All that is known of a job comes from `jobs.events`, each event counted once, so the views can be lost and rebuilt.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.records.job_state import job_in
from app.store import idempotency as collected
from app.store import stream_stats as seen
from app.store.data_plane import PlaneStore
from app.store.database import Database, open_database
from app.store.idempotency import IdempotencyRecord
from app.store.lanes import LaneStore
from app.store.models import (
    ConfigurationVersion,
    EventRecord,
    JobFilter,
    JobMapped,
    LogFilter,
    MetricFilter,
    Page,
    Sort,
    StoredEvent,
    StreamDelta,
    StreamView,
)
from app.store.tables import NO_GENERATION, VERSION, Tables, offsets, tables_of
from app.store.views import generations
from app.store.views import job_history as history
from app.store.views import job_lists as listing
from app.store.views.rebuild import ViewRebuild
from projections.fields.field_stats import FieldStats
from projections.jobs.state import Job
from projections.views.job_log import LogLine
from projections.views.metrics import Bucket
from schemas.topics import JOBS_EVENTS

__all__ = ["JobMapped", "ReadStore", "StreamDelta"]  # all that a writer needs

T = TypeVar("T")
Ask = Callable[[AsyncConnection, Tables], Awaitable[T]]

BY_NAME: Final = Sort()
ALL_JOBS: Final = JobFilter()
ALL_LINES: Final = LogFilter()


class ReadStore:
    """An open read store; any number of processes may have one open on the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.plane = PlaneStore(database)
        self.lanes = LaneStore(database)

    @classmethod
    async def open(cls, database_url: str) -> "ReadStore":
        """Open a store and make its tables when there are none; safe when several processes start at once.

        `database_url` is `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://…`.

        Raises:
            UnknownDatabaseError: it is something else.

        """
        database = open_database(database_url)
        try:
            await generations.start(database, generations.LIVE)
            await generations.drop_retired(database)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Close the store; it can't be used any more."""
        await self._database.close()

    async def apply(self, partition: int, records: Sequence[EventRecord]) -> None:
        """Count events of a partition of `jobs.events`, in offset order, with their offset in one transaction.

        Records below the stored offset, and events that are not the next of their job, are skipped.

        Raises:
            NewerViewsError: the views belong to a newer version of Entrepot.

        """
        await generations.apply_live(self._database, partition, records)

    async def apply_streams(
        self,
        topic: str,
        partition: int,
        start: int,
        next_offset: int,
        seen_now: Sequence[StreamDelta],
        jobs: Sequence[JobMapped] = (),
    ) -> bool:
        """Add what a lane has seen of a partition from `start` on, sketches and offset included, in one transaction.

        `start` is what `await next_offset(topic, partition)` said. When another worker has counted since then, nothing
        is added, and the answer is False: ask and count again.
        """
        return await seen.add_seen(self._database, topic, partition, start, next_offset, seen_now, jobs)

    async def claim(self, wanted: IdempotencyRecord) -> IdempotencyRecord:
        """Return the request of that upload id: `wanted` itself when it is new, and the caller's to answer."""
        return await collected.claim(self._database, wanted)

    async def take_over(self, left: IdempotencyRecord, now: datetime) -> bool:
        """Claim a request that was left unanswered; False when someone else did, or it was answered."""
        return await collected.take_over(self._database, left, now)

    async def leave(self, upload_id: str, since: datetime) -> None:
        """Leave a claimed request, of which it isn't known whether it was written, to whoever asks next."""
        await collected.leave(self._database, upload_id, since)

    async def give_up(self, upload_id: str) -> None:
        """Forget a claimed request of which nothing was written."""
        await collected.give_up(self._database, upload_id)

    async def answered(self, upload_id: str, answer: bytes) -> None:
        """Keep what was answered."""
        await collected.answered(self._database, upload_id, answer)

    async def forget_answers(self, now: datetime) -> None:
        """Remove answers that are older than seven days."""
        await collected.forget(self._database, now)

    async def next_offset(self, topic: str, partition: int) -> int:
        """Return the offset that comes next; 0 when there was none yet."""

        async def ask(connection: AsyncConnection, tables: Tables) -> int:
            generation = tables.generation if topic == JOBS_EVENTS.name else NO_GENERATION
            query = select(offsets.c.next_offset)
            found = await connection.execute(query.filter_by(generation=generation, topic=topic, partition=partition))
            return int(found.scalar_one_or_none() or 0)

        return await self._ask(ask)

    async def begin_rebuild(self) -> ViewRebuild:
        """Begin a new generation of the views beside the live one, or go on with one that was left unfinished."""
        return ViewRebuild(self._database, await generations.start(self._database, generations.FILLING))

    async def needs_rebuild(self) -> bool:
        """Tell whether the views were made by an older version of Entrepot."""
        return await self._ask(lambda connection, _: generations.live_version(connection)) < VERSION

    async def job(self, job_id: str) -> Job | None:
        """Return a job, also a killed or a purged one; None when it is unknown."""

        async def ask(connection: AsyncConnection, tables: Tables) -> Job | None:
            state = await connection.execute(select(tables.states.c.state).filter_by(job_id=job_id))
            found = state.scalar_one_or_none()
            return None if found is None else job_in(found)

        return await self._ask(ask)

    async def applied_seq(self, job_id: str) -> int:
        """Return the `seq` of the latest event that the views hold of a job; 0 when it is unknown."""

        async def ask(connection: AsyncConnection, tables: Tables) -> int:
            seq = await connection.execute(select(tables.jobs.c.seq).filter_by(job_id=job_id))
            return int(seq.scalar_one_or_none() or 0)

        return await self._ask(ask)

    async def jobs(
        self, where: JobFilter = ALL_JOBS, sort: Sort = BY_NAME, limit: int = 50, cursor: str | None = None
    ) -> Page[Job]:
        """Return a page of jobs.

        Raises:
            InvalidCursorError: the cursor is not one of this list.
            InvalidLimitError: `limit` is not between 1 and 1,000.

        """
        return await self._ask(lambda on, tables: listing.jobs_page(on, tables, where, sort, limit, cursor))

    async def count_jobs(self, where: JobFilter = ALL_JOBS) -> int:
        """Return how many jobs a filter lets through."""
        return await self._ask(lambda on, tables: listing.count_jobs(on, tables, where))

    async def log(self, where: LogFilter = ALL_LINES, limit: int = 50, cursor: str | None = None) -> Page[LogLine]:
        """Return a page of log lines, of one job or of all.

        Raises:
            InvalidCursorError: the cursor is not one of this list.
            InvalidLimitError: `limit` is not between 1 and 1,000.

        """
        return await self._ask(lambda on, tables: listing.log_page(on, tables, where, limit, cursor))

    async def metrics(self, where: MetricFilter, interval: timedelta) -> list[Bucket]:
        """Return the counts of a range in buckets of an interval, which start at whole multiples of it since 1970 UTC.

        Raises:
            InvalidRangeError: an empty range, an interval of no whole minutes, or more than 11,000 buckets.

        """
        return await self._ask(lambda on, tables: history.metrics(on, tables, where, interval))

    async def configurations(self, job_id: str) -> list[ConfigurationVersion]:
        """Return the configurations of a job, oldest first."""
        return await self._ask(lambda on, tables: history.configurations(on, tables, job_id))

    async def events(
        self, job_id: str, *, after_seq: int = 0, until: datetime | None = None, limit: int = 500
    ) -> list[StoredEvent]:
        """Return the events of a job in order, from behind `after_seq` up to and including `until`."""
        return await self._ask(lambda on, tables: history.events(on, tables, job_id, after_seq, until, limit))

    async def state_as_of(self, job_id: str, moment: datetime) -> Job | None:
        """Return a job as it was at a moment; None when it was not there yet, or is unknown or purged."""
        return await self._ask(lambda on, tables: history.state_as_of(on, tables, job_id, moment))

    async def streams(self, stream: str | None = None) -> list[StreamView]:
        """Return what was seen of every stream in every lane, by name; or of one."""
        return await self._ask(lambda on, _: seen.all_seen(on, stream))

    async def stream_fields(self, stream: str) -> FieldStats | None:
        """Return what is known of the fields of a stream; None when none of its messages was looked at."""
        return await self._ask(lambda on, _: seen.fields_seen(on, stream))

    async def _ask(self, ask: Ask[T]) -> T:
        """Ask the live generation; when it is swapped out and dropped meanwhile, ask the new one."""
        number = 0
        try:
            async with self._database.reading() as connection:
                number = await generations.live_number(connection)
                return await ask(connection, tables_of(number))
        except DBAPIError:
            async with self._database.reading() as connection:
                if await generations.live_number(connection) == number:
                    raise
        return await self._ask(ask)
