"""A SQLite or PostgreSQL database: engine, transactions, upserts, creation of tables.

SQLite runs with a write-ahead log, so readers and the one writer don't wait for each other; several processes may use
one file. A writing transaction takes the write lock at its start, so it waits instead of failing later.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import ColumnElement, MetaData, Table, event, text
from sqlalchemy.dialects import postgresql, registry, sqlite
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import in_greenlet
from typing_extensions import override

BUSY_TIMEOUT_SECONDS: Final = 60
SCHEMA_LOCK: Final = 0x656E7472  # the advisory lock of PostgreSQL for creating, dropping and swapping tables
WRITES: Final = "entrepot_writes"

Upsert = sqlite.Insert | postgresql.Insert


class _CancelSafeDialect(SQLiteDialect_aiosqlite):
    """Closes the connection of a cancelled task, whose close may be cancelled as well.

    SQLAlchemy would close it in a shielded task, and stop its thread when the task that waits is cancelled again: the
    shielded one then waits for the thread for ever, and so does the end of the process for that task.
    """

    supports_statement_cache = True  # SQLAlchemy requires it of each class

    @override
    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close a connection; without a greenlet, as in the collection of garbage, only stop its thread."""
        if in_greenlet():
            dbapi_connection.close()
        else:
            dbapi_connection.terminate()


registry.register("sqlite.cancel_safe", __name__, _CancelSafeDialect.__name__)


class UnknownDatabaseError(ValueError):
    """Unsupported database URL: expected sqlite+aiosqlite:///FILE or postgresql+asyncpg://…."""


class Database:
    """An open database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writing_engine = engine.execution_options(**{WRITES: True})
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._one_writer = asyncio.Lock()  # SQLite itself would poll for the lock

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a read transaction."""
        async with self._engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction, and commit it unless an exception is raised."""
        if self._is_sqlite:
            async with self._one_writer, self._writing_engine.begin() as connection:
                yield connection
        else:
            async with self._writing_engine.begin() as connection:
                yield connection

    def insert(self, table: Table) -> Upsert:
        """Return an insert that supports ON CONFLICT."""
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    async def lock_schema(self, connection: AsyncConnection) -> None:
        """Wait until no other process creates, drops or swaps tables; SQLite's write lock ensures that already."""
        if not self._is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def upsert(insert: Upsert, changes: Mapping[str, Any], where: ColumnElement[bool] | None = None) -> Upsert:
    """Return the insert, with changes to a row that has the same primary key, if `where` holds."""
    return insert.on_conflict_do_update(index_elements=tuple(insert.table.primary_key), set_=changes, where=where)


async def create_tables(connection: AsyncConnection, metadata: MetaData) -> None:
    """Create the tables that don't exist."""
    await connection.run_sync(metadata.create_all)


async def drop(connection: AsyncConnection, metadata: MetaData) -> None:
    """Drop the tables that exist."""
    await connection.run_sync(metadata.drop_all)


def open_database(database_url: str) -> Database:
    """Return a database, not yet connected.

    Raises:
        UnknownDatabaseError: the URL has another dialect or driver.

    """
    url = make_url(database_url)
    # Parameters stay out of errors: they hold configurations.
    if url.drivername == "sqlite+aiosqlite":
        url = url.set(drivername="sqlite+cancel_safe")
        engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    elif url.drivername == "postgresql+asyncpg":
        engine = create_async_engine(url, hide_parameters=True, pool_pre_ping=True)
    else:
        raise UnknownDatabaseError(
            f"unsupported database {url.drivername!r}: expected sqlite+aiosqlite:///FILE or "
            "postgresql+asyncpg://USER@HOST/DATABASE"
        )
    return Database(engine)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # `_begin_sqlite` starts transactions, not the first write
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
