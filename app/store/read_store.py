"""Opens the read store: one database, and the stores that share it."""

from dataclasses import dataclass

from app.store.data_plane import PlaneStore
from app.store.database import Database, open_database
from app.store.idempotency import IdempotencyStore
from app.store.lanes import LaneStore
from app.store.sealing_key import SealingKeyStore
from app.store.stream_stats import StreamStats
from app.store.views import generations
from app.store.views.job_history import JobHistory
from app.store.views.job_lists import JobLists
from app.store.views.live import LiveViews


@dataclass(frozen=True, slots=True)
class ReadStore:
    """The parts of an open read store; any number of processes may have one open on the same database."""

    database: Database
    views: LiveViews
    jobs: JobLists
    history: JobHistory
    streams: StreamStats
    lanes: LaneStore
    plane: PlaneStore
    requests: IdempotencyStore
    sealing_key: SealingKeyStore

    @classmethod
    async def open(cls, database_url: str) -> "ReadStore":
        """Open the read store and create its tables when there are none; safe when several processes start at once.

        `database_url` is `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://…`.

        Raises:
            UnknownDatabaseError: it is something else.

        """
        database = open_database(database_url)
        try:
            await generations.get_or_create(database, generations.LIVE)
            await generations.drop_retired(database)
        except BaseException:
            await database.close()
            raise
        views = LiveViews(database)
        return cls(
            database,
            views,
            JobLists(views),
            JobHistory(views),
            StreamStats(database),
            LaneStore(database),
            PlaneStore(database),
            IdempotencyStore(database),
            SealingKeyStore(database),
        )

    async def close(self) -> None:
        """Close the database; no part can be used any more."""
        await self.database.close()
