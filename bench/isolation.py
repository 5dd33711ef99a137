"""How long a real-time message takes into its profile, alone and while history of a million messages is taken in."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaProducer

from app.profiles.lookup_client import ProfilesClient
from app.store.read_store import ReadStore
from bench.figures import Figure, percentile
from bench.plane import STREAM, Plane, data_plane, flights, packs
from schemas.topics import MESSAGES_REALTIME

HISTORY = 1_000_000
WATCHERS = 4
LOOK_SECONDS = 0.002
MOST_SECONDS = 2.0
MOST_TIMES = 1.25


async def isolation(folder: Path) -> list[Figure]:
    """Write messages one after another, each of a new aircraft, and look until its profile is there."""
    async with data_plane(folder) as plane:
        await plane.start("lane-realtime", "lane-backfill", "profiles")
        await asyncio.to_thread(plane.write, "realtime", flights(10_000))  # until all is warm, and owners have said so
        await plane.settled("realtime")
        await _waits(plane, asyncio.create_task(asyncio.sleep(2)))
        alone = await _waits(plane, asyncio.create_task(asyncio.sleep(10)))
        await asyncio.to_thread(plane.write, "backfill", packs(flights(HISTORY)))
        beside = await _waits(plane, asyncio.create_task(plane.settled("backfill")))
    figures = []
    for percent in (50, 95, 99):
        one, other = (1000 * percentile(waits, percent) for waits in (beside, alone))
        goal, reached = "none", True
        if percent == 99:
            goal, reached = "≤ 1.25 times alone, ≤ 2 s", one <= min(MOST_TIMES * other, 1000 * MOST_SECONDS)
        what = f"real time beside 1 M of history, p{percent}"
        figures.append(
            Figure(what, one, "ms", goal, reached, other, f"alone ({len(beside)} and {len(alone)} messages)")
        )
    return figures


async def _waits(plane: Plane, meanwhile: asyncio.Task[None]) -> list[float]:
    """Return the seconds that messages took which were written while something else went on."""
    store = await ReadStore.open(plane.settings.database())
    try:
        async with (
            ProfilesClient(store.plane, plane.settings.partitions) as asking,
            AIOKafkaProducer(bootstrap_servers=plane.settings.bootstrap_servers) as producer,
        ):
            watching = [_watch(asking, producer, meanwhile) for _ in range(WATCHERS)]
            waits = [wait for some in await asyncio.gather(*watching) for wait in some]
            await meanwhile
            return waits
    finally:
        await store.close()


async def _watch(asking: ProfilesClient, producer: AIOKafkaProducer, meanwhile: asyncio.Task[None]) -> list[float]:
    waits = []
    while not meanwhile.done():
        tail = uuid4().hex
        flight = orjson.dumps({"tailnum": tail, "dest": "LAX", "distance": 2475, "time_hour": "2013-01-01T10:00:00Z"})
        started = time.perf_counter()
        await producer.send_and_wait(MESSAGES_REALTIME.name, flight, headers=[("stream", STREAM.encode())])
        look = await asking.reader()
        while await look.root(f"00:tail:{tail}") is None:  # noqa: ASYNC110  # a look-up sends no signal
            await asyncio.sleep(LOOK_SECONDS)
        waits.append(time.perf_counter() - started)
    return waits
