"""Throughput from raw messages to durable profiles, compared with the same work without guarantees."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from app.kafka.cluster import cluster_of
from app.profile_store.partition_store import PartitionStore
from app.supervisor.environment import environment_of
from bench.baseline import dictionary_seconds
from bench.figures import Figure
from bench.plane import Plane, data_plane, flights, packs
from schemas.topics import LANES, UPDATES

PACKED = 800_000
MANY = 400_000
SINGLE = 400_000
MANY_KEYS = MANY // 3
BASELINE = 200_000
STOCK = 15_000
PACKED_GOAL = 100_000
SINGLE_GOAL = 40_000
REFERENCE = "aiokafka getmany + dict in memory"


async def pipeline_speed(folder: Path) -> list[Figure]:
    """Write messages, start a lane and profiles, and time them from the first update to the last durable one."""
    few, few_baseline, _ = await _measure(folder / "few", packs(flights(PACKED)), PACKED)
    backfill, backfill_baseline, _ = await _measure(folder / "backfill", packs(flights(PACKED)), PACKED, "backfill")
    many, many_baseline, _ = await _measure(folder / "many", packs(flights(MANY, MANY_KEYS)), MANY)
    single, single_baseline, stock = await _measure(folder / "single", flights(SINGLE), SINGLE, with_stock=True)
    return [
        _figure("raw → durable profile, packed", few, PACKED_GOAL, few_baseline, REFERENCE),
        _figure("the same, backfill", backfill, PACKED_GOAL, backfill_baseline, REFERENCE),
        _figure("the same, real time, one profile in 3 messages", many, 0, many_baseline, REFERENCE),
        _figure("raw → durable profile, single", single, SINGLE_GOAL, single_baseline, REFERENCE),
        _figure("raw → durable profile, single", single, SINGLE_GOAL, stock, "stock Faust + table, single"),
    ]


def _figure(what: str, value: float, goal: int, reference: float, reference_is: str) -> Figure:
    target = f"≥ {goal:,} messages/s" if goal else "none"
    return Figure(what, value, "messages/s", target, value >= goal, reference, reference_is)


async def _measure(
    folder: Path, records: Iterator[bytes], messages: int, lane: str = "realtime", *, with_stock: bool = False
) -> tuple[float, float, float]:
    """Return the messages per second of Entrepot, of `getmany` with a dict, and of a stock agent with a table."""
    async with data_plane(folder) as plane:
        await asyncio.to_thread(plane.write, lane, records)
        await plane.start(f"lane-{lane}", "profiles")
        await plane.settled(lane)
        seconds = time.time() - await plane.first_written(UPDATES[lane].name)
        await plane.stop()
        await _check_durable(plane, lane)
        cluster, partitions = cluster_of(plane.settings), plane.settings.partitions
        count = min(messages, BASELINE)
        baseline = count / await dictionary_seconds(cluster, LANES[lane].name, partitions, count)
        stock = STOCK / await _stock_seconds(plane) if with_stock else 0.0
    return messages / seconds, baseline, stock


async def _check_durable(plane: Plane, lane: str) -> None:
    """Check that the stores contain all updates of the lanes."""
    for number, end in (await plane.ends(UPDATES[lane].name)).items():
        store = PartitionStore.open(plane.settings.data_dir / "profiles" / f"0.{number}")
        offset = store.offsets().get(UPDATES[lane].name, 0)
        store.close()
        assert offset == end, f"partition {number} is durable up to {offset}, not {end}"


async def _stock_seconds(plane: Plane) -> float:
    """Run `bench.stock_table`, which prints the seconds from its first to its last record."""
    settings = plane.settings
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stock_table", str(STOCK), env=environment_of(settings),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await worker.communicate()
    return float(output.split()[-1])  # after the spinner of Faust
