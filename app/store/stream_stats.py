"""Statistics of each stream from the lanes: message counts, and a sketch of the fields."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database, upsert
from app.store.lanes import UNCLAIMED, add_mapped, add_rejected, check_owner
from app.store.models import BlockedIdentities, JobMapped, StreamDelta, StreamView
from app.store.tables import NO_GENERATION, blocked_identities, offsets, stream_fields, streams
from app.store.views.event_writer import move_offset, take_offset
from projections.fields.field_stats import FORMAT, merge_sketches
from schemas.instants import micros, moment

MAX_LISTED_STREAMS: Final = 10_000
MAX_LISTED_BLOCKED: Final = 1_000


class StreamStats:
    """The tables of stream statistics, in the read store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_offset(self, topic: str, partition: int) -> int:
        """Return the offset of a raw partition up to which messages are counted."""
        query = select(offsets.c.next_offset).filter_by(generation=NO_GENERATION, topic=topic, partition=partition)
        async with self._database.reading() as connection:
            return int((await connection.execute(query)).scalar_one_or_none() or 0)

    async def add(
        self,
        topic: str,
        partition: int,
        start: int,
        next_offset: int,
        deltas: Sequence[StreamDelta],
        jobs: Sequence[JobMapped] = (),
        rejected: Sequence[tuple[str, int]] = (),
        owner: str = UNCLAIMED,
    ) -> bool:
        """Add what a lane counted in a partition from `start` up to `next_offset`, in one transaction with the offset.

        `rejected` is the number of its dead letters by code.

        When `start` is not the stored `next_offset`, because another worker has counted since, nothing is added and
        the result is False: read `next_offset` and count again.

        Raises:
            StaleOwnerError: another worker has claimed the partition.

        """
        async with self._database.writing() as connection:
            await check_owner(connection, topic, [partition], owner)
            if start != await take_offset(self._database, connection, NO_GENERATION, topic, partition):
                return False
            await move_offset(connection, NO_GENERATION, topic, partition, next_offset)
            await _add_counts(self._database, connection, topic, partition, deltas)
            await _add_blocked(self._database, connection, topic, partition, deltas)
            await _add_fields(self._database, connection, topic, partition, [delta for delta in deltas if delta.fields])
            await add_mapped(self._database, connection, topic, partition, jobs)
            await add_rejected(self._database, connection, topic, partition, rejected)
        return True

    async def sketches(self, stream: str) -> Sequence[bytes]:
        """Return the field statistics of a stream by partition of each lane; none if no message was sampled."""
        query = select(stream_fields.c.sketch).filter_by(stream=stream, format=FORMAT)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).scalars().all()

    async def blocked(self, stream: str | None = None) -> list[BlockedIdentities]:
        """Return the blocked identities of a stream or of all streams together, the most frequent first."""
        table, total = blocked_identities.c, func.sum(blocked_identities.c["count"])
        query = select(table.lane, table.kind, table.value, total)
        if stream is not None:
            query = query.filter_by(stream=stream)
        query = query.group_by(table.lane, table.kind, table.value).order_by(
            total.desc(), table.kind, table.value, table.lane
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.limit(MAX_LISTED_BLOCKED))).all()
        return [BlockedIdentities(lane, kind, value, int(count)) for lane, kind, value, count in rows]

    async def last_offsets(self, stream: str) -> Mapping[tuple[str, int], int]:
        """Return the offset of the last record of a stream that the lanes have read, by topic and partition."""
        query = select(streams.c.topic, streams.c.partition, streams.c.last_offset).filter_by(stream=stream)
        async with self._database.reading() as connection:
            rows = await connection.execute(query)
            return {(row.topic, int(row.partition)): int(row.last_offset) for row in rows}

    async def counts(self, stream: str | None = None) -> list[StreamView]:
        """Return the counts of every stream and lane, by name; or those of one stream.

        Producers may invent stream names, so the list is bounded: the streams with the oldest messages are left out.
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
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.limit(MAX_LISTED_STREAMS))).all()
        return [
            StreamView(
                stream=row.stream,
                lane=row.lane,
                count=int(row.messages),
                bytes=int(row.bytes),
                last_message_at=moment(row.last_message_at),
                last_arrival_at=moment(row.last_arrival_at),
            )
            for row in sorted(rows, key=lambda row: (row.stream, row.lane))
        ]


async def _add_counts(
    database: Database, connection: AsyncConnection, topic: str, partition: int, deltas: Sequence[StreamDelta]
) -> None:
    rows = [
        {
            "stream": delta.stream,
            "lane": delta.lane,
            "topic": topic,
            "partition": partition,
            "count": delta.count,
            "bytes": delta.bytes,
            "last_message_at": micros(delta.last_message_at),
            "last_arrival_at": micros(delta.last_arrival_at),
            "last_offset": delta.last_offset,
        }
        for delta in deltas
    ]
    if rows:
        insert = database.insert(streams)
        changes = {column: streams.c[column] + insert.excluded[column] for column in ("count", "bytes")}
        for column in ("last_message_at", "last_arrival_at", "last_offset"):
            is_later = insert.excluded[column] > streams.c[column]
            changes[column] = case((is_later, insert.excluded[column]), else_=streams.c[column])
        await connection.execute(upsert(insert, changes), rows)


async def _add_blocked(
    database: Database, connection: AsyncConnection, topic: str, partition: int, deltas: Sequence[StreamDelta]
) -> None:
    rows = [
        {
            "stream": delta.stream,
            "lane": delta.lane,
            "topic": topic,
            "partition": partition,
            "kind": kind,
            "value": value,
            "count": count,
        }
        for delta in deltas
        for (kind, value), count in delta.blocked.items()
    ]
    if rows:
        insert = database.insert(blocked_identities)
        total = blocked_identities.c["count"] + insert.excluded["count"]
        await connection.execute(upsert(insert, {"count": total}), rows)


async def _add_fields(
    database: Database, connection: AsyncConnection, topic: str, partition: int, deltas: Sequence[StreamDelta]
) -> None:
    """Merge sketches into the stored ones. The row lock on the partition's offset excludes other writers."""
    if not deltas:
        return
    keys = {"topic": topic, "partition": partition, "format": FORMAT}
    table = stream_fields.c
    query = select(table.stream, table.sketch).filter_by(**keys)
    rows = await connection.execute(query.where(table.stream.in_({delta.stream for delta in deltas})))
    sketches = {row.stream: row.sketch for row in rows}
    for delta in deltas:
        stored = sketches.get(delta.stream)
        sketches[delta.stream] = merge_sketches([delta.fields] if stored is None else [stored, delta.fields]).to_json()
    insert = database.insert(stream_fields)
    await connection.execute(
        upsert(insert, {"sketch": insert.excluded.sketch}),
        [{"stream": stream, "sketch": sketch, **keys} for stream, sketch in sketches.items()],
    )
