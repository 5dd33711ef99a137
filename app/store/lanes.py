"""The lanes in the read store: pause switches, offsets, and mapped messages of each job."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.models import JobMapped, LaneSwitch
from app.store.tables import NO_GENERATION, lane_switches, mapped_jobs, offsets, streams
from schemas.instants import micros, moment


class LaneStore:
    """The tables of the lanes, in the read store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def switch(self, lane: str, wanted: LaneSwitch) -> None:
        """Pause or resume a lane; a repeat changes nothing, the recorded actor included."""
        values = {"paused": int(wanted.paused), "by": wanted.by, "at": micros(wanted.at)}
        async with self._database.writing() as connection:
            insert = self._database.insert(lane_switches).values(lane=lane, **values)
            changes = lane_switches.c.paused != insert.excluded.paused
            keys = lane_switches.primary_key.columns
            await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=values, where=changes))

    async def switches(self) -> Mapping[str, LaneSwitch]:
        """Return the switch of each lane that was ever paused."""
        async with self._database.reading() as connection:
            rows = await connection.execute(select(lane_switches))
            return {row.lane: LaneSwitch(bool(row.paused), row.by, moment(row.at)) for row in rows}

    async def is_paused(self, lane: str) -> bool:
        """Tell whether a lane is paused."""
        query = select(lane_switches.c.paused).filter_by(lane=lane)
        async with self._database.reading() as connection:
            return bool((await connection.execute(query)).scalar_one_or_none())

    async def positions(self, topics: Iterable[str]) -> Mapping[tuple[str, int], int]:
        """Return the next offset of each partition (topic, number) that was ever read."""
        table = offsets.c
        query = select(table.topic, table.partition, table.next_offset).filter_by(generation=NO_GENERATION)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.where(table.topic.in_(tuple(topics))))
            return {(row.topic, int(row.partition)): int(row.next_offset) for row in rows}

    async def messages(self) -> Mapping[str, int]:
        """Return the number of messages that each lane has read."""
        query = select(streams.c.lane, func.sum(streams.c["count"]).label("messages")).group_by(streams.c.lane)
        async with self._database.reading() as connection:
            return {row.lane: int(row.messages) for row in await connection.execute(query)}

    async def mapped(self, job_id: str) -> JobMapped | None:
        """Return how many of a job's messages the lanes have mapped; None when there are none."""
        table = mapped_jobs.c
        query = select(func.sum(table["count"]).label("messages"), func.max(table.mapped_at).label("mapped_at"))
        async with self._database.reading() as connection:
            row = (await connection.execute(query.filter_by(job_id=job_id))).one()
        if row.messages is None:
            return None
        return JobMapped(job_id=job_id, count=int(row.messages), at=moment(row.mapped_at))


async def add_mapped(
    database: Database, connection: AsyncConnection, topic: str, partition: int, jobs: Sequence[JobMapped]
) -> None:
    """Add newly mapped messages to the counts of their jobs."""
    rows = [
        {
            "job_id": job.job_id,
            "topic": topic,
            "partition": partition,
            "count": job.count,
            "mapped_at": micros(job.at),
        }
        for job in jobs
    ]
    if rows:
        insert = database.insert(mapped_jobs)
        changes = {"count": mapped_jobs.c["count"] + insert.excluded["count"], "mapped_at": insert.excluded.mapped_at}
        keys = mapped_jobs.primary_key.columns
        await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changes), rows)
