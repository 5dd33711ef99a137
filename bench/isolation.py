"""Latency from a real-time message to its profile, alone and during a backfill of a million messages."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import orjson
from aiokafka import AIOKafkaProducer

from app.kafka.cluster import cluster_of
from app.profiles.lookup_client import ProfilesClient
from app.store.read_store import ReadStore
from bench.figures import Figure, percentile
from bench.plane import STREAM, Plane, data_plane, flights, packs
from schemas.topics import MESSAGES_REALTIME

HISTORY = 1_000_000
CLIENTS = 4
POLL_INTERVAL_SECONDS = 0.002
MAX_LATENCY_SECONDS = 2.0
MAX_RATIO = 1.25


async def isolation(folder: Path) -> list[Figure]:
    """Write messages of new aircraft one after another, and poll until the profile exists."""
    async with data_plane(folder) as plane:
        await plane.start("lane-realtime", "lane-backfill", "profiles")
        await asyncio.to_thread(plane.write, "realtime", flights(10_000))  # warm up, and let owners register
        await plane.settled("realtime")
        await _latencies(plane, asyncio.create_task(asyncio.sleep(2)))
        alone = await _latencies(plane, asyncio.create_task(asyncio.sleep(10)))
        await asyncio.to_thread(plane.write, "backfill", packs(flights(HISTORY)))
        during = await _latencies(plane, asyncio.create_task(plane.settled("backfill")))
    figures = []
    for percent in (50, 95, 99):
        latency, alone_latency = (1000 * percentile(latencies, percent) for latencies in (during, alone))
        goal, reached = "none", True
        if percent == 99:
            goal, reached = (
                "≤ 1.25 times alone, ≤ 2 s",
                latency <= min(MAX_RATIO * alone_latency, 1000 * MAX_LATENCY_SECONDS),
            )
        what = f"real time during backfill of 1 M, p{percent}"
        figures.append(
            Figure(
                what, latency, "ms", goal, reached, alone_latency, f"alone ({len(during)} and {len(alone)} messages)"
            )
        )
    return figures


async def _latencies(plane: Plane, background: asyncio.Task[None]) -> list[float]:
    """Return the latencies of messages written while another task runs."""
    store = await ReadStore.open(plane.settings.database())
    try:
        async with (
            ProfilesClient(store.plane, plane.settings.partitions) as client,
            AIOKafkaProducer(**cluster_of(plane.settings).connection()) as producer,
        ):
            clients = [_measure(client, producer, background) for _ in range(CLIENTS)]
            result = [latency for latencies in await asyncio.gather(*clients) for latency in latencies]
            await background
            return result
    finally:
        await store.close()


async def _measure(client: ProfilesClient, producer: AIOKafkaProducer, background: asyncio.Task[None]) -> list[float]:
    latencies = []
    while not background.done():
        tail = uuid4().hex
        flight = orjson.dumps({"tailnum": tail, "dest": "LAX", "distance": 2475, "time_hour": "2013-01-01T10:00:00Z"})
        started = time.perf_counter()
        await producer.send_and_wait(MESSAGES_REALTIME.name, flight, headers=[("stream", STREAM.encode())])
        reader = await client.reader()
        while await reader.root(f"00:tail:{tail}") is None:  # noqa: ASYNC110  # look-ups can only be polled
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
        latencies.append(time.perf_counter() - started)
    return latencies
