"""Profiles survive kills of all roles that produce them, and damage to stores and snapshots."""

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.supervisor.broker.server import Broker
from projections.definitions.rebuild_spec import RebuildSpec, spec_text
from projections.profiles.partitioning import partition_of_key
from schemas.definitions import PromoteRebuild, StartRebuild
from schemas.topics import UPDATES
from tests.integration.api.rig import url_of
from tests.integration.support.plane import until_settled
from tests.integration.support.rebuilds import (
    COOKIE_IDENTITY,
    COOKIE_MAPPING,
    IDENTITY,
    SEED,
    VISITS_MAPPING,
    DataPlane,
    attributes_of,
    data_plane,
    expected,
    messages,
    ranked_keys,
    sampled_versions,
    traffic,
    write,
)
from tests.integration.support.service import TIMEOUT_SECONDS, TOKEN, has
from tests.profile_damage import DAMAGE, ProfileFiles, flip_bits

VICTIMS = ("api", "lane-realtime", "lane-backfill", "profiles")
KILLS = 12


async def collect(plane: DataPlane, session: aiohttp.ClientSession, path: str, body: bytes, key: str) -> dict[str, Any]:
    """Send until the request is acknowledged, with an idempotency key."""
    headers = {
        "Authorization": f"Bearer {TOKEN}", "Idempotency-Key": key,
        "Content-Type": "application/x-ndjson" if "/bulk/" in path else "application/json",
    }  # fmt: skip
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            try:
                async with session.post(await url_of(plane.service) + path, data=body, headers=headers) as response:
                    document = orjson.loads(await response.read())
                    if response.status < 300:
                        return dict(document["data"])
                    assert response.status in {409, 425, 429, 503}, document
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)  # the restart of the API sends no signal


