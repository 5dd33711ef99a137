"""The lag of lanes and profiles: sampled, shown, and while Kafka is away unknown; and lanes that are paused."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition

from app.api.services import lag_monitor
from app.api.services.lag_monitor import PROFILES_GROUP, LagMonitor, UnknownLagError
from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from app.store.models import JobMapped
from app.store.read_store import ReadStore
from schemas.topics import LANES, UPDATES_BACKFILL
from tests.clock import ManualMonotonic
from tests.integration.api.rig import Client, as_caller
from tests.unit.api.conftest import PARTITIONS, Api, WallClock, until_status
from tests.unit.api.test_profiles import rules  # noqa: F401  # a fixture

BACKFILL = LANES["backfill"].name
UPDATES = UPDATES_BACKFILL.name


@pytest.fixture
def store(api: Api) -> ReadStore:
    return api.services.store


@pytest.fixture
def monotonic() -> ManualMonotonic:
    return ManualMonotonic()


@pytest.fixture
async def monitor(
    cluster: MemoryCluster, store: ReadStore, clock: WallClock, monotonic: ManualMonotonic
) -> AsyncIterator[LagMonitor]:
    connections = cluster.connections
    monitor = LagMonitor(cluster, PARTITIONS, store.lanes, clock, monotonic)
    yield monitor
    await monitor.stop()
    assert cluster.connections == connections


async def write(cluster: MemoryCluster, topic: str, count: int, partition: int = 0) -> None:
    """Write records in one transaction, which ends with a marker."""
    producer = cluster.transactional_producer("test", 1_000)
    async with started(producer):
        await producer.begin_transaction()
        await send(producer, [ProducerRecord(topic, b"record", partition=partition) for _ in range(count)])
        await producer.commit_transaction()


async def advance_profiles(cluster: MemoryCluster, offset: int) -> None:
    """Commit an offset of profiles."""
    partition = TopicPartition(UPDATES, 0)
    async with started(cluster.group_consumer(PROFILES_GROUP)) as consumer:
        consumer.assign([partition])
        await consumer.commit({partition: offset})


async def test_the_lag_is_what_lanes_and_profiles_have_not_read(
    cluster: MemoryCluster, store: ReadStore, monitor: LagMonitor, clock: WallClock
) -> None:
    await write(cluster, BACKFILL, 3)
    clock.advance(minutes=1)
    await write(cluster, BACKFILL, 1, partition=1)
    await write(cluster, UPDATES, 2)
    await store.streams.add(BACKFILL, 0, 0, 1, [])
    await advance_profiles(cluster, 1)
    (sample,) = await monitor.samples()
    behind = {partition: sample.lag(partition) for partition in sample.ends if sample.lag(partition)}
    assert behind == {(BACKFILL, 0): 3, (BACKFILL, 1): 2, (UPDATES, 0): 2}, "with the marker"
    now = clock()
    clock.advance(minutes=-1)
    assert sample.waiting == {(BACKFILL, 0): clock(), (BACKFILL, 1): now, (UPDATES, 0): now}
    assert sample.sampled_at == now


async def test_a_marker_at_the_end_is_no_lag(
    cluster: MemoryCluster, store: ReadStore, monitor: LagMonitor, monotonic: ManualMonotonic
) -> None:
    await write(cluster, BACKFILL, 2)
    await store.streams.add(BACKFILL, 0, 0, 2, [])
    for _ in range(2):
        sample = (await monitor.samples())[-1]
        assert (sample.ends[BACKFILL, 0], sample.lag((BACKFILL, 0)), dict(sample.waiting)) == (3, 0, {})
        monotonic.now += 1
    await write(cluster, BACKFILL, 1)
    assert (await monitor.samples())[-1].lag((BACKFILL, 0)) == 2


async def test_samples_of_the_last_minute_are_kept(monitor: LagMonitor, monotonic: ManualMonotonic) -> None:
    (first,) = await monitor.samples()
    monotonic.now += 0.5
    assert await monitor.samples() == (first,), "a young sample is used again"
    monotonic.now += 0.1
    _, second = await monitor.samples()
    monotonic.now = second.at + 60
    assert [sample.at for sample in await monitor.samples()] == [second.at, second.at + 60]


async def test_a_moment_is_passed_once_everything_before_it_is_read(
    cluster: MemoryCluster, monitor: LagMonitor, clock: WallClock, monotonic: ManualMonotonic
) -> None:
    await write(cluster, UPDATES, 1)
    written = clock()
    clock.advance(seconds=1)
    assert not await monitor.has_passed([UPDATES], written)
    assert await monitor.has_passed([BACKFILL], written)
    await advance_profiles(cluster, 2)
    assert not await monitor.has_passed([UPDATES], written), "a young sample is used again"
    monotonic.now += 1
    assert await monitor.has_passed([UPDATES], written)
    cluster.set_available(available=False)
    monotonic.now += 1
    assert await monitor.has_passed([UPDATES], written), "an old sample is enough"
    assert not await monitor.has_passed([UPDATES], clock()), "unknown"


async def test_while_kafka_is_away_requests_for_the_lag_fail_at_once(
    cluster: MemoryCluster, monitor: LagMonitor, monotonic: ManualMonotonic
) -> None:
    cluster.set_available(available=False)
    with pytest.raises(UnknownLagError) as first:
        await monitor.samples()
    monotonic.now += 1
    with pytest.raises(UnknownLagError) as second:
        await monitor.samples()
    assert first.value.__cause__ is not None
    assert second.value.__cause__ is None, "it was not retried"
    assert str(second.value) == str(first.value)
    monotonic.now += 1
    with pytest.raises(UnknownLagError) as third:
        await monitor.samples()
    assert third.value.__cause__ is not None
    cluster.set_available(available=True)
    monotonic.now += 2
    assert len(await monitor.samples()) == 1


# Over HTTP


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a sample for each request."""
    monkeypatch.setattr(lag_monitor, "MAX_AGE_SECONDS", -1.0)


