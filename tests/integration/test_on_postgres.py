"""All roles, with the views in PostgreSQL."""

from pathlib import Path

from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from schemas.commands import Counts
from tests.conftest import PostgresServer
from tests.integration.support.service import has, service


async def test_a_job_completes_with_its_views_in_postgresql(
    tmp_path: Path, empty_broker: Broker, postgres: PostgresServer
) -> None:
    database = await postgres.new_database()
    (tmp_path / "two.csv").write_text("id,name\n1,Ann\n2,Bob\n")
    async with service(tmp_path, empty_broker, database_url=database) as running:
        await running.create("two", tmp_path / "two.csv")
        events = await running.until("two", has("JobCompleted"))
        store = await ReadStore.open(database)
        try:
            await running.visible(store, "two", events[-1].seq)
            job = await store.jobs.get("two")
            assert job
            assert (job.status, job.total_counts) == ("Completed", Counts(read=2, accepted=2))
        finally:
            await store.close()
