"""The history of jobs: events, configurations, past states, and counts by time."""

from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Float, Row, and_, func, or_, select
from sqlalchemy import cast as as_type
from sqlalchemy.ext.asyncio import AsyncConnection

from app.records.job_state import decode_job
from app.store.models import ConfigurationVersion, MetricFilter, StoredEvent, Total
from app.store.tables import Tables
from app.store.views.live import LiveViews
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from projections.views.metrics import Bucket, fill_buckets, plan_buckets
from schemas.commands import COUNT_NAMES, Counts
from schemas.events import JobConfigured, JobCreated, JobEvent
from schemas.instants import micros
from schemas.wire.codec import decode

FOLD_PAGE: Final = 500


class JobHistory:
    """Events, configurations, past states and counts of jobs, read from the live views."""

    def __init__(self, views: LiveViews) -> None:
        self._views = views

    async def events(
        self, job_id: str, *, after_seq: int = 0, until: datetime | None = None, limit: int = 500
    ) -> list[StoredEvent]:
        """Return the events of a job in order, those after `after_seq`, up to and including `until`."""
        return await self._views.read(
            lambda connection, tables: _events(connection, tables, job_id, after_seq, until, limit)
        )

    async def state_as_of(self, job_id: str, at: datetime) -> Job | None:
        """Return a job as it was at an instant; None when it did not exist yet, is unknown or is purged."""
        return await self._views.read(lambda connection, tables: _state_as_of(connection, tables, job_id, at))

    async def configurations(self, job_id: str) -> list[ConfigurationVersion]:
        """Return the configurations of a job, oldest first."""
        return await self._views.read(lambda connection, tables: _configurations(connection, tables, job_id))

    async def metrics(self, where: MetricFilter, interval: timedelta) -> list[Bucket]:
        """Return every bucket of a range, empty ones included; they start at multiples of the interval since 1970 UTC.

        Raises:
            InvalidRangeError: an empty range, an interval that is not whole minutes, or more than 11,000 buckets.

        """
        return await self._views.read(lambda connection, tables: _metrics(connection, tables, where, interval))

    async def totals(self) -> list[Total]:
        """Return the totals of all providers and job types, also of purged jobs."""
        return await self._views.read(_totals)


async def _events(
    connection: AsyncConnection, tables: Tables, job_id: str, after_seq: int, until: datetime | None, limit: int
) -> list[StoredEvent]:  # fmt: skip
    table = tables.events
    query = select(table).where(table.c.job_id == job_id, table.c.seq > after_seq).order_by(table.c.seq).limit(limit)
    stored_events = [_stored(row) for row in await connection.execute(query)]
    # A job's time never decreases, so no event after the first late one matches.
    if until is None:
        return stored_events
    return [stored for stored in stored_events if stored.event.occurred_at <= until]


def _stored(row: Row[Any]) -> StoredEvent:
    event = cast("JobEvent", decode(row.value))
    return StoredEvent(event=event, partition=row.partition, offset=row.offset, value=row.value)


async def _state_as_of(connection: AsyncConnection, tables: Tables, job_id: str, at: datetime) -> Job | None:
    state = await _snapshot(connection, tables, job_id, at)
    while True:
        page = await _events(connection, tables, job_id, state.seq if state else 0, at, FOLD_PAGE)
        for stored in page:
            state = evolve(state, stored.event)
        if len(page) < FOLD_PAGE:
            return state


async def _snapshot(connection: AsyncConnection, tables: Tables, job_id: str, at: datetime) -> Job | None:
    snapshots = tables.snapshots
    newest = select(snapshots.c.state).where(snapshots.c.job_id == job_id, snapshots.c.at <= micros(at))
    result = await connection.execute(newest.order_by(snapshots.c.at.desc(), snapshots.c.seq.desc()).limit(1))
    state = result.scalar_one_or_none()
    return None if state is None else decode_job(state)


async def _configurations(connection: AsyncConnection, tables: Tables, job_id: str) -> list[ConfigurationVersion]:
    versions, table = tables.configurations, tables.events
    same = and_(table.c.job_id == versions.c.job_id, table.c.seq == versions.c.seq)
    query = select(versions.c.version, table.c.value).join(table, same).where(versions.c.job_id == job_id)
    rows = await connection.execute(query.order_by(versions.c.version))
    return [_configuration(version, cast("JobCreated | JobConfigured", decode(value))) for version, value in rows]


def _configuration(version: int, event: JobCreated | JobConfigured) -> ConfigurationVersion:
    return ConfigurationVersion(
        version=version,
        configuration=event.configuration,
        cadence=event.cadence,
        retry=event.retry,
        at=event.occurred_at,
        by=event.actor,
        reverted_from=event.reverted_from if isinstance(event, JobConfigured) else None,
    )


async def _metrics(
    connection: AsyncConnection, tables: Tables, where: MetricFilter, interval: timedelta
) -> list[Bucket]:
    bucket_plan = plan_buckets(where.since, where.until, interval)
    table = tables.metrics.c
    # Doubles add up exactly to 2**53, and no sum of them fails.
    start = (table.minute - table.minute % bucket_plan.width).label("start")
    spans = (
        and_(table.grain == span.grain, table.minute >= span.first, table.minute < span.past)
        for span in bucket_plan.spans
    )
    sums = (func.sum(as_type(table[name], Float)).label(name) for name in COUNT_NAMES)
    query = select(start, *sums).where(or_(*spans)).group_by(start)
    for name, value in (("job_id", where.job_id), ("provider", where.provider), ("stream", where.stream)):
        if value:
            query = query.where(table[name] == value)
    counts = {row.start: _counts(row) for row in await connection.execute(query)}
    return fill_buckets(bucket_plan, counts)


async def _totals(connection: AsyncConnection, tables: Tables) -> list[Total]:
    table = tables.totals.c
    key = (table.provider, table.job_type, table.measure, table.outcome)  # sums as above
    query = select(*key, func.sum(as_type(table.count, Float)).label("count")).group_by(*key).order_by(*key)
    rows = (row._asdict() for row in await connection.execute(query))
    return [Total(**row | {"count": int(row["count"])}) for row in rows]


def _counts(row: Row[Any]) -> Counts:
    return Counts(**{name: int(getattr(row, name)) for name in COUNT_NAMES})
