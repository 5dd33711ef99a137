"""Views that were lost are made again by themselves, whatever the projector does meanwhile."""

from pathlib import Path

from app.control.rebuild_views import heal_views
from app.control.role import APP_ID
from app.kafka.clients import KafkaCluster
from app.kafka.partition_reader import PartitionReader
from app.store.models import EventRecord
from app.store.read_store import ReadStore
from schemas.commands import RenameJob
from schemas.topics import JOBS_EVENTS
from schemas.wire.codec import decode
from tests.integration.conftest import FreshBroker
from tests.integration.support.service import Service, at_least, service


async def shown_and_stopped(running: Service) -> ReadStore:
    """Let control show a job and commit; return the empty store that takes the place of the lost one."""
    await running.create("two", running.settings.data_dir / "two.csv")
    events = await running.until("two", at_least(2))
    store = await ReadStore.open(running.settings.database())
    await running.visible(store, "two", events[-1].seq)
    await running.stop_role("control")
    await store.close()
    for path in running.settings.data_dir.glob("views.db*"):
        path.unlink()
    return await ReadStore.open(running.settings.database())


async def test_a_loss_is_noticed_though_the_projector_was_faster(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    async with service(tmp_path, await fresh_broker(), ("control",), partitions=1) as running:
        store = await shown_and_stopped(running)
        try:
            applied = [await store.views.next_offset(0)]
            async with PartitionReader(KafkaCluster(running.broker.bootstrap_servers), JOBS_EVENTS.name, 0) as log:
                records = [
                    EventRecord(record.offset, decode(record.value), record.value) async for record in log.records()
                ]
            await store.views.apply(0, records[-1:])
            assert await store.jobs.get("two") is None
            await heal_views(running.settings, APP_ID, applied)
            assert await store.jobs.applied_seq("two") == records[-1].event.seq
        finally:
            await store.close()


async def test_a_start_without_the_views_shows_old_and_new_events(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    async with service(tmp_path, await fresh_broker(), ("control",), partitions=1) as running:
        store = await shown_and_stopped(running)
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