@pytest.mark.usefixtures("fresh")
async def test_lanes_show_their_lag_by_step_and_partition(
    client: Client, cluster: MemoryCluster, clock: WallClock
) -> None:
    for lane in await client.get("/v2/lane"):
        for step in ("mapping", "profiles"):
            assert (lane[step]["lag"], lane[step]["eta_seconds"], lane[step]["oldest_pending_at"]) == (0, 0, None)
    await client.post("/collect/json/people?lane=backfill", {"id": 1})
    await write(cluster, UPDATES, 1)
    clock.advance(hours=1)
    realtime, backfill = await client.get("/v2/lane")
    assert (realtime["name"], realtime["mapping"]["lag"]) == ("realtime", 0)
    assert (backfill["mapping"]["lag"], backfill["mapping"]["oldest_pending_at"]) == (1, "2026-05-04T12:00:00Z")
    assert (backfill["mapping"]["topic"], backfill["profiles"]["topic"]) == (BACKFILL, UPDATES)
    detail = await client.get("/v2/lane/backfill")
    partitions = detail["mapping"]["partitions"]
    assert sorted((item["partition"], item["lag"]) for item in partitions) in ([(0, 0), (1, 1)], [(0, 1), (1, 0)])
    assert [(item["position"], item["end"]) for item in detail["profiles"]["partitions"]] == [(0, 2), (0, 0)]
    metrics = (await client.ask("GET", "/metrics")).body.decode()
    assert 'entrepot_lane_lag_records{lane="backfill",step="mapping"} 1.0' in metrics
    assert 'entrepot_lane_lag_seconds{lane="backfill",step="mapping"} 3600.0' in metrics
    assert 'entrepot_lane_lag_seconds{lane="realtime",step="mapping"} 0.0' in metrics
    assert 'entrepot_lane_paused{lane="backfill"} 0.0' in metrics


@pytest.mark.usefixtures("fresh")
async def test_dead_letters_are_counted(client: Client) -> None:
    assert "entrepot_dead_letters 0.0\n" in (await client.ask("GET", "/metrics")).body.decode()
    await client.post("/collect/json/people?on_error=quarantine", [{"id": 1}, "no object"])
    metrics = (await client.ask("GET", "/metrics")).body.decode()
    assert "entrepot_dead_letters " in metrics
    assert "entrepot_dead_letters 0.0\n" not in metrics


