"""An exactly-once import job from a CSV file to `messages.*`, compared with two plain programs without guarantees."""

import asyncio
import csv
import json
import time
from pathlib import Path

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from app.cli.service.kafka_config import librdkafka_settings
from app.kafka.cluster import cluster_of
from app.supervisor.supervisor import RunningService
from bench.figures import Figure
from bench.service import TOKEN

ROWS = 1_000_000
REFERENCE_ROWS = 200_000
TOPIC = "messages.rejected"  # any topic works for the references


async def import_speed(service: RunningService, folder: Path) -> list[Figure]:
    """Import a file and return the rows per second, with each reference."""
    file = folder / "people.csv"
    _write(file)
    entrepot = ROWS / await _import_seconds(service, file)
    with_aiokafka = REFERENCE_ROWS / await _aiokafka_seconds(service, file)
    with_confluent = REFERENCE_ROWS / await asyncio.to_thread(_confluent_seconds, service, file)
    what, goal, reached = "import job, CSV", "≥ 200,000 rows/s", entrepot >= 200_000
    return [
        Figure(what, entrepot, "rows/s", goal, reached, with_aiokafka, "csv + aiokafka send()"),
        Figure(what, entrepot, "rows/s", goal, reached, with_confluent, "csv + confluent produce()"),
    ]


def _write(file: Path) -> None:
    with file.open("w", encoding="utf-8") as out:
        out.write("id,name,email,city,amount,at\n")
        out.writelines(
            f"{n},Name {n},person{n}@example.com,Town {n % 977},{n * 7 % 1000}.50,2013-01-{n % 28 + 1:02d}T10:00:00Z\n"
            for n in range(ROWS)
        )


async def _import_seconds(service: RunningService, file: Path) -> float:
    """Return the seconds from the creation of the job to its completion."""
    body = {
        "provider": "file",
        "job_type": "import",
        "name": "bench import",
        "configuration": {"source": str(file), "stream": "bench", "timestamp_field": "at"},
    }
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(service.url, headers=headers) as session:
        started = time.perf_counter()
        async with session.post("/v2/job?validate=false&allow_duplicate_name=true", json=body) as response:
            job = json.loads(await response.read())["data"]
        while job["status"] != "Completed":
            assert job["status"] == "Running", job
            await asyncio.sleep(0.05)
            async with session.get(f"/v2/job/{job['id']}") as response:
                job = json.loads(await response.read())["data"]
        return time.perf_counter() - started


async def _aiokafka_seconds(service: RunningService, file: Path) -> float:
    producer = AIOKafkaProducer(**cluster_of(service.settings).connection(), acks="all", linger_ms=5)
    await producer.start()
    started = time.perf_counter()
    with file.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            if number == REFERENCE_ROWS:
                break
            await producer.send(TOPIC, orjson.dumps(row))
    await producer.flush()
    seconds = time.perf_counter() - started
    await producer.stop()
    return seconds


def _confluent_seconds(service: RunningService, file: Path) -> float:
    producer = Producer(
        {
            **librdkafka_settings(cluster_of(service.settings)),
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    started = time.perf_counter()
    with file.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            if number == REFERENCE_ROWS:
                break
            producer.produce(TOPIC, orjson.dumps(row))
            producer.poll(0)
    producer.flush()
    return time.perf_counter() - started
