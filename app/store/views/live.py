"""The live generation of the job views: the projector writes it, the API reads it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.models import EventRecord, NewerViewsError
from app.store.tables import VERSION, Tables, tables_of
from app.store.views import generations
from app.store.views.event_writer import take_offset
from app.store.views.rebuild import ViewRebuild
from schemas.topics import JOBS_EVENTS

T = TypeVar("T")
StoreQuery = Callable[[AsyncConnection, Tables], Awaitable[T]]


class LiveViews:
    """The views that readers see. They come from `jobs.events` alone, so they can be lost and rebuilt."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, partition: int, records: Sequence[EventRecord]) -> None:
        """Apply events of a partition of `jobs.events`, in offset order, with their offset in one transaction.

        Records below the stored offset, and events that are not the next of their job, are skipped. A generation that
        is being filled gets the same records once it has all that came before them.

        Raises:
            NewerViewsError: the views belong to a newer version of Entrepot.

        """
        async with self._database.writing() as connection:
            stored = await generations.list_all(connection)
            (live,) = (generation for generation in stored if generation.state == generations.LIVE)
            if live.version > VERSION:
                raise NewerViewsError(
                    f"the views have version {live.version}, this process writes version {VERSION}: upgrade it"
                )
            reached = await generations.apply_new(self._database, connection, live.number, partition, records)
            for filling in stored:
                if filling.state == generations.FILLING and filling.version == VERSION:
                    offset = await take_offset(self._database, connection, filling.number, JOBS_EVENTS.name, partition)
                    if records and offset >= max(reached, records[0].offset):  # the live one may have lost events
                        await generations.apply_new(self._database, connection, filling.number, partition, records)

    async def next_offset(self, partition: int) -> int:
        """Return the next offset of a partition of `jobs.events`; 0 when none was applied yet."""
        return await self.read(lambda connection, tables: _next_offset(connection, tables.generation, partition))

    async def begin_rebuild(self) -> ViewRebuild:
        """Start a new generation beside the live one, or resume one that was left unfinished."""
        return ViewRebuild(self._database, await generations.get_or_create(self._database, generations.FILLING))

    async def needs_rebuild(self) -> bool:
        """Return whether the views were written by an older version of Entrepot."""
        async with self._database.reading() as connection:
            return await generations.live_version(connection) < VERSION

    async def read(self, query: StoreQuery[T]) -> T:
        """Run a query on the live generation; when that is swapped out and dropped meanwhile, on the new one."""
        number = 0
        try:
            async with self._database.reading() as connection:
                number = await generations.live_number(connection)
                return await query(connection, tables_of(number))
        except DBAPIError:
            async with self._database.reading() as connection:
                if await generations.live_number(connection) == number:
                    raise
        return await self.read(query)


async def _next_offset(connection: AsyncConnection, generation: int, partition: int) -> int:
    return (await generations.offsets_of(connection, generation)).get(partition, 0)