async def test_acknowledged_messages_are_in_the_profiles_exactly_once_despite_kills(
    tmp_path: Path, empty_broker: Broker
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 18_000, 400)
    small, large = visits[:6_000], visits[6_000:]
    acknowledged: asyncio.Queue[int] = asyncio.Queue()

    async def client(number: int) -> list[str]:
        uploads = []
        async with aiohttp.ClientSession() as session:
            for n, at in enumerate(range(number * 100, len(small), 300)):
                body = orjson.dumps(small[at : at + 100])
                accepted = await collect(plane, session, "/collect/json/visits", body, f"small-{at}")
                acknowledged.put_nowait(accepted["message_count"])
                if n % 5 == 0:
                    begin = (number * 4 + n // 5) * 1_000
                    body = b"".join(orjson.dumps(visit) + b"\n" for visit in large[begin : begin + 1_000])
                    accepted = await collect(
                        plane, session, "/collect/bulk/visits?lane=backfill", body, f"large-{begin}"
                    )
                    uploads.append(accepted["upload_id"])
        return uploads

    async def killer() -> None:
        for _ in range(KILLS):
            for _ in range(4):
                assert await acknowledged.get() == 100
            await plane.service.kill(rng.choice(VICTIMS))

    async with data_plane(tmp_path, empty_broker, ("control", *VICTIMS)) as plane:
        uploads_of_clients, _ = await asyncio.gather(asyncio.gather(*(client(number) for number in range(3))), killer())
        await until_settled(plane.service)
        assert sum("SIGKILL" in line for line in plane.service.log_lines) >= KILLS - 1
        keys = ranked_keys(visits, email=0, cookie=1)
        assert attributes_of(await plane.profiles(keys)) == expected(visits, "cookie", "email")
        uploads = {upload for uploads in uploads_of_clients for upload in uploads}
        assert len(uploads) == 12
        for upload in uploads:
            events = await plane.service.until(upload, has("JobCompleted"))
            counts = [event.counts for event in events if type(event).__name__ == "JobProgressed"]
            assert sum(count.accepted for count in counts) == 1_000


# One for each way back: the previous snapshot, the newest snapshot, the update topics. A unit test has all of `DAMAGE`.
DAMAGES = (ProfileFiles.corrupt_snapshot_files, ProfileFiles.corrupt_stores, ProfileFiles.delete_everything)


async def until_snapshots_differ(files: ProfileFiles) -> None:
    """Poll until the newest snapshot of each partition has files that the older ones do not have."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not snapshots_differ(files):
            await asyncio.sleep(0.1)


def snapshots_differ(files: ProfileFiles) -> bool:
    try:
        return all(len(files.manifests(number)) > 1 and files.files(number) for number in files.partitions)
    except FileNotFoundError:  # an old snapshot was deleted meanwhile
        return False


async def test_profiles_recover_from_damage_to_stores_and_snapshots(tmp_path: Path, empty_broker: Broker) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 2_000, 200)
    roles = ("control", "lane-realtime", "lane-backfill", "profiles")
    async with data_plane(tmp_path, empty_broker, roles, snapshot_interval_seconds=1) as plane:
        files, running = ProfileFiles(plane.service.settings), plane.service
        await write(running, rng, visits)
        for number, damage in enumerate(DAMAGES):
            async with traffic(running, rng):
                await until_snapshots_differ(files)
                await running.stop_role("profiles")
            damage(files)
            more = messages(rng, 200, 200, begin=len(visits))
            await write(running, rng, more, f"more-{number}")
            visits += more
            log = running.settings.data_dir / "logs" / "profiles-0.log"
            log_size = log.stat().st_size
            await running.start_role("profiles")
            await until_settled(running)
            actual = attributes_of(await plane.profiles(ranked_keys(visits, email=0, cookie=1)))
            assert actual == expected(visits, "cookie", "email"), damage.__name__
            lines = log.read_bytes()[log_size:].decode()
            assert lines.count(dict(DAMAGE)[damage]) >= len(files.partitions), f"{damage.__name__}: {lines}"


async def test_a_partition_whose_data_is_lost_answers_nothing_until_a_rebuild(
    tmp_path: Path, empty_broker: Broker
) -> None:
    rng = random.Random(SEED)
    async with data_plane(tmp_path, empty_broker) as plane:
        visits = messages(rng, 500, 50)
        await write(plane.service, rng, visits)
        await until_settled(plane.service)
        await plane.service.stop_role("profiles")
        ProfileFiles(plane.service.settings).delete_stores()
        await delete_records(plane, [TopicPartition(UPDATES["backfill"].name, 0)])
        await plane.service.start_role("profiles")
        await plane.service.until_logged("Restore a newer snapshot, or rebuild")
        keys = ranked_keys(visits, email=0, cookie=1)
        roots = [f"{'00' if key.startswith('email') else '01'}:{key}" for key in expected(visits, "cookie", "email")]
        others = [root for root in roots if partition_of_key(root, plane.service.settings.partitions) != 0]
        assert len(await plane.profiles(others)) == len(others), "the other partitions answer"
        await plane.rebuild("rebuild:lost", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
        assert attributes_of(await plane.profiles(keys)) == expected(visits, "cookie", "email")


async def test_a_handed_over_snapshot_that_is_lost_before_it_is_opened_is_handed_over_again(
    tmp_path: Path, empty_broker: Broker
) -> None:
    rng = random.Random(SEED)
    async with data_plane(tmp_path, empty_broker) as plane:
        visits = messages(rng, 500, 50)
        await write(plane.service, rng, visits)
        await plane.send(StartRebuild, "rebuild:1", spec=spec_text(RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING})))
        await plane.until_status("rebuild:1", "ready")
        await plane.service.stop_role("profiles")
        await plane.send(PromoteRebuild, "rebuild:1")
        await plane.until_handed_over(1)
        snapshots = Path(plane.service.settings.snapshots())
        shutil.rmtree(snapshots / "partition-0" / "generation-1")
        for path in (snapshots / "partition-1" / "generation-1" / "files").iterdir():
            flip_bits(path)
        more = messages(rng, 500, 50, begin=500)  # read meanwhile by the partitions that can be opened
        await write(plane.service, rng, more, "more")
        visits += more
        await plane.service.start_role("profiles")
        await plane.service.until_logged("generation 1 has neither a store nor a snapshot")
        await plane.until_live(1)
        await until_settled(plane.service)  # lanes may still map what was written meanwhile
        assert attributes_of(await plane.profiles(ranked_keys(visits, email=0, cookie=1))) == expected(
            visits, "cookie", "email"
        )


async def delete_records(plane: DataPlane, partitions: list[TopicPartition]) -> None:
    """Delete all records of partitions, as retention does."""
    connection = plane.service.broker.cluster.connection()
    async with AIOKafkaConsumer(**connection) as consumer:
        ends = await consumer.end_offsets(partitions)
    admin = AIOKafkaAdminClient(**connection)
    await admin.start()
    try:
        await admin.delete_records({key: RecordsToDelete(before_offset=end) for key, end in ends.items()})
    finally:
        await admin.close()


@pytest.mark.parametrize("killed", ["rebuild", "profiles"])
async def test_readers_see_one_generation_although_a_role_is_killed_during_the_handover(
    tmp_path: Path, empty_broker: Broker, killed: str
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 1_500, 100)
    merged_keys, cookie_keys = ranked_keys(visits, email=0, cookie=1), ranked_keys(visits, cookie=0)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        await until_settled(plane.service)
        await plane.apply("identity", COOKIE_IDENTITY, activate=False)
        await plane.apply("mapping:visits", COOKIE_MAPPING, activate=False)
        async with sampled_versions(plane, [*merged_keys, *cookie_keys]) as samples, traffic(plane.service, rng):
            for generation, spec, keys, kinds in (
                (1, RebuildSpec(COOKIE_IDENTITY, {"visits": COOKIE_MAPPING}), cookie_keys, ("cookie",)),
                (2, RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}), merged_keys, ("cookie", "email")),
            ):
                name = f"rebuild:{generation}"
                await plane.send(StartRebuild, name, spec=spec_text(spec))
                await plane.until_status(name, "ready")
                await plane.send(PromoteRebuild, name)
                await plane.until_handed_over(generation)
                await plane.service.kill(killed)
                await plane.until_live(generation)
                assert attributes_of(await plane.profiles(keys)) == expected(visits, *kinds)
        assert {frozenset(versions) for versions in samples} == {frozenset({1}), frozenset({2})}
