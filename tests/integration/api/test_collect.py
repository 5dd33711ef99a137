"""Ingestion: acknowledged messages are stored exactly once, within bounded memory."""

import asyncio
import gzip
import os
import random
import signal
import sqlite3
import string
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import pytest
import pytest_asyncio

from app.supervisor.broker.server import Broker
from schemas.messages import MessageBatch
from tests.integration.api.rig import Answer, Client, service_with_client, until_ready, url_of
from tests.integration.support.service import TIMEOUT_SECONDS, TOKEN, Service, has

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTE = 1024 * 1024
ROWS = 30_000


@dataclass
class CollectApi:
    """A service whose API runs in its own process, so that it can be killed."""

    running: Service
    client: Client

    async def json(self, stream: str, body: Any, query: str = "", **headers: str) -> Answer:
        return await self.client.ask("POST", f"/collect/json/{stream}{query}", body, **headers)

    async def bulk(self, stream: str, body: bytes | AsyncIterator[bytes], query: str = "", **headers: str) -> Answer:
        sent = {"Content-Type": "text/csv"} | {name.replace("_", "-"): value for name, value in headers.items()}
        where = f"{self.client.url}/collect/bulk/{stream}{query}"
        data = BytesIO(body) if isinstance(body, bytes) else body
        async with self.client.session.post(where, data=data, headers=sent) as answer:
            return Answer(answer.status, answer.headers, orjson.loads(await answer.read()))

    async def kill(self) -> None:
        """Kill the API; the service restarts it."""
        address = self.running.settings.data_dir / "api.json"
        address.unlink()
        self.running.signal("api", signal.SIGKILL)
        await self.come_back()

    async def come_back(self) -> None:
        self.client.url = await url_of(self.running)
        await until_ready(self.client)

    async def rows(self, stream: str, lane: str = "realtime") -> list[dict[str, Any]]:
        """Return the messages of a stream by id; ids have to be unique."""
        found: dict[tuple[str, int], dict[str, Any]] = {}
        for words in (await self.running.committed(f"messages.{lane}")).values():
            for word in words:
                if isinstance(word, MessageBatch) and word.stream == stream:
                    for index, line in enumerate(word.payload.splitlines(), word.first):
                        assert (word.batch_id, index) not in found, "a message is stored twice"
                        found[word.batch_id, index] = orjson.loads(line)
        return [found[item] for item in sorted(found, key=_by_part)]


