"""A generation of profiles begins with what a rebuild has handed over, and with nothing else."""

import time
from pathlib import Path

import pytest

from app.profiles.snapshots import Snapshots
from app.profiles.storage import NotBuiltError, Storage
from app.profiles.store import Changes, PartitionStore
from app.settings import Settings
from schemas.topics import UPDATES

NOTHING_READ = {topic.name: 0 for topic in UPDATES.values()}


async def test_what_was_built_is_opened_also_where_nothing_was_ever_said_to_a_partition(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    built = PartitionStore.open(tmp_path / "built")
    built.write(Changes(nodes={b"key": b"node"}, offsets=NOTHING_READ))
    await Snapshots.at(settings.snapshots()).take(built, 2, 1)
    built.close()
    storage = Storage(settings, time.monotonic)
    opened = await storage.open((1, 2), NOTHING_READ)
    assert opened.offsets() == NOTHING_READ
    await storage.close((1, 2), opened)
    with pytest.raises(NotBuiltError):
        await storage.open((1, 3), NOTHING_READ)
