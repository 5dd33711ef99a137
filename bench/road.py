"""From raw messages on Kafka to profiles that are kept: how many a second, beside the same work without promises."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from app.profile_store.partition_store import PartitionStore
from bench.by_hand import dictionary_seconds
from bench.figures import Figure
from bench.plane import Plane, data_plane, flights, packs
from schemas.topics import LANES, UPDATES

PACKED = 800_000
MANY = 400_000
SINGLE = 400_000
MANY_KEYS = MANY // 3
BY_HAND = 200_000
STOCK = 15_000
PACKED_GOAL = 100_000
SINGLE_GOAL = 40_000
BARE = "aiokafka getmany + dict, kept nowhere"


async def road_speed(folder: Path) -> list[Figure]:
    """Write messages, then start a lane and profiles, and time them from the first that is read to the last kept."""
    few, few_by_hand, _ = await _measured(folder / "few", packs(flights(PACKED)), PACKED)
    backfill, backfill_by_hand, _ = await _measured(folder / "backfill", packs(flights(PACKED)), PACKED, "backfill")
    many, many_by_hand, _ = await _measured(folder / "many", packs(flights(MANY, MANY_KEYS)), MANY)
    single, single_by_hand, stock = await _measured(folder / "single", flights(SINGLE), SINGLE, with_stock=True)
    return [
        _figure("raw → durable profile, packed", few, PACKED_GOAL, few_by_hand, BARE),
        _figure("the same, backfill", backfill, PACKED_GOAL, backfill_by_hand, BARE),
        _figure("the same, real time, one profile in 3 messages", many, 0, many_by_hand, BARE),
        _figure("raw → durable profile, single", single, SINGLE_GOAL, single_by_hand, BARE),
        _figure("raw → durable profile, single", single, SINGLE_GOAL, stock, "stock Faust + table, single"),
    ]


def _figure(what: str, value: float, goal: int, reference: float, reference_is: str) -> Figure:
    said = f"≥ {goal:,} messages/s" if goal else "none"
    return Figure(what, value, "messages/s", said, value >= goal, reference, reference_is)


async def _measured(
    folder: Path, records: Iterator[bytes], messages: int, lane: str = "realtime", *, with_stock: bool = False
) -> tuple[float, float, float]:
    """Return messages a second: ours, of `getmany` and a dict, and of a stock agent with a table."""
    async with data_plane(folder) as plane:
        await asyncio.to_thread(plane.write, lane, records)
        await plane.start(f"lane-{lane}", "profiles")
        await plane.settled(lane)
        seconds = time.time() - await plane.first_written(UPDATES[lane].name)
        await plane.stop()
        await _check_kept(plane, lane)
        servers, partitions = plane.settings.bootstrap_servers, plane.settings.partitions
        some = min(messages, BY_HAND)
        by_hand = some / await dictionary_seconds(servers, LANES[lane].name, partitions, some)
        stock = STOCK / await _stock_seconds(plane) if with_stock else 0.0
    return messages / seconds, by_hand, stock


async def _check_kept(plane: Plane, lane: str) -> None:
    """Make sure that the stores have all that the lanes sent."""
    for number, end in (await plane.ends(UPDATES[lane].name)).items():
        store = PartitionStore.open(plane.settings.data_dir / "profiles" / f"0.{number}")
        kept = store.offsets().get(UPDATES[lane].name, 0)
        store.close()
        assert kept == end, f"partition {number} is kept up to {kept}, not {end}"


async def _stock_seconds(plane: Plane) -> float:
    """Run `bench.stock_table`; it prints how long it took from its first record to its last."""
    settings = plane.settings
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stock_table", settings.bootstrap_servers, str(STOCK), str(settings.data_dir),
        str(settings.partitions), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await worker.communicate()
    return float(output.split()[-1])  # Faust draws a spinner before it
