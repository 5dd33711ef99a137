"""Writes events to views: folds a micro-batch of one partition in memory, then writes the tables of one generation."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Table, case, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.records.job_state import encode_job, try_decode_job
from app.sentences.job_log import log_line
from app.store.database import Database, upsert
from app.store.models import EventRecord
from app.store.tables import NEVER, Tables, mapped_jobs, offsets
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, next_wake
from projections.views.metrics import Grain, Measure, increments, totals
from schemas.commands import COUNT_NAMES, MAX_TOTAL, NO_COUNTS, Counts
from schemas.events import JobConfigured, JobCreated, JobEvent, JobPurged
from schemas.instants import micros
from schemas.topics import JOBS_EVENTS

SNAPSHOT_EVERY: Final = 500  # events of a job

TableRow = dict[str, Any]

_log = logging.getLogger(__name__)


class ViewRows:
    """The rows of a micro-batch, folded on top of the stored job states."""

    def __init__(self, partition: int, jobs: dict[str, Job]) -> None:
        self.jobs = jobs
        self.changed: set[str] = set()
        self.purged: set[str] = set()
        self.behind_gaps: set[str] = set()
        self.log: list[TableRow] = []
        self.configurations: list[TableRow] = []
        self.events: list[TableRow] = []
        self.snapshots: list[TableRow] = []
        self._counts: dict[tuple[Grain, int, str, str], Counts] = {}
        self._totals: Counter[tuple[str, str, Measure, str]] = Counter()
        self._partition = partition

    def add(self, record: EventRecord) -> None:
        """Add an event, if it is the next of its job."""
        event = record.event
        before = self.jobs.get(event.job_id)
        job = evolve(before, event)
        if job is before or job is None:
            if event.seq > 1 + (before.seq if before else 0):
                self.behind_gaps.add(event.job_id)
            return
        self.jobs[event.job_id] = job
        self.changed.add(event.job_id)
        if job.status == "Purged":
            if isinstance(event, JobPurged):
                self.purged.add(event.job_id)
            return  # a purged job has no rows
        self._add_rows(record, before, job)

    def _add_rows(self, record: EventRecord, before: Job | None, job: Job) -> None:
        event = record.event
        self.events.append(self._event_row(record))
        if line := log_line(event, before):
            # The message is stored beside code and parameters, so that a search finds the words that are shown.
            params = orjson.dumps(dict(line.params)).decode()
            self.log.append({**asdict(line), "at": micros(line.at), "params": params})
        for grain, minute, stream, counts in increments(event):
            key = (grain, minute, event.job_id, stream)
            self._counts[key] = self._counts.get(key, NO_COUNTS) + counts
        for measure, outcome, amount in totals(event):
            self._totals[job.provider, job.job_type, measure, outcome] += amount
        if isinstance(event, JobCreated | JobConfigured):
            self.configurations.append({"job_id": event.job_id, "version": job.configuration_version, "seq": event.seq})
        if event.seq % SNAPSHOT_EVERY == 0:
            at = micros(event.occurred_at)
            self.snapshots.append({"job_id": event.job_id, "at": at, "seq": event.seq, "state": encode_job(job)})

    def _event_row(self, record: EventRecord) -> TableRow:
        event: JobEvent = record.event
        return {
            "job_id": event.job_id,
            "seq": event.seq,
            "type": type(event).__name__,
            "occurred_at": micros(event.occurred_at),
            "partition": self._partition,
            "offset": record.offset,
            "value": record.value,
        }

    def job_rows(self) -> list[TableRow]:
        """Return the jobs that changed."""
        return [_job_row(self.jobs[job_id]) for job_id in self.changed]

    def state_rows(self) -> list[TableRow]:
        """Return the complete states of the jobs that changed."""
        return [{"job_id": job_id, "state": encode_job(self.jobs[job_id])} for job_id in self.changed]

    def metric_rows(self) -> list[TableRow]:
        """Return what to add to the counts."""
        rows = []
        for (grain, minute, job_id, stream), counts in self._counts.items():
            provider = self.jobs[job_id].provider
            key = {"grain": grain, "minute": minute, "job_id": job_id, "stream": stream, "provider": provider}
            rows.append({**key, **{name: getattr(counts, name) for name in COUNT_NAMES}})
        return rows

    def total_rows(self) -> list[TableRow]:
        """Return what to add to the totals."""
        names = ("provider", "job_type", "measure", "outcome")
        return [
            {**dict(zip(names, key, strict=True)), "partition": self._partition, "count": count}
            for key, count in self._totals.items()
        ]

    def unpurged(self, rows: list[TableRow]) -> list[TableRow]:
        """Return the rows that are not of jobs purged later in the batch."""
        return [row for row in rows if row["job_id"] not in self.purged] if self.purged else rows


def _job_row(job: Job) -> TableRow:
    wakes = next_wake(job)
    return {
        "job_id": job.job_id,
        "seq": job.seq,
        "status": job.status,
        "provider": job.provider,
        "job_type": job.job_type,
        "kind": job.kind,
        "name_key": job.name.casefold(),
        "search": f"{job.name}\n{job.description}\n{job.job_id}".casefold(),
        "created_at": micros(job.created_at),
        "updated_at": micros(job.updated_at),
        "next_wake": micros(wakes) if wakes else NEVER,
    }


async def take_offset(
    database: Database, connection: AsyncConnection, generation: int, topic: str, partition: int
) -> int:
    """Return the next offset, and lock it until the transaction ends, so that only one writer proceeds."""
    key = {"generation": generation, "topic": topic, "partition": partition}
    query = select(offsets.c.next_offset).filter_by(**key).with_for_update()
    while (next_offset := (await connection.execute(query)).scalar_one_or_none()) is None:
        await connection.execute(database.insert(offsets).values(**key, next_offset=0).on_conflict_do_nothing())
    return int(next_offset)


async def move_offset(
    connection: AsyncConnection, generation: int, topic: str, partition: int, next_offset: int
) -> None:
    """Store the next offset."""
    key = {"generation": generation, "topic": topic, "partition": partition}
    await connection.execute(update(offsets).filter_by(**key).values(next_offset=next_offset))


async def write(
    database: Database, connection: AsyncConnection, tables: Tables, partition: int, records: Sequence[EventRecord]
) -> None:
    """Fold records into the tables of a generation."""
    fold = ViewRows(partition, await _jobs_of(connection, tables, {record.event.job_id for record in records}))
    for record in records:
        fold.add(record)
    if fold.behind_gaps:
        _log.warning(
            "%s/%d: the views lack events before offset %d, of job %s and %d more: run `entrepot views rebuild`",
            *(JOBS_EVENTS.name, partition, records[-1].offset, min(fold.behind_gaps), len(fold.behind_gaps) - 1),
        )
    for table in (tables.log, tables.configurations, tables.events, tables.snapshots, mapped_jobs):
        if fold.purged:
            await connection.execute(delete(table).where(table.c.job_id.in_(fold.purged)))
    await _insert(database, connection, tables.log, fold.unpurged(fold.log))
    await _replace(database, connection, tables.configurations, fold.unpurged(fold.configurations))
    await _insert(database, connection, tables.events, fold.unpurged(fold.events))
    await _insert(database, connection, tables.snapshots, fold.unpurged(fold.snapshots))
    await _replace(database, connection, tables.jobs, fold.job_rows())
    await _replace(database, connection, tables.states, fold.state_rows())
    await _add(database, connection, tables.metrics, COUNT_NAMES, fold.metric_rows())
    await _add(database, connection, tables.totals, ("count",), fold.total_rows())


async def _jobs_of(connection: AsyncConnection, tables: Tables, job_ids: set[str]) -> dict[str, Job]:
    states = tables.states
    rows = await connection.execute(select(states.c.state).where(states.c.job_id.in_(job_ids)))
    jobs = (try_decode_job(state) for (state,) in rows)
    return {job.job_id: job for job in jobs if job}


async def _insert(database: Database, connection: AsyncConnection, table: Table, rows: list[TableRow]) -> None:
    if rows:
        await connection.execute(database.insert(table), rows)


async def _replace(database: Database, connection: AsyncConnection, table: Table, rows: list[TableRow]) -> None:
    if rows:
        new = database.insert(table)
        others = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
        await connection.execute(upsert(new, others), rows)


async def _add(
    database: Database, connection: AsyncConnection, table: Table, names: Sequence[str], rows: list[TableRow]
) -> None:
    """Add the named columns of `rows` to those of stored rows."""
    if rows:
        new = database.insert(table)
        sums = {name: _sum(table.c[name], new.excluded[name]) for name in names}
        await connection.execute(upsert(new, sums), rows)


def _sum(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    """Return a sum capped at `MAX_TOTAL`, beyond which a database would fail or change the number's type."""
    return case((one > MAX_TOTAL - other, MAX_TOTAL), else_=one + other)