def _by_part(identity: tuple[str, int]) -> tuple[str, int, int]:
    upload, _, part = identity[0].rpartition("/")
    return upload, int(part), identity[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collect_api(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> AsyncIterator[CollectApi]:
    folder, roles = tmp_path_factory.mktemp("collect"), ("control", "api")
    limits = {"batch_bytes": 64 * 1024, "max_concurrent_uploads": 2}
    async with service_with_client(folder, broker, roles, **limits) as (running, client):
        yield CollectApi(running, client)


def people(count: int) -> list[bytes]:
    return [b"id,name\n", *(b"%d,Name %d\n" % (number, number) for number in range(count))]


async def streamed(parts: list[bytes], pause_at: int, until: asyncio.Event) -> AsyncIterator[bytes]:
    """Send the parts, and pause before one of them."""
    yield b"".join(parts[:pause_at])
    await until.wait()
    yield b"".join(parts[pause_at:])


async def test_acknowledged_messages_survive_a_kill(collect_api: CollectApi) -> None:
    sent = [{"id": number} for number in range(500)]
    kept = await asyncio.gather(*(collect_api.json("durable", sent[at : at + 50]) for at in range(0, 500, 50)))
    collect_api.running.signal("api", signal.SIGKILL)
    assert {item.data["message_count"] for item in kept} == {50}
    assert sorted(row["id"] for row in await collect_api.rows("durable")) == list(range(500))
    (collect_api.running.settings.data_dir / "api.json").unlink()
    await collect_api.come_back()


async def test_a_request_with_a_key_is_carried_out_once(collect_api: CollectApi) -> None:
    sent = [{"id": 1, "when": 1_600_000_000}, {"id": 2}]
    query = "?timestamp_field=when"
    several = await asyncio.gather(*(collect_api.json("once", sent, query, Idempotency_Key="k") for _ in range(4)))
    assert sorted(item.data["duplicate_count"] for item in several) == [0, 2, 2, 2]
    await collect_api.kill()
    again = await collect_api.json("once", sent, query, Idempotency_Key="k")
    assert (again.data["message_count"], again.data["duplicate_count"]) == (2, 2)
    assert again.headers["Idempotency-Replayed"] == "true"
    for body, more in ((sent[:1], query), (sent, "")):
        other = await collect_api.json("once", body, more, Idempotency_Key="k")
        assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    assert await collect_api.rows("once") == sent


async def test_a_request_whose_response_was_lost_is_found_in_the_log(collect_api: CollectApi) -> None:
    sent = [{"id": number} for number in range(10)]
    first = await collect_api.json("lost", sent, Idempotency_Key="lost")
    with sqlite3.connect(
        collect_api.running.settings.data_dir / "views.db"
    ) as views:  # as if it had been killed before
        lost = "UPDATE idempotency_records SET answer = x'', claimed_at = 1 WHERE upload_id = ?"
        assert views.execute(lost, [first.data["upload_id"]]).rowcount == 1
    again = await collect_api.json("lost", sent, Idempotency_Key="lost")
    assert again.data["upload_id"] == first.data["upload_id"]
    assert await collect_api.rows("lost") == sent


async def test_a_file_is_ingested_once_and_in_order_across_a_kill(collect_api: CollectApi) -> None:
    parts, killed, before = people(ROWS), asyncio.Event(), {*collect_api.running.history}
    sending = asyncio.create_task(
        collect_api.bulk("killed", streamed(parts, ROWS // 2, killed), Idempotency_Key="file")
    )
    job_id = await _until_reported(collect_api.running, before)
    (collect_api.running.settings.data_dir / "api.json").unlink()
    collect_api.running.signal("api", signal.SIGKILL)
    with pytest.raises(aiohttp.ClientError):
        await sending
    killed.set()
    await collect_api.come_back()
    done = (await collect_api.bulk("killed", b"".join(parts), Idempotency_Key="file")).data
    assert (done["message_count"], done["upload_id"]) == (ROWS, job_id)
    assert 0 < done["duplicate_count"] < ROWS
    assert [int(row["id"]) for row in await collect_api.rows("killed", "backfill")] == list(range(ROWS))
    await collect_api.running.until(done["upload_id"], has("JobCompleted"))
    again = await collect_api.bulk("killed", b"".join(parts), Idempotency_Key="file")
    assert (again.data["message_count"], again.data["duplicate_count"]) == (ROWS, ROWS)
    for other in (parts[:-1], [*parts, b"x,y\n"], [b"id,name\n", *reversed(parts[1:])]):
        refused = await collect_api.bulk("killed", b"".join(other), Idempotency_Key="file")
        assert (refused.status, refused.body["code"]) == (422, "idempotency_key_reused")
    assert len(await collect_api.rows("killed", "backfill")) == ROWS
    assert (await collect_api.client.ask("POST", f"/v2/job/{done['upload_id']}/run")).body["code"] == "pushed_job"


async def _until_reported(running: Service, before: set[str]) -> str:
    """Wait until a new job has committed a batch, and return its id."""
    history = running.history
    async with asyncio.timeout(TIMEOUT_SECONDS), running.changed:
        await running.changed.wait_for(lambda: any(has("JobProgressed")(history[item]) for item in {*history} - before))
    (job_id,) = {*history} - before
    return job_id


async def test_files_are_uploaded_from_the_command_line(collect_api: CollectApi, tmp_path: Path) -> None:
    written = {
        "people.csv": b"id,name\n1,Ann\n2\n",
        "people.json": b'[{"id": "3"}, {"id": "4"}]',
        "people.ndjson.gz": gzip.compress(b'{"id": "5"}\n'),
    }
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / name) for name in written]
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli.main", "collect", "typed", *files, "--idempotency-key", "typed"),
            *("--data-dir", str(collect_api.running.settings.data_dir), "--output", "json"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"ENTREPOT_TOKEN": TOKEN},
        )  # fmt: skip
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    found = {upload["file"]: (upload["message_count"], upload["duplicate_count"]) for upload in orjson.loads(output)}
    assert found == {"people.csv": (1, 1), "people.json": (2, 2), "people.ndjson.gz": (1, 1)}
    assert sorted(row["id"] for row in await collect_api.rows("typed", "backfill")) == ["1", "3", "4", "5"]


async def test_a_large_file_needs_little_memory(collect_api: CollectApi) -> None:
    text = "".join(random.Random(2).choices(string.ascii_letters, k=200))

    async def rows() -> AsyncIterator[bytes]:
        yield b"id,text\n"
        for start in range(0, 1_000_000, 2_000):
            yield "".join(f"{number},{text}\n" for number in range(start, start + 2_000)).encode()
            most.append(process.memory_info().rss)

    process = psutil.Process(collect_api.running.pid("api"))
    assert (await collect_api.bulk("large", b"id,text\n1,a\n")).status == 200  # what reading needs is loaded
    before, most = process.memory_info().rss, [0]
    found = (await collect_api.bulk("large", rows())).data
    assert found["message_count"] == 1_000_000
    assert max(most) - before < 64 * MEGABYTE, f"{(max(most) - before) / MEGABYTE:.0f} MB for 200 MB"
