"""What the data plane keeps beside the views: by which rules raw messages are mapped, and who owns which profiles."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from app.store.database import Database
from app.store.tables import owners, pins


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that answers for a partition of profiles. `secret` is what it wants to see from those who ask."""

    url: str
    secret: str


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

    async def claim(self, partition: int, owner: Owner) -> None:
        """Note who answers for a partition from now on."""
        async with self._database.writing() as connection:
            facts = {"url": owner.url, "secret": owner.secret}
            new = self._database.insert(owners).values(partition=partition, **facts)
            keys = owners.primary_key.columns
            await connection.execute(new.on_conflict_do_update(index_elements=keys, set_=facts))

    async def owner(self, partition: int) -> Owner | None:
        """Return who answers for a partition; None when nobody ever did."""
        query = select(owners.c.url, owners.c.secret).filter_by(partition=partition)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).one_or_none()
        return None if found is None else Owner(found.url, found.secret)
