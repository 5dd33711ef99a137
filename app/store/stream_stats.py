"""What the lanes have seen of each stream: how many messages, and a sketch of their fields."""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.lanes import add_mapped
from app.store.models import JobMapped, StreamDelta, StreamView
from app.store.tables import NO_GENERATION, stream_fields, streams
from app.store.views.event_writer import move_offset, take_offset
from projections.fields.field_stats import FORMAT, FieldStats, merge
from schemas.instants import micros, moment

MAX_LISTED_STREAMS: Final = 10_000


async def add_seen(
    database: Database,
    topic: str,
    partition: int,
    start: int,
    next_offset: int,
    seen: Sequence[StreamDelta],
    jobs: Sequence[JobMapped] = (),
) -> bool:
    """Add what was seen from `start` up to `next_offset` of a partition, if `start` is what comes next."""
    async with database.writing() as connection:
        if start != await take_offset(database, connection, NO_GENERATION, topic, partition):
            return False
        await move_offset(connection, NO_GENERATION, topic, partition, next_offset)
        await _add_counts(database, connection, topic, partition, seen)
        await _add_fields(database, connection, topic, partition, [each for each in seen if each.fields])
        await add_mapped(database, connection, topic, partition, jobs)
    return True


async def _add_counts(
    database: Database, connection: AsyncConnection, topic: str, partition: int, seen: Sequence[StreamDelta]
) -> None:
    rows = [
        {
            "stream": each.stream,
            "lane": each.lane,
            "topic": topic,
            "partition": partition,
            "count": each.count,
            "bytes": each.bytes,
            "last_message_at": micros(each.last_message_at),
            "last_arrival_at": micros(each.last_arrival_at),
        }
        for each in seen
    ]
    if rows:
        new = database.insert(streams)
        changed = {each: streams.c[each] + new.excluded[each] for each in ("count", "bytes")}
        for each in ("last_message_at", "last_arrival_at"):
            later = new.excluded[each] > streams.c[each]
            changed[each] = case((later, new.excluded[each]), else_=streams.c[each])
        keys = streams.primary_key.columns
        await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=changed), rows)


async def _add_fields(
    database: Database, connection: AsyncConnection, topic: str, partition: int, seen: Sequence[StreamDelta]
) -> None:
    """Merge sketches into those that are stored. Nobody else does for this partition: its offset is taken."""
    place = {"topic": topic, "partition": partition, "format": FORMAT}
    table = stream_fields.c
    query = select(table.stream, table.sketch).filter_by(**place)
    found = await connection.execute(query.where(table.stream.in_({each.stream for each in seen}))) if seen else ()
    known = {row.stream: row.sketch for row in found}
    for each in seen:
        stored = known.get(each.stream)
        known[each.stream] = _merged([each.fields] if stored is None else [stored, each.fields]).to_json()
    if known:
        new = database.insert(stream_fields)
        keys = stream_fields.primary_key.columns
        rows = [{"stream": stream, "sketch": sketch, **place} for stream, sketch in known.items()]
        changed = {"sketch": new.excluded.sketch}
        await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=changed), rows)


async def fields_seen(connection: AsyncConnection, stream: str) -> FieldStats | None:
    """Return what is known of the fields of a stream, in all lanes; None when none of its messages was looked at."""
    query = select(stream_fields.c.sketch).filter_by(stream=stream, format=FORMAT)
    sketches = (await connection.execute(query)).scalars().all()
    return _merged(sketches) if sketches else None


def _merged(sketches: Iterable[bytes]) -> FieldStats:
    return reduce(merge, map(FieldStats.from_json, sketches))


async def all_seen(connection: AsyncConnection, stream: str | None = None) -> list[StreamView]:
    """Return every stream and lane, by name; or one stream.

    Whoever writes a message may make up a stream: of too many those are left out where nothing came for longest.
    """
    table = streams.c
    query = select(
        table.stream,
        table.lane,
        func.sum(table["count"]).label("messages"),
        func.sum(table.bytes).label("bytes"),
        func.max(table.last_message_at).label("last_message_at"),
        func.max(table.last_arrival_at).label("last_arrival_at"),
    )
    if stream is not None:
        query = query.filter_by(stream=stream)
    query = query.group_by(table.stream, table.lane).order_by(func.max(table.last_arrival_at).desc(), table.stream)
    found = await connection.execute(query.limit(MAX_LISTED_STREAMS))
    return [
        StreamView(
            stream=row.stream,
            lane=row.lane,
            count=int(row.messages),
            bytes=int(row.bytes),
            last_message_at=moment(row.last_message_at),
            last_arrival_at=moment(row.last_arrival_at),
        )
        for row in sorted(found, key=lambda row: (row.stream, row.lane))
    ]
