"""What the lanes have seen of each stream."""

from collections.abc import Sequence

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.applying import move_offset, take_offset
from app.store.database import Database
from app.store.questions import StreamDelta, StreamView
from app.store.tables import NO_GENERATION, micros, moment, streams


async def add_seen(
    database: Database, topic: str, partition: int, start: int, next_offset: int, seen: Sequence[StreamDelta]
) -> bool:
    """Add what was seen from `start` up to `next_offset` of a partition, if `start` is what comes next."""
    async with database.writing() as connection:
        if start != await take_offset(database, connection, NO_GENERATION, topic, partition):
            return False
        await move_offset(connection, NO_GENERATION, topic, partition, next_offset)
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
    return True


async def all_seen(connection: AsyncConnection) -> list[StreamView]:
    """Return every stream and lane, by name."""
    table = streams.c
    query = select(
        table.stream,
        table.lane,
        func.sum(table["count"]).label("messages"),
        func.sum(table.bytes).label("bytes"),
        func.max(table.last_message_at).label("last_message_at"),
        func.max(table.last_arrival_at).label("last_arrival_at"),
    )
    found = await connection.execute(query.group_by(table.stream, table.lane).order_by(table.stream, table.lane))
    return [
        StreamView(
            stream=row.stream,
            lane=row.lane,
            count=int(row.messages),
            bytes=int(row.bytes),
            last_message_at=moment(row.last_message_at),
            last_arrival_at=moment(row.last_arrival_at),
        )
        for row in found
    ]
