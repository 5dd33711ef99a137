"""A generation of the views being filled beside the live one. Who rebuilds reads `jobs.events` and hands it in here."""

from collections.abc import Sequence

from app.store.database import Database
from app.store.models import EventRecord
from app.store.views import generations


class ViewRebuild:
    """Apply `jobs.events` from each `next_offset` on, then swap; apply more when that says that it is behind.

    The projector goes on with the live generation. Where this one has caught up, the projector feeds both.
    """

    def __init__(self, database: Database, generation: int) -> None:
        self.generation = generation
        self._database = database

    async def apply(self, partition: int, records: Sequence[EventRecord]) -> None:
        """Count events of a partition, as `ReadStore.apply` does."""
        await generations.apply_to(self._database, self.generation, partition, records)

    async def next_offset(self, partition: int) -> int:
        """Return the offset that comes next; 0 at first, and more when an unfinished rebuild goes on."""
        async with self._database.reading() as connection:
            return (await generations.offsets_of(connection, self.generation)).get(partition, 0)

    async def swap(self) -> None:
        """Show this generation to all readers at once, let the projector go on with it, and drop the old one.

        Raises:
            BehindError: the live generation has events that this one lacks.

        """
        await generations.swap(self._database, self.generation)
        await generations.drop_retired(self._database)
