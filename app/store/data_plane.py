"""What the data plane keeps beside the views: how raw messages are mapped, who answers for profiles, what is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select, update

from app.store.database import Database
from app.store.tables import pins, profile_owners, profile_stages, rebuild_progress

COMING: Final = "coming"
LIVE: Final = "live"
FORMER: Final = "former"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that answers for a partition of profiles. `secret` is what it wants to see from those who ask."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Generations:
    """The generation of profiles that is answered from, the one to be opened beside it, and the one that was before."""

    live: int = 0
    coming: int | None = None
    former: int | None = None


class PlaneStore:
    """The tables of the data plane, in the read store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note_rules(self, topic: str, partition: int, offset: int, rules_at: int) -> None:
        """Note that raw messages from `offset` on are mapped by the rules at `rules_at` of definitions.events."""
        async with self._database.writing() as connection:
            row = {"topic": topic, "partition": partition, "offset": offset, "rules_at": rules_at}
            new = self._database.insert(pins).values(**row)
            keys = pins.primary_key.columns
            await connection.execute(new.on_conflict_do_update(index_elements=keys, set_={"rules_at": rules_at}))

    async def rules_of(self, topic: str, partition: int) -> Sequence[tuple[int, int]]:
        """Return from which raw offsets on which rules hold, in order."""
        query = select(pins.c.offset, pins.c.rules_at).filter_by(topic=topic, partition=partition)
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(pins.c.offset))
            return [(int(row.offset), int(row.rules_at)) for row in found]

    async def claim(self, generation: int, partition: int, owner: Owner) -> None:
        """Note who answers for a partition of a generation from now on."""
        async with self._database.writing() as connection:
            facts = {"url": owner.url, "secret": owner.secret}
            new = self._database.insert(profile_owners).values(generation=generation, partition=partition, **facts)
            keys = profile_owners.primary_key.columns
            await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=facts))

    async def owner(self, generation: int, partition: int) -> Owner | None:
        """Return who answers for a partition; None when nobody ever did."""
        table = profile_owners
        query = select(table.c.url, table.c.secret).filter_by(generation=generation, partition=partition)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).one_or_none()
        return None if found is None else Owner(found.url, found.secret)

    async def answered(self, generation: int) -> frozenset[int]:
        """Return the partitions of a generation that somebody answers for."""
        query = select(profile_owners.c.partition).filter_by(generation=generation)
        async with self._database.reading() as connection:
            return frozenset(int(row.partition) for row in await connection.execute(query))

    async def stage(self) -> Generations:
        """Return which generations of profiles there are."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(profile_stages))
            by_stage = {row.stage: int(row.generation) for row in found}
        return Generations(by_stage.get(LIVE, 0), by_stage.get(COMING), by_stage.get(FORMER))

    async def hand_over(self, generation: int) -> None:
        """Let the owners open a generation that was built, beside the live one."""
        async with self._database.writing() as connection:
            row = self._database.insert(profile_stages).values(generation=generation, stage=COMING)
            await connection.execute(row.on_conflict_do_nothing())

    async def go_live(self, generation: int, before: int) -> None:
        """Have all look-ups answered from a generation, from one moment to the next, and not from `before`."""
        table = profile_stages
        async with self._database.writing() as connection:
            await connection.execute(delete(table).where(table.c.generation != generation))
            await connection.execute(update(table).values(stage=LIVE))
            await connection.execute(table.insert().values(generation=before, stage=FORMER))
            await connection.execute(delete(profile_owners).where(profile_owners.c.generation < before))

    async def note_progress(self, rebuild_id: str, progress: bytes) -> None:
        """Note how far a rebuild is, as JSON."""
        async with self._database.writing() as connection:
            new = self._database.insert(rebuild_progress).values(rebuild_id=rebuild_id, progress=progress)
            keys = rebuild_progress.primary_key.columns
            await connection.execute(new.on_conflict_do_update(index_elements=keys, set_={"progress": progress}))

    async def progress(self, rebuild_id: str) -> bytes | None:
        """Return how far a rebuild is."""
        query = select(rebuild_progress.c.progress).filter_by(rebuild_id=rebuild_id)
        async with self._database.reading() as connection:
            found: bytes | None = (await connection.execute(query)).scalar_one_or_none()
        return found
