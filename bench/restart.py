"""Time until `profiles` serves a million profiles after a restart, from local stores and from snapshots."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.kafka.clients import KafkaCluster
from app.kafka.cluster import cluster_of
from app.profile_store.partition_store import PartitionStore
from app.profile_store.snapshots import Snapshots
from app.profiles.lookup_client import PartitionUnavailable, ProfilesClient
from app.store.read_store import ReadStore
from app.supervisor.environment import environment_of
from bench.figures import Figure
from bench.plane import TIMEOUT_SECONDS, Plane, data_plane, packs

PROFILES = 1_000_000
STOCK_KEYS = 40_000
STOCK_CHANGELOG = "bench.recovery-aircraft-changelog"
SAMPLE_PROFILES = 200  # spread over all partitions
POLL_INTERVAL_SECONDS = 0.02
WARM_GOAL_SECONDS = 2.0
SNAPSHOT_GOAL = 100_000


async def restart(folder: Path) -> list[Figure]:
    """Create a profile per message; then restart with local stores, and without them."""
    async with data_plane(folder) as plane:
        await asyncio.to_thread(plane.write, "realtime", packs(_aircraft()))
        await plane.start("lane-realtime", "profiles")
        await plane.settled("realtime")
        await plane.stop()
        warm = await _seconds_to_serving(plane)
        await _take_snapshots(plane)
        await asyncio.to_thread(shutil.rmtree, plane.settings.data_dir / "profiles")
        cold = await _seconds_to_serving(plane)
        stock = await _stock_rate(plane)
    from_snapshots, goal = PROFILES / cold, f"≥ {SNAPSHOT_GOAL:,} profiles/s"
    changelog = f"stock Faust, changelog of {STOCK_KEYS:,} keys"
    return [
        Figure("restart with 1 M profiles, warm", warm, "s", "≤ 2 s", warm <= WARM_GOAL_SECONDS, PROFILES / stock,
               f"{changelog}, scaled to 1 M"),
        Figure("the same from snapshots", from_snapshots, "profiles/s", goal, from_snapshots >= SNAPSHOT_GOAL, stock,
               changelog),
    ]  # fmt: skip


def _flight(number: int) -> bytes:
    return orjson.dumps(
        {"tailnum": f"N{number:07d}", "origin": "JFK", "dest": "LAX", "carrier": "AA", "distance": 2475 + number % 100,
         "time_hour": "2013-01-01T10:00:00Z"}
    )  # fmt: skip


def _aircraft() -> Iterator[bytes]:
    return (_flight(number) for number in range(PROFILES))


async def _seconds_to_serving(plane: Plane) -> float:
    """Start `profiles`, measure the time until it serves all partitions, and stop it."""
    keys = [f"00:tail:N{number:07d}" for number in range(0, PROFILES, PROFILES // SAMPLE_PROFILES)]
    store = await ReadStore.open(plane.settings.database())
    try:
        async with ProfilesClient(store.plane, plane.settings.partitions) as client, asyncio.timeout(TIMEOUT_SECONDS):
            started = time.perf_counter()
            await plane.start("profiles")
            while not await _all_served(client, keys):  # noqa: ASYNC110  # serving can only be polled
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
            seconds = time.perf_counter() - started
        await plane.stop()
    finally:
        await store.close()
    return seconds


async def _all_served(client: ProfilesClient, keys: list[str]) -> bool:
    try:
        return None not in await (await client.reader()).nodes(keys)
    except PartitionUnavailable:
        return False


async def _take_snapshots(plane: Plane) -> None:
    snapshots = Snapshots.at(plane.settings.snapshots())
    for number in range(plane.settings.partitions):
        store = PartitionStore.open(plane.settings.data_dir / "profiles" / f"0.{number}")
        await snapshots.take(store, number, 0)
        store.close()


async def _stock_rate(plane: Plane) -> float:
    """Write a changelog, run `bench.stock_recovery`, and return its keys per second."""
    settings = plane.settings
    await _write_changelog(cluster_of(settings), settings.partitions)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stock_recovery", env=environment_of(settings),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(worker.communicate(), TIMEOUT_SECONDS)
    keys, seconds = output.split()[-2:]  # after the spinner of Faust
    assert int(keys) == STOCK_KEYS, f"{keys!r} keys were recovered"
    return STOCK_KEYS / float(seconds)


async def _write_changelog(cluster: KafkaCluster, partitions: int) -> None:
    admin = AIOKafkaAdminClient(**cluster.connection())
    await admin.start()
    await admin.create_topics([NewTopic(STOCK_CHANGELOG, partitions, 1, topic_configs={"cleanup.policy": "compact"})])
    await admin.close()
    async with AIOKafkaProducer(**cluster.connection(), linger_ms=5) as producer:
        for number in range(STOCK_KEYS):
            key = orjson.dumps(f"N{number:07d}")
            await producer.send(STOCK_CHANGELOG, _flight(number), key=key, partition=number % partitions)
