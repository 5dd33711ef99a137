"""The lanes in the read store: pause switches, owners of partitions, offsets, and mapped messages of each job."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database, upsert
from app.store.models import JobMapped, LaneRejected, LaneSwitch, StaleOwnerError
from app.store.tables import (
    NO_GENERATION,
    confirmed_rules,
    lane_owners,
    lane_rejected,
    lane_switches,
    mapped_jobs,
    offsets,
    streams,
)
from schemas.instants import micros, moment
from schemas.topics import LANES

UNCLAIMED: Final = ""  # the owner of a partition that no worker has claimed
LANE_OF: Final = {topic.name: lane for lane, topic in LANES.items()}


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
            await connection.execute(upsert(insert, values, changes))

    async def switches(self) -> Mapping[str, LaneSwitch]:
        """Return the switch of each lane that was ever paused."""
        async with self._database.reading() as connection:
            rows = await connection.execute(select(lane_switches))
            return {row.lane: LaneSwitch(bool(row.paused), row.by, moment(row.at)) for row in rows}

    async def is_paused(self, lane: str) -> bool:
        """Return whether a lane is paused."""
        query = select(lane_switches.c.paused).filter_by(lane=lane)
        async with self._database.reading() as connection:
            return bool((await connection.execute(query)).scalar_one_or_none())

    async def claim(self, topic: str, partitions: Iterable[int], owner: str) -> None:
        """Record the worker that owns partitions from now on, and that it has not confirmed any rules yet.

        What a former owner writes afterwards is refused. Its confirmation remains.
        """
        rows = [{"topic": topic, "partition": number, "owner": owner} for number in sorted(partitions)]
        insert = self._database.insert(lane_owners)
        changes = {"owner": insert.excluded.owner}
        async with self._database.writing() as connection:
            await connection.execute(upsert(insert, changes), rows)
            await connection.execute(
                self._database.insert(confirmed_rules).on_conflict_do_nothing(),
                [{"topic": topic, "partition": row["partition"], "rules_offset": 0} for row in rows],
            )

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

    async def rejected(self) -> Sequence[LaneRejected]:
        """Return the number of dead letters of each lane by code."""
        table, total = lane_rejected.c, func.sum(lane_rejected.c["count"])
        query = select(table.topic, table.code, total).group_by(table.topic, table.code)
        async with self._database.reading() as connection:
            rows = await connection.execute(query)
            return [LaneRejected(LANE_OF[topic], code, int(count)) for topic, code, count in rows]

    async def mapped(self, job_id: str) -> JobMapped | None:
        """Return how many of a job's messages the lanes have mapped; None when there are none."""
        table = mapped_jobs.c
        query = select(func.sum(table["count"]).label("messages"), func.max(table.mapped_at).label("mapped_at"))
        async with self._database.reading() as connection:
            row = (await connection.execute(query.filter_by(job_id=job_id))).one()
        if row.messages is None:
            return None
        return JobMapped(job_id=job_id, count=int(row.messages), at=moment(row.mapped_at))


async def check_owner(connection: AsyncConnection, topic: str, partitions: Iterable[int], owner: str) -> None:
    """Check that a worker owns partitions. No other one can claim them until the transaction ends.

    Raises:
        StaleOwnerError: another worker has claimed one of them.

    """
    table, numbers = lane_owners.c, sorted(partitions)
    query = select(table.partition, table.owner).where(table.topic == topic, table.partition.in_(numbers))
    rows = await connection.execute(query.order_by(table.partition).with_for_update(read=True))
    owners = {row.partition: row.owner for row in rows}
    for number in numbers:
        if owners.get(number, UNCLAIMED) != owner:
            raise StaleOwnerError(f"another worker owns {topic}/{number}")


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
        await connection.execute(upsert(insert, changes), rows)


async def add_rejected(
    database: Database, connection: AsyncConnection, topic: str, partition: int, rejected: Sequence[tuple[str, int]]
) -> None:
    """Add new dead letters to the counts of their codes."""
    rows = [{"topic": topic, "partition": partition, "code": code, "count": count} for code, count in rejected]
    if rows:
        insert = database.insert(lane_rejected)
        changes = {"count": lane_rejected.c["count"] + insert.excluded["count"]}
        await connection.execute(upsert(insert, changes), rows)
