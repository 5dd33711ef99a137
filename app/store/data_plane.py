"""The data plane in the read store: rules of raw messages, owners and generations of profiles, rebuild progress."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database, upsert
from app.store.lanes import UNCLAIMED, check_owner
from app.store.tables import (
    applied_rules,
    confirmed_rules,
    lane_owners,
    profile_generations,
    profile_owners,
    rebuild_progress,
)
from schemas.topics import LANES

NEXT: Final = "next"
LIVE: Final = "live"
PREVIOUS: Final = "previous"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that answers look-ups in a partition of profiles. Callers have to send `secret`."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Generations:
    """The generation of profiles that answers look-ups, the one to open beside it, and the one that it replaced."""

    live: int = 0
    next: int | None = None
    previous: int | None = None


class PlaneStore:
    """The tables of the data plane, in the read store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_rules(
        self, topic: str, partition: int, offset: int, rules_offset: int, owner: str = UNCLAIMED
    ) -> None:
        """Record that raw messages from `offset` on are mapped by the rules at `rules_offset` of definitions.events.

        Raises:
            StaleOwnerError: another worker has claimed the partition.

        """
        row = {"topic": topic, "partition": partition, "offset": offset, "rules_offset": rules_offset}
        insert = self._database.insert(applied_rules).values(**row)
        async with self._database.writing() as connection:
            await check_owner(connection, topic, [partition], owner)
            await connection.execute(upsert(insert, {"rules_offset": rules_offset}))

    async def rules_of(self, topic: str, partition: int) -> Sequence[tuple[int, int]]:
        """Return the raw offsets where the rules change, in order, each with the offset of the rules from there on."""
        table = applied_rules.c
        query = select(table.offset, table.rules_offset).filter_by(topic=topic, partition=partition)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(table.offset))
            return [(int(row.offset), int(row.rules_offset)) for row in rows]

    async def confirm_rules(
        self, topic: str, partitions: Collection[int], rules_offset: int, owner: str = UNCLAIMED
    ) -> int:
        """Record that raw messages are mapped by the rules at `rules_offset` or newer ones from now on.

        A confirmation of newer rules remains. Return the offset of the newest rules that are confirmed.

        Raises:
            StaleOwnerError: another worker has claimed one of the partitions.

        """
        async with self._database.writing() as connection:
            await check_owner(connection, topic, partitions, owner)
            await self._confirm(connection, [(topic, number) for number in partitions], rules_offset)
            return await _newest_confirmed(connection, topic, partitions)

    async def confirmed(self, topic: str, partitions: Iterable[int]) -> int:
        """Return the offset of the newest rules that are confirmed for any of these partitions; 0 when none are."""
        async with self._database.reading() as connection:
            return await _newest_confirmed(connection, topic, partitions)

    async def unconfirmed(self, rules_offset: int) -> Sequence[tuple[str, int]]:
        """Return the raw partitions (topic, number) whose lane may still map messages by rules before an offset.

        A partition that no lane has claimed is not among them.
        """
        table = confirmed_rules.c
        query = select(table.topic, table.partition).where(table.rules_offset < rules_offset)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(table.topic, table.partition))
            return [(row.topic, int(row.partition)) for row in rows]

    async def confirm_unclaimed(self, partitions: int, rules_offset: int) -> None:
        """Confirm rules for the raw partitions that no lane has claimed, so that their first owner uses them.

        Each raw topic has `partitions` partitions.
        """
        sources = {(topic.name, number) for topic in LANES.values() for number in range(partitions)}
        async with self._database.writing() as connection:
            claimed = await connection.execute(select(lane_owners.c.topic, lane_owners.c.partition))
            unclaimed = sorted(sources - {(row.topic, int(row.partition)) for row in claimed})
            if unclaimed:
                await self._confirm(connection, unclaimed, rules_offset)

    async def _confirm(
        self, connection: AsyncConnection, sources: Iterable[tuple[str, int]], rules_offset: int
    ) -> None:
        rows = [{"topic": topic, "partition": number, "rules_offset": rules_offset} for topic, number in sources]
        insert = self._database.insert(confirmed_rules)
        confirmed = insert.excluded.rules_offset
        is_newer = confirmed_rules.c.rules_offset < confirmed
        changes = {"rules_offset": confirmed}
        await connection.execute(upsert(insert, changes, is_newer), rows)

    async def claim(self, generation: int, partition: int, owner: Owner) -> None:
        """Record the owner of a partition of a generation."""
        values = {"url": owner.url, "secret": owner.secret}
        insert = self._database.insert(profile_owners).values(generation=generation, partition=partition, **values)
        async with self._database.writing() as connection:
            await connection.execute(upsert(insert, values))

    async def owner(self, generation: int, partition: int) -> Owner | None:
        """Return the owner of a partition; None when it never had one."""
        table = profile_owners
        query = select(table.c.url, table.c.secret).filter_by(generation=generation, partition=partition)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Owner(row.url, row.secret)

    async def owned(self, generation: int) -> frozenset[int]:
        """Return the partitions of a generation that have an owner."""
        query = select(profile_owners.c.partition).filter_by(generation=generation)
        async with self._database.reading() as connection:
            return frozenset(int(row.partition) for row in await connection.execute(query))

    async def generations(self) -> Generations:
        """Return the generations of profiles."""
        async with self._database.reading() as connection:
            rows = await connection.execute(select(profile_generations))
            by_state = {row.state: int(row.generation) for row in rows}
        return Generations(by_state.get(LIVE, 0), by_state.get(NEXT), by_state.get(PREVIOUS))

    async def open_next(self, generation: int) -> None:
        """Record the next generation, which owners open beside the live one."""
        insert = self._database.insert(profile_generations).values(generation=generation, state=NEXT)
        async with self._database.writing() as connection:
            await connection.execute(insert.on_conflict_do_nothing())

    async def activate(self, generation: int, previous: int) -> None:
        """Make a generation live in place of the previous one, in one step for all look-ups."""
        table = profile_generations
        async with self._database.writing() as connection:
            await connection.execute(delete(table).where(table.c.generation != generation))
            await connection.execute(update(table).values(state=LIVE))
            await connection.execute(table.insert().values(generation=previous, state=PREVIOUS))
            await connection.execute(delete(profile_owners).where(profile_owners.c.generation < previous))

    async def save_progress(self, rebuild_id: str, progress: bytes) -> None:
        """Store the progress of a rebuild, as JSON."""
        insert = self._database.insert(rebuild_progress).values(rebuild_id=rebuild_id, progress=progress)
        async with self._database.writing() as connection:
            await connection.execute(upsert(insert, {"progress": progress}))

    async def progress(self, rebuild_id: str) -> bytes | None:
        """Return the progress of a rebuild, as JSON; None when it has not started."""
        query = select(rebuild_progress.c.progress).filter_by(rebuild_id=rebuild_id)
        async with self._database.reading() as connection:
            progress: bytes | None = (await connection.execute(query)).scalar_one_or_none()
        return progress


async def _newest_confirmed(connection: AsyncConnection, topic: str, partitions: Iterable[int]) -> int:
    table = confirmed_rules.c
    newest = select(func.max(table.rules_offset)).where(table.topic == topic, table.partition.in_(partitions))
    return int((await connection.execute(newest)).scalar_one() or 0)
