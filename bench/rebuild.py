"""Messages per second of a rebuild, compared with live processing of the same messages."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from app.kafka.clients import KafkaCluster
from app.kafka.cluster import cluster_of
from app.rebuild.progress import RebuildProgress
from app.store.read_store import ReadStore
from bench.figures import Figure
from bench.plane import FLIGHTS, IDENTITY, STREAM, TIMEOUT_SECONDS, Plane, data_plane, flights, packs
from projections.definitions.rebuild_spec import RebuildSpec, VersionedBody, spec_text
from schemas.definitions import PARTITION, RebuildStarted
from schemas.topics import DEFINITIONS_EVENTS, UPDATES_REALTIME
from schemas.wire.codec import encode

MESSAGES = 2_400_000
REBUILD = "rebuild:bench"
POLL_INTERVAL_SECONDS = 0.05
MIN_RATIO = 5


async def rebuild_speed(folder: Path) -> list[Figure]:
    """Process messages live, stop the live roles, and rebuild."""
    async with data_plane(folder) as plane:
        await asyncio.to_thread(plane.write, "realtime", packs(flights(MESSAGES)))
        await plane.start("lane-realtime", "profiles")
        await plane.settled("realtime")
        live = MESSAGES / (time.time() - await plane.first_written(UPDATES_REALTIME.name))
        await plane.stop()
        await _start_rebuild(cluster_of(plane.settings))
        await plane.start("rebuild")
        rebuilt = await _speed(plane)
    return [
        Figure("rebuild, packed", rebuilt, "messages/s", "≥ 5 times live", rebuilt >= MIN_RATIO * live, live,
               "raw → durable profile, same messages"),
    ]  # fmt: skip


async def _start_rebuild(cluster: KafkaCluster) -> None:
    """Write a started rebuild with the active rules, like the control role."""
    spec = RebuildSpec(VersionedBody(1, json.dumps(IDENTITY)), {STREAM: VersionedBody(1, json.dumps(FLIGHTS))})
    event = RebuildStarted(
        event_id=str(uuid4()), definition_id=REBUILD, seq=1, occurred_at=datetime.now(UTC), command_id=str(uuid4()),
        command_offset=2, actor="user:bench", rules=1, spec=spec_text(spec),
    )  # fmt: skip
    async with AIOKafkaProducer(**cluster.connection()) as producer:
        await producer.send_and_wait(DEFINITIONS_EVENTS.name, encode(event), partition=PARTITION)


async def _speed(plane: Plane) -> float:
    """Return the messages per second between the first and the last progress report before the end."""
    store = await ReadStore.open(plane.settings.database())
    reports: dict[datetime, int] = {}
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                progress = RebuildProgress.decode(await store.plane.progress(REBUILD))
                if progress.messages >= MESSAGES:
                    break
                if progress.messages and progress.updated_at:
                    reports[progress.updated_at] = progress.messages
                await asyncio.sleep(POLL_INTERVAL_SECONDS)
    finally:
        await store.close()
    (started, first), *_, (ended, last) = sorted(reports.items())
    return (last - first) / (ended - started).total_seconds()
