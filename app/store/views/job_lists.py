"""Pages of jobs and of log lines by keyset: a page starts after a key, so it does not shift when rows move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import BigInteger, ColumnElement, Row, Select, func, literal, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.records.job_state import try_decode_job
from app.sentences.job_log import LogLine
from app.store.models import MAX_PAGE, InvalidLimitError, JobFilter, LogFilter, Page, Sort, SortKey
from app.store.tables import Tables
from app.store.views.live import LiveViews
from app.store.views.page_cursors import decode_cursor, encode_cursor, fingerprint
from app.vault.sealed_json import SEALED, sealing_keys
from connectors.catalog import pushed_types
from projections.jobs.state import Job, Status
from schemas.coded import Params
from schemas.instants import micros, moment

T = TypeVar("T")
SqlColumn = ColumnElement[Any]

SORT_COLUMNS: Final[Mapping[SortKey, str]] = {
    "name": "name_key",
    "status": "status",
    "created": "created_at",
    "updated": "updated_at",
    "next_wake": "next_wake",
}

BY_NAME: Final = Sort()
ALL_JOBS: Final = JobFilter()
ALL_LINES: Final = LogFilter()
SHOWN: Final[tuple[Status, ...]] = ("Running", "Sleeping", "Failed", "Paused", "Completed")


@dataclass(frozen=True, slots=True)
class Keyset:
    """The columns that sort a list and identify its rows, the fingerprint of its query, and its direction."""

    columns: tuple[SqlColumn, ...]
    mark: str
    descending: bool

    def page(self, query: Select[Any], limit: int, cursor: str | None) -> Select[Any]:
        """Return the query of a page and one more row; the first columns of a row are its key."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidLimitError(f"a page has 1 to {MAX_PAGE:,} items, not {limit:,}")
        if cursor is not None:
            types = tuple(int if isinstance(column.type, BigInteger) else str for column in self.columns)
            key = decode_cursor(cursor, self.mark, types)
            columns = tuple_(*self.columns)
            values = tuple_(*(literal(value, column.type) for value, column in zip(key, self.columns, strict=True)))
            query = query.where(columns < values if self.descending else columns > values)
        ordered = (column.desc() if self.descending else column for column in self.columns)
        return query.order_by(*ordered).limit(limit + 1)

    def cut(self, rows: Sequence[Any], items: Sequence[T], limit: int) -> Page[T]:
        """Return the page of items; each row starts with the key of its item."""
        if len(rows) <= limit:
            return Page(tuple(items), None)
        key = tuple(rows[limit - 1][: len(self.columns)])
        return Page(tuple(items[:limit]), encode_cursor(self.mark, key))


class JobLists:
    """Jobs and log lines, read from the live views."""

    def __init__(self, views: LiveViews) -> None:
        self._views = views

    async def get(self, job_id: str) -> Job | None:
        """Return a job, also a killed or a purged one; None when it is unknown."""
        return await self._views.read(lambda connection, tables: _job(connection, tables, job_id))

    async def applied_seq(self, job_id: str) -> int:
        """Return the `seq` of the latest event of a job that the views have; 0 when it is unknown."""
        return await self._views.read(lambda connection, tables: _applied_seq(connection, tables, job_id))

    async def page(
        self, where: JobFilter = ALL_JOBS, sort: Sort = BY_NAME, limit: int = 50, cursor: str | None = None
    ) -> Page[Job]:
        """Return a page of jobs.

        Raises:
            InvalidCursorError: the cursor is not one of this list.
            InvalidLimitError: `limit` is not between 1 and 1,000.

        """
        return await self._views.read(
            lambda connection, tables: _jobs_page(connection, tables, where, sort, limit, cursor)
        )

    async def count(self, where: JobFilter = ALL_JOBS) -> int:
        """Return the number of jobs that match a filter."""
        return await self._views.read(lambda connection, tables: _count(connection, tables, where))

    async def sealing_keys(self) -> frozenset[str]:
        """Return the ids of the master keys that secrets in the current configurations are sealed with."""
        return await self._views.read(_sealing_keys)

    async def log(self, where: LogFilter = ALL_LINES, limit: int = 50, cursor: str | None = None) -> Page[LogLine]:
        """Return a page of log lines, of one job or of all.

        Raises:
            InvalidCursorError: the cursor is not one of this list.
            InvalidLimitError: `limit` is not between 1 and 1,000.

        """
        return await self._views.read(lambda connection, tables: _log_page(connection, tables, where, limit, cursor))


async def _job(connection: AsyncConnection, tables: Tables, job_id: str) -> Job | None:
    query = select(tables.states.c.state).filter_by(job_id=job_id)
    state = (await connection.execute(query)).scalar_one_or_none()
    return None if state is None else try_decode_job(state)


