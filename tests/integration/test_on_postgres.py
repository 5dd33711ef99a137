"""All roles, with the views in PostgreSQL."""

from pathlib import Path

import asyncpg

from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from app.supervisor.master_key import prepare_master_key
from schemas.commands import Counts
from tests.canary import found_in
from tests.conftest import PostgresServer
from tests.integration.api.rig import url_of
from tests.integration.support import canaries
from tests.integration.support.service import TOKEN, Service, has, service


async def test_a_job_completes_with_its_views_in_postgresql_and_secrets_are_found_nowhere_in_it(
    tmp_path: Path, empty_broker: Broker, postgres: PostgresServer
) -> None:
    database = await postgres.new_database()
    (tmp_path / "two.csv").write_text("id,name\n1,Ann\n2,Bob\n")
    async with service(tmp_path, empty_broker, database_url=database, allow_private_networks=True) as running:
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
        await run_jobs_with_secrets(running)
    rows = await stored(database)
    assert {table: forms for table, data in rows.items() if (forms := found_in(data))} == {}
    sealed = {table.partition("_g")[0] for table, data in rows.items() if b"$sealed" in data}
    assert sealed == {"events", "states"}, "what is searched is complete"


async def run_jobs_with_secrets(running: Service) -> None:
    assert await prepare_master_key(running.settings, running.broker.cluster) == ""
    with canaries.source() as host:
        jobs, _ = await canaries.run_jobs(await url_of(running), TOKEN, host)
    assert {name: job["status"] for name, job in jobs.items()} == dict.fromkeys(jobs, "Failed") | {"valid": "Completed"}


async def stored(database: str) -> dict[str, bytes]:
    """Return the values of all rows, by table."""
    connection = await asyncpg.connect(database.replace("+asyncpg", ""))
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            table: b"\n".join(
                value if isinstance(value, bytes) else str(value).encode()
                for row in await connection.fetch(f'SELECT * FROM "{table}"')
                for value in row
            )
            for (table,) in tables
        }
    finally:
        await connection.close()
