"""Commands per second of one control worker, compared with a stock Faust agent without state."""

import asyncio
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.kafka.cluster import cluster_of, with_embedded_kafka
from app.kafka.topics import ensure_topics
from app.process import utc_now
from app.records.envelopes import stamp
from app.records.partitioning import partition_of
from app.settings import Settings
from app.supervisor.broker.server import Broker
from app.supervisor.environment import environment_of
from bench.figures import Figure
from schemas.commands import CreateJob, RenameJob
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS, TOPICS
from schemas.wire.codec import encode

JOBS = 500
RENAMES = 40_000


async def control_speed(folder: Path) -> Figure:
    """Write commands, start a worker, and time it from its first to its last event."""
    async with await Broker.start(folder / "broker") as broker:
        settings = with_embedded_kafka(
            Settings(data_dir=folder), broker.cluster.bootstrap_servers, broker.password_file
        )
        await ensure_topics(broker.cluster, TOPICS.values(), settings.partitions, 1)
        await _write_commands(settings)
        entrepot = RENAMES / await _control_seconds(settings)
        stock = RENAMES / await _stock_seconds(settings)
    return Figure(
        "control agent", entrepot, "commands/s", "≥ 4,000/s", entrepot >= 4000, stock, "stock Faust, no state"
    )


async def _write_commands(settings: Settings) -> None:
    producer = AIOKafkaProducer(**cluster_of(settings).connection(), linger_ms=5)
    await producer.start()
    for number in range(JOBS + RENAMES):
        job_id = f"job-{number % JOBS}"
        envelope = stamp(job_id, "user:bench", utc_now)
        command = (
            CreateJob(**envelope, provider="file", job_type="import", kind="import", name=job_id, start=False)
            if number < JOBS
            else RenameJob(**envelope, name=f"name {number}", description="")
        )
        partition = partition_of(job_id, settings.partitions)
        await producer.send(JOBS_COMMANDS.name, encode(command), key=job_id.encode(), partition=partition)
    await producer.stop()


async def _control_seconds(settings: Settings) -> float:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli.main", "worker", "control", env=environment_of(settings)
    )
    try:
        return await _seconds_between_first_and_last(settings, JOBS + RENAMES)
    finally:
        worker.terminate()
        await worker.wait()


async def _seconds_between_first_and_last(settings: Settings, events: int) -> float:
    consumer = AIOKafkaConsumer(**cluster_of(settings).connection(), auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(JOBS_EVENTS.name, number) for number in range(settings.partitions)])
    try:
        await consumer.getone()
        started, seen = time.perf_counter(), 1
        while seen < events:
            seen += sum(map(len, (await consumer.getmany(timeout_ms=100)).values()))
        return time.perf_counter() - started
    finally:
        await consumer.stop()


async def _stock_seconds(settings: Settings) -> float:
    """Run `bench.stock_agent`, which prints the seconds from its first to its last record."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stock_agent", str(RENAMES), env=environment_of(settings),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await worker.communicate()
    return float(output.split()[-1])  # after the spinner of Faust
