"""Lost views are rebuilt automatically, also when the projector has already written to the new database."""

from pathlib import Path

from app.control.rebuild_views import heal_views
from app.control.role import APP_ID
from app.kafka.partition_reader import PartitionReader
from app.records.partitioning import partition_of
from app.store.models import EventRecord
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from projections.jobs.event_checks import read_event
from schemas.commands import RenameJob
from schemas.topics import JOBS_EVENTS
from tests.integration.support.service import Service, at_least, service


async def empty_store_after_a_job(running: Service) -> ReadStore:
    """Let control project a job, stop it, delete the database, and return an empty one."""
    await running.create("two", running.settings.data_dir / "two.csv")
    events = await running.until("two", at_least(2))
    store = await ReadStore.open(running.settings.database())
    await running.visible(store, "two", events[-1].seq)
    await running.stop_role("control")
    await store.close()
    for path in running.settings.data_dir.glob("views.db*"):
        path.unlink()
    return await ReadStore.open(running.settings.database())


async def test_a_lost_database_is_detected_after_the_projector_has_written_to_the_new_one(
    tmp_path: Path, empty_broker: Broker
) -> None:
    async with service(tmp_path, empty_broker, ("control",)) as running:
        store = await empty_store_after_a_job(running)
        try:
            partitions = running.settings.partitions
            number = partition_of("two", partitions)
            applied = [await store.views.next_offset(other) for other in range(partitions)]
            async with PartitionReader(running.broker.cluster, JOBS_EVENTS.name, number) as log:
                records = [
                    EventRecord(record.offset, read_event(record.value), record.value) async for record in log.records()
                ]
            await store.views.apply(number, records[-1:])
            assert await store.jobs.get("two") is None
            await heal_views(running.broker.cluster, running.settings, APP_ID, applied)
            assert await store.jobs.applied_seq("two") == records[-1].event.seq
        finally:
            await store.close()


async def test_a_start_without_views_projects_old_and_new_events(tmp_path: Path, empty_broker: Broker) -> None:
    async with service(tmp_path, empty_broker, ("control",)) as running:
        store = await empty_store_after_a_job(running)
        try:
            await running.send(RenameJob, "two", name="Renamed", description="")
            await running.start_role("control")
            events = await running.until("two", at_least(3))
            await running.visible(store, "two", events[-1].seq)
            job = await store.jobs.get("two")
            assert job
            assert job.name == "Renamed"
        finally:
            await store.close()
