"""A generation of the job views that is filled beside the live one. The caller reads `jobs.events`."""

from collections.abc import Sequence

from app.store.database import Database
from app.store.models import EventRecord
from app.store.views import generations


class ViewRebuild:
    """Apply `jobs.events` from each `next_offset` on, then swap; apply more when that raises BehindError.

    The projector continues to write the live generation. Once this one has caught up, the projector writes both.
    """

    def __init__(self, database: Database, generation: int) -> None:
        self.generation = generation
        self._database = database

    async def apply(self, partition: int, records: Sequence[EventRecord]) -> None:
        """Apply events of a partition while the generation is being filled; once it is live, do nothing."""
        async with self._database.writing() as connection:
            stored = await generations.list_all(connection)
            if any(item.number == self.generation and item.state == generations.FILLING for item in stored):
                await generations.apply_new(self._database, connection, self.generation, partition, records)

    async def next_offset(self, partition: int) -> int:
        """Return the next offset of a partition; more than 0 at once when an unfinished rebuild is resumed."""
        async with self._database.reading() as connection:
            return (await generations.offsets_of(connection, self.generation)).get(partition, 0)

    async def swap(self) -> None:
        """Make this generation live for all readers and the projector, and drop the old one.

        Raises:
            BehindError: the live generation has events that this one lacks.

        """
        await generations.swap(self._database, self.generation)
        await generations.drop_retired(self._database)
