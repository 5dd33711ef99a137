"""The service as started by `entrepot up`: start-up time, memory, and latency until a request is visible."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.kafka.clients import KafkaCluster
from app.kafka.cluster import cluster_of
from app.settings import Settings
from app.supervisor.broker.server import Broker
from app.supervisor.supervisor import RunningService, Supervisor
from bench.figures import Figure, percentile

TOKEN = "bench-only-token-on-loopback"
REQUESTS = 200


@asynccontextmanager
async def running_service(folder: Path) -> AsyncIterator[RunningService]:
    """Run the service in its own folder on free ports."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    settings = Settings.model_validate(
        {"data_dir": folder, "broker_port": 0, "api_port": 0, "file_roots": (folder,), "admin_token": TOKEN}
    )
    supervisor = Supervisor(settings, lambda _line: None)
    try:
        yield await supervisor.start()
    finally:
        await supervisor.stop()


async def broker_seconds(folder: Path) -> float:
    """Return the start-up time of a broker with an existing data directory."""
    for _ in range(2):
        started = time.perf_counter()
        async with await Broker.start(folder / "alone"):
            seconds = time.perf_counter() - started
    return seconds


def startup(service: RunningService, reference: float) -> Figure:
    """Compare the start-up time with that of the broker alone."""
    return Figure("start to ready", service.seconds, "s", "≤ 15 s", service.seconds <= 15, reference, "Kafka alone")


def memory() -> Figure:
    """Measure the total memory of the broker and all roles, each page shared by several in equal parts."""
    sizes = {child.pid: child.memory_full_info().pss / 2**20 for child in psutil.Process().children(recursive=True)}
    total = sum(sizes.values())
    return Figure("memory, idle", total, "MB", "≤ 1,200 MB", total <= 1200, max(sizes.values()), "the largest process")


async def request_latency(service: RunningService) -> list[Figure]:
    """Create jobs one after another. After each response the job is visible in the list."""
    seconds = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(service.url, headers=headers) as session:
        for number in range(REQUESTS):
            body = {
                "provider": "file",
                "job_type": "import",
                "name": f"bench {number}",
                "configuration": {"source": "none.csv", "stream": "bench"},
            }
            started = time.perf_counter()
            async with session.post("/v2/job?run_job=false&validate=false", json=body) as response:
                assert response.status == 201, await response.text()
            seconds.append(time.perf_counter() - started)
    reference = await _round_trip(cluster_of(service.settings))
    p50, p99 = (1000 * percentile(seconds, percent) for percent in (50, 99))
    reference_p50, reference_p99 = (1000 * percentile(reference, percent) for percent in (50, 99))
    trip = "one Kafka round trip"
    return [
        Figure("request → event → visible, p50", p50, "ms", "≤ 50 ms", p50 <= 50, reference_p50, trip),
        Figure("request → event → visible, p99", p99, "ms", "≤ 250 ms", p99 <= 250, reference_p99, trip),
    ]


async def _round_trip(cluster: KafkaCluster) -> list[float]:
    """Return the latencies of single records from producer to consumer."""
    consumer = AIOKafkaConsumer("messages.rejected", **cluster.connection())
    producer = AIOKafkaProducer(**cluster.connection())
    await consumer.start()
    await producer.start()
    await consumer.seek_to_end()
    seconds = []
    try:
        for _ in range(REQUESTS):
            started = time.perf_counter()
            await producer.send_and_wait("messages.rejected", b"{}")
            await consumer.getone()
            seconds.append(time.perf_counter() - started)
    finally:
        await producer.stop()
        await consumer.stop()
    return seconds
