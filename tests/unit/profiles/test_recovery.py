"""The profiles role recovers from damage to its stores and snapshots."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.kafka.memory.cluster import MemoryCluster
from app.settings import Settings
from tests.profile_damage import DAMAGE, ProfileFiles
from tests.unit.profiles.test_role import KEYS, PARTITIONS, Running, cluster, running

__all__ = ["cluster"]  # a fixture
SNAPSHOT_INTERVAL = Settings.model_fields["snapshot_interval_seconds"].default


def fast_clock() -> float:
    """Count each second as twenty, so that tests wait less for a flush and a commit."""
    return 20 * time.monotonic()


async def write(worker: Running, cities: range) -> None:
    """Add cities to both profiles, and wait until they are flushed."""
    for number in cities:
        for key in KEYS:
            await worker.send(key, f"city {number}")
    await worker.until(lambda: all(worker.committed(number) == cities.stop for number in range(PARTITIONS)))


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
async def test_profiles_recover_from_any_damage(
    tmp_path: Path,
    cluster: MemoryCluster,  # the fixture
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[ProfileFiles], None],
    sentence: str,
) -> None:
    files = ProfileFiles(Settings(data_dir=tmp_path, partitions=PARTITIONS))
    now = 0.0
    async with running(tmp_path, cluster, fast_clock, snapshot_clock=lambda: now) as worker:
        for snapshot in (1, 2):
            await write(worker, range(10 * snapshot - 10, 10 * snapshot))
            now += SNAPSHOT_INTERVAL
            await worker.until(lambda count=snapshot: all(len(files.manifests(n)) == count for n in files.partitions))
        await write(worker, range(20, 30))
    damage(files)
    caplog.clear()
    caplog.set_level(logging.INFO)
    cluster.expire_sessions()
    async with running(tmp_path, cluster, fast_clock) as worker:
        await write(worker, range(30, 40))
        for key in KEYS:
            assert await worker.cities(key) == {f"city {number}" for number in range(40)}
    assert not sentence or caplog.text.count(sentence) >= PARTITIONS