async def _applied_seq(connection: AsyncConnection, tables: Tables, job_id: str) -> int:
    query = select(tables.jobs.c.seq).filter_by(job_id=job_id)
    return int((await connection.execute(query)).scalar_one_or_none() or 0)


async def _jobs_page(
    connection: AsyncConnection, tables: Tables, where: JobFilter, sort: Sort, limit: int, cursor: str | None
) -> Page[Job]:
    jobs, states = tables.jobs, tables.states
    statuses = _statuses(where)
    if not statuses:
        return Page((), None)
    mark, descending = fingerprint(where, sort), sort.order == "descending"
    inner = Keyset((jobs.c[SORT_COLUMNS[sort.by]].label("key"), jobs.c.job_id), mark, descending)
    # The first rows of each status, then the first of all of those: each query reads the head of an index.
    queries = (
        inner.page(
            select(*inner.columns).where(jobs.c.status == status, *_job_conditions(tables, where)), limit, cursor
        )
        for status in statuses
    )
    heads = union_all(*(select(query.subquery()) for query in queries)).subquery()
    keyset = Keyset((heads.c.key, heads.c.job_id), mark, descending)
    query = select(*keyset.columns, states.c.state).join(states, states.c.job_id == heads.c.job_id)
    rows = (await connection.execute(keyset.page(query, limit, None))).all()
    return keyset.cut(rows, [job for row in rows[:limit] if (job := try_decode_job(row.state))], limit)


async def _count(connection: AsyncConnection, tables: Tables, where: JobFilter) -> int:
    query = (
        select(func.count())
        .select_from(tables.jobs)
        .where(tables.jobs.c.status.in_(_statuses(where)), *_job_conditions(tables, where))
    )
    return int((await connection.execute(query)).scalar_one())


async def _sealing_keys(connection: AsyncConnection, tables: Tables) -> frozenset[str]:
    keys = frozenset[str]()
    async for (state,) in await connection.stream(select(tables.states.c.state)):
        if SEALED.encode() in state and (job := try_decode_job(state)):
            keys |= sealing_keys(job.configuration.encode())
    return keys


def _statuses(where: JobFilter) -> tuple[Status, ...]:
    wanted = where.statuses or SHOWN
    return tuple(status for status in (*SHOWN, "Killed") if status in wanted)


def _job_conditions(tables: Tables, where: JobFilter) -> list[SqlColumn]:
    columns = tables.jobs.c
    conditions: list[SqlColumn] = [
        columns[name] == value
        for name, value in (("provider", where.provider), ("job_type", where.job_type), ("kind", where.kind))
        if value
    ]
    if where.uploads is not None:
        is_upload = tuple_(columns.provider, columns.job_type).in_(sorted(pushed_types()))
        conditions.append(is_upload if where.uploads else ~is_upload)
    if where.reference:
        is_named = columns.name_key == where.reference.casefold()
        conditions.append(is_named | columns.job_id.startswith(where.reference, autoescape=True))
    if where.text:
        conditions.append(columns.search.contains(where.text.casefold(), autoescape=True))
    if where.updated_since:
        conditions.append(columns.updated_at >= micros(where.updated_since))
    return conditions


async def _log_page(
    connection: AsyncConnection, tables: Tables, where: LogFilter, limit: int, cursor: str | None
) -> Page[LogLine]:
    log = tables.log.c
    columns = (log.at, log.seq) if where.job_id else (log.at, log.job_id, log.seq)
    keyset = Keyset(columns, fingerprint(where), where.order == "newest_first")
    query = select(*columns, *(column for column in log if column not in columns)).where(
        *_log_conditions(tables, where)
    )
    rows = (await connection.execute(keyset.page(query, limit, cursor))).all()
    return keyset.cut(rows, [_line(row) for row in rows], limit)


def _line(row: Row[Any]) -> LogLine:
    return LogLine(
        job_id=row.job_id,
        seq=row.seq,
        at=moment(row.at),
        kind=row.kind,
        message=row.message,
        by=row.by,
        detail=row.detail,
        code=row.code,
        params=_params(row.params),
    )


def _params(stored: str) -> Params:
    values = orjson.loads(stored)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _log_conditions(tables: Tables, where: LogFilter) -> list[SqlColumn]:
    log = tables.log.c
    conditions: list[SqlColumn] = []
    if where.job_id:
        conditions.append(log.job_id == where.job_id)
    if where.kinds:
        conditions.append(log.kind.in_(where.kinds))
    if where.since:
        conditions.append(log.at >= micros(where.since))
    if where.until:
        conditions.append(log.at < micros(where.until))
    if where.text:
        conditions.append(log.message.icontains(where.text, autoescape=True))
    return conditions
