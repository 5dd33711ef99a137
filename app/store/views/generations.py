"""Generations of the job views: complete sets of tables, each with its offsets in `jobs.events`.

States: `live` (exactly one, after the store is opened for the first time), `filling` (at most one: a rebuild fills it)
and `retired` (until it is dropped).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database, create_tables, drop
from app.store.models import BehindError, EventRecord
from app.store.tables import VERSION, generations, offsets, tables_of
from app.store.views.event_writer import move_offset, take_offset, write
from schemas.topics import JOBS_EVENTS

LIVE: Final = "live"
FILLING: Final = "filling"
RETIRED: Final = "retired"


@dataclass(frozen=True, slots=True)
class ViewGeneration:
    """A generation, and the version of Entrepot's views (`app.store.tables.VERSION`) that it contains."""

    number: int
    version: int
    state: str  # LIVE, FILLING or RETIRED


async def list_all(connection: AsyncConnection) -> list[ViewGeneration]:
    """Return the generations, oldest first. A write transaction locks their states until it ends."""
    query = select(generations.c.generation, generations.c.version, generations.c.state)
    rows = await connection.execute(query.order_by(generations.c.generation).with_for_update(read=True))
    return [ViewGeneration(*row) for row in rows]


async def live_number(connection: AsyncConnection) -> int:
    """Return the number of the live generation."""
    return int((await connection.execute(select(generations.c.generation).filter_by(state=LIVE))).scalar_one())


async def get_or_create(database: Database, state: str) -> int:
    """Return the number of the generation in that state, LIVE or FILLING; create it when there is none.

    A generation that another version was filling is replaced.
    """
    async with database.writing() as connection:
        await database.lock_schema(connection)
        await create_tables(connection, generations.metadata)
        stored = await list_all(connection)
        for generation in stored:
            if generation.state == state and (state == LIVE or generation.version == VERSION):
                return generation.number
        for generation in stored:
            if generation.state == state:  # another version of Entrepot was filling it
                await _remove(connection, generation.number)
        number = 1 + max((generation.number for generation in stored), default=0)
        await connection.execute(insert(generations).values(generation=number, version=VERSION, state=state))
        await create_tables(connection, tables_of(number).metadata)
        return number


async def apply_new(
    database: Database, connection: AsyncConnection, number: int, partition: int, records: Sequence[EventRecord]
) -> int:
    """Write the records that a generation does not have yet; return the next offset that it had before."""
    reached = await take_offset(database, connection, number, JOBS_EVENTS.name, partition)
    new = [record for record in records if record.offset >= reached]
    if new:
        await write(database, connection, tables_of(number), partition, new)
        await move_offset(connection, number, JOBS_EVENTS.name, partition, new[-1].offset + 1)
    return reached


async def swap(database: Database, number: int) -> None:
    """Make a filled generation live, in one step for every reader and writer.

    Raises:
        BehindError: the live generation has events that this one lacks.

    """
    async with database.writing() as connection:
        await database.lock_schema(connection)
        await connection.execute(select(generations).order_by(generations.c.generation).with_for_update())
        live = await live_number(connection)
        if live == number:
            return
        await _check_caught_up(connection, live, number)
        await connection.execute(update(generations).filter_by(generation=live).values(state=RETIRED))
        await connection.execute(update(generations).filter_by(generation=number).values(state=LIVE))


async def _check_caught_up(connection: AsyncConnection, live: int, number: int) -> None:
    """Raise BehindError if the live generation has events that the filled one lacks."""
    live_offsets, filled = await offsets_of(connection, live), await offsets_of(connection, number)
    lagging = sorted(partition for partition, offset in live_offsets.items() if filled.get(partition, 0) < offset)
    if lagging:
        missing = ", ".join(f"partition {partition} from offset {filled.get(partition, 0)} on" for partition in lagging)
        raise BehindError(
            f"the new generation lacks events of {JOBS_EVENTS.name}: {missing}; apply them, then swap again"
        )


async def offsets_of(connection: AsyncConnection, number: int) -> dict[int, int]:
    """Return the next offset of each partition of `jobs.events` that a generation has events of."""
    query = select(offsets.c.partition, offsets.c.next_offset)
    rows = await connection.execute(query.filter_by(generation=number, topic=JOBS_EVENTS.name))
    return {row.partition: row.next_offset for row in rows}


async def drop_retired(database: Database) -> None:
    """Drop the retired generations."""
    async with database.writing() as connection:
        await database.lock_schema(connection)
        for generation in await list_all(connection):
            if generation.state == RETIRED:
                await _remove(connection, generation.number)


async def _remove(connection: AsyncConnection, number: int) -> None:
    """Delete a generation: its entry, its offsets and its tables."""
    await connection.execute(delete(generations).filter_by(generation=number))
    await connection.execute(delete(offsets).filter_by(generation=number))
    await drop(connection, tables_of(number).metadata)


async def live_version(connection: AsyncConnection) -> int:
    """Return the version of Entrepot's views that the live generation contains."""
    query = select(func.max(generations.c.version)).filter_by(state=LIVE)
    return int((await connection.execute(query)).scalar_one())
