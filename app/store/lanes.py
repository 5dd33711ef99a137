"""The lanes, as the read store knows them: which are paused, where they are, and how far they are with each job."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.models import JobMapped, LaneSwitch
from app.store.tables import NO_GENERATION, lane_switches, mapped_jobs, offsets, streams
from schemas.instants import micros, moment

Place = tuple[str, int]  # topic and partition


class LaneStore:
    """The tables of the lanes, in the read store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def switch(self, lane: str, wanted: LaneSwitch) -> None:
        """Pause a lane, or let it go on; saying it again changes nothing, also not who said it."""
        facts = {"paused": int(wanted.paused), "by": wanted.by, "at": micros(wanted.at)}
        async with self._database.writing() as connection:
            new = self._database.insert(lane_switches).values(lane=lane, **facts)
            changes = lane_switches.c.paused != new.excluded.paused
            keys = lane_switches.primary_key.columns
            await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=facts, where=changes))

    async def switches(self) -> Mapping[str, LaneSwitch]:
        """Return how the lanes were switched; those that never were are not among them."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(lane_switches))
            return {row.lane: LaneSwitch(bool(row.paused), row.by, moment(row.at)) for row in found}

    async def is_paused(self, lane: str) -> bool:
        """Tell whether a lane is paused."""
        query = select(lane_switches.c.paused).filter_by(lane=lane)
        async with self._database.reading() as connection:
            return bool((await connection.execute(query)).scalar_one_or_none())

    async def positions(self, topics: Iterable[str]) -> Mapping[Place, int]:
        """Return the offsets that come next; partitions that were never read are not among them."""
        table = offsets.c
        query = select(table.topic, table.partition, table.next_offset).filter_by(generation=NO_GENERATION)
        async with self._database.reading() as connection:
            found = await connection.execute(query.where(table.topic.in_(tuple(topics))))
            return {(row.topic, int(row.partition)): int(row.next_offset) for row in found}

    async def messages(self) -> Mapping[str, int]:
        """Return how many messages each lane has seen."""
        query = select(streams.c.lane, func.sum(streams.c["count"]).label("messages")).group_by(streams.c.lane)
        async with self._database.reading() as connection:
            return {row.lane: int(row.messages) for row in await connection.execute(query)}

    async def mapped(self, job_id: str) -> JobMapped | None:
        """Return how far the lanes are with a job's messages; None when they have seen none."""
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
    """Add messages that a lane is through with to those of their jobs."""
    rows = [
        {
            "job_id": each.job_id,
            "topic": topic,
            "partition": partition,
            "count": each.count,
            "mapped_at": micros(each.at),
        }
        for each in jobs
    ]
    if rows:
        new = database.insert(mapped_jobs)
        changed = {"count": mapped_jobs.c["count"] + new.excluded["count"], "mapped_at": new.excluded.mapped_at}
        keys = mapped_jobs.primary_key.columns
        await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=changed), rows)