@pytest.mark.usefixtures("fresh")
async def test_the_backfill_lane_is_paused_and_resumed(client: Client, clock: WallClock) -> None:
    await client.post("/collect/json/people?lane=backfill", {"id": 1})
    paused = await client.ask("POST", "/v2/lane/backfill/pause")
    assert (paused.data["paused"], paused.body["message"]) == (True, "paused")
    assert (paused.data["switched_by"], paused.data["switched_at"]) == ("user:admin", "2026-05-04T12:00:00Z")
    assert paused.data["mapping"]["eta_seconds"] is None
    clock.advance(hours=1)
    assert (await client.post("/v2/lane/backfill/pause"))["switched_at"] == "2026-05-04T12:00:00Z", "it was paused"
    assert 'entrepot_lane_paused{lane="backfill"} 1.0' in (await client.ask("GET", "/metrics")).body.decode()
    resumed = await client.ask("POST", "/v2/lane/backfill/resume")
    assert (resumed.data["paused"], resumed.body["message"]) == (False, "resumed")


async def test_the_real_time_lane_cannot_be_paused_and_pausing_needs_a_role(client: Client) -> None:
    refused = await client.ask("POST", "/v2/lane/realtime/pause")
    assert (refused.status, refused.body["code"]) == (409, "never_paused")
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume")):
        assert (await client.ask(method, f"/v2/lane/sideways{path}")).body["code"] == "no_such_lane"
    token = (await client.post("/v2/token", {"name": "watcher", "role": "operator"}))["token"]
    async with as_caller(client.url, token) as watcher:
        assert (await watcher.ask("GET", "/v2/lane")).status == 200
        assert (await watcher.ask("POST", "/v2/lane/backfill/pause")).status == 403


@pytest.mark.usefixtures("fresh")
async def test_while_kafka_is_away_the_lag_is_a_problem(client: Client, cluster: MemoryCluster) -> None:
    assert (await client.ask("GET", "/v2/lane")).status == 200
    cluster.set_available(available=False)
    for path in ("/v2/lane", "/v2/lane/backfill"):
        refused = await client.ask("GET", path)
        assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, "unknown_lag", "2")
    assert (await client.ask("GET", "/metrics")).status == 200


@pytest.mark.usefixtures("fresh", "rules")
async def test_an_upload_is_complete_once_it_is_applied_to_profiles(
    client: Client, cluster: MemoryCluster, store: ReadStore, clock: WallClock
) -> None:
    upload = await client.ask("POST", "/collect/bulk/visits", raw=b"id\n1\n2\n", Content_Type="text/csv")
    job_id = upload.data["upload_id"]
    await until_status(client, job_id, "Completed")

    async def progress() -> tuple[Any, ...]:
        shown = (await client.get(f"/v2/job/{job_id}"))["profiles"]
        return shown["written"], shown["mapped"], shown["complete"]

    assert await progress() == (2, 0, False)
    await write(cluster, UPDATES, 1)
    clock.advance(seconds=1)
    await store.streams.add(BACKFILL, 0, 0, 2, [], [JobMapped(job_id=job_id, count=1, at=clock())])
    assert await progress() == (2, 1, False)
    await store.streams.add(BACKFILL, 0, 2, 4, [], [JobMapped(job_id=job_id, count=2, at=clock())])
    clock.advance(seconds=1)
    assert await progress() == (2, 2, False), "profiles have not read the updates"
    await advance_profiles(cluster, 2)
    assert await progress() == (2, 2, True)


@pytest.mark.usefixtures("fresh", "rules")
@pytest.mark.parametrize(("stream", "is_complete"), [("visits", True), ("people", False)])
async def test_an_upload_without_messages_is_complete_unless_its_stream_has_no_mapping(
    client: Client, stream: str, *, is_complete: bool
) -> None:
    upload = await client.ask("POST", f"/collect/bulk/{stream}", raw=b"id\n", Content_Type="text/csv")
    job = await client.get(f"/v2/job/{upload.data['upload_id']}")
    assert (job["profiles"]["complete"], job["profiles"]["written"]) == (is_complete, 0)
