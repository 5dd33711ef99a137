"""A source that asks for the canary and repeats it in its errors, and everything of a service to search it in."""

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import aiohttp
import psutil
from aiokafka import TopicPartition

from app.kafka.clients import started
from app.kafka.cluster import cluster_of, resolve_kafka
from app.kafka.patches.decompression import apply
from app.settings import Settings
from tests.canary import CANARY, QUOTED
from tests.event_stream import following
from tests.integration.api.rig import MERGE_PATCH, UNCHECKED, Client, as_caller, new_job

ROWS = b"id,email\n1,a@example.com\n2,b@example.com,3\n"  # the second one is a reject


def sources(host: str) -> dict[str, str]:
    """Return sources with a secret in every place, by what becomes of them."""
    return {
        "valid": f"http://user:{QUOTED}@{host}/people.csv?sig={QUOTED}",
        "refused": f" http://user:{QUOTED}@{host}/none.csv?sig={QUOTED}#{QUOTED}",
        "redirected": f"http://user:{QUOTED}@{host}/redirect.csv",
        "unescaped": f"http://user:{CANARY}@{host}/people.csv",
        "in a text": f"get http://user:{CANARY}@{host}/people.csv?key={QUOTED} first",
    }


class Source(BaseHTTPRequestHandler):
    """Serves a file to a caller that sends the canary as password and as signature."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        sent = b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if path == "/people.csv" and (sent, unquote(query)) == (f"user:{CANARY}", f"sig={CANARY}"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(ROWS)))
            self.end_headers()
            self.wfile.write(ROWS)
        elif path == "/redirect.csv":
            self.send_response(302)
            self.send_header("Location", f"ftp://user:{QUOTED}@127.0.0.1/people.csv?sig={QUOTED}")
            self.end_headers()
        else:
            self.send_response(403, f"{sent} {self.path} {unquote(self.path)}")
            self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def source() -> Iterator[str]:
    """Run the source; yield its host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def topics(data_dir: Path) -> dict[str, bytes]:
    """Return keys, headers and decompressed values of all records, committed or not, by topic."""
    apply()
    cluster = cluster_of(resolve_kafka(Settings(data_dir=data_dir)))
    content: dict[str, bytes] = {}
    admin = cluster.admin(10_000)
    await admin.start()
    described = await admin.describe_topics()
    await admin.close()
    async with started(cluster.consumer(isolation="read_uncommitted")) as consumer:
        for topic in described:
            partitions = [TopicPartition(topic["topic"], part["partition"]) for part in topic["partitions"]]
            consumer.assign(partitions)
            for partition, offset in (await consumer.beginning_offsets(partitions)).items():
                consumer.seek(partition, offset)
            ends = await consumer.end_offsets(partitions)
            parts: list[bytes] = []
            while [partition for partition in partitions if await consumer.position(partition) < ends[partition]]:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    parts += [part for record in records for part in (record.key or b"", record.value or b"")]
                    parts += [repr(record.headers).encode() for record in records]
            content[topic["topic"]] = b"\n".join(parts)
    return content


async def run_jobs(url: str, token: str, host: str) -> tuple[dict[str, Any], list[Any]]:
    """Validate, create, run, edit and revert jobs with secrets. Return the jobs by name, and all answers."""
    answers: list[Any] = []
    async with as_caller(url, token) as client:

        async def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
            answer = await client.ask(method, path, body, **headers)
            answers.append((answer.body, dict(answer.headers)))
            return answer.body.get("data")

        async def edit(job: Any, configuration: Any) -> None:
            patch = {"configuration": configuration}
            await ask("PATCH", f"/v2/job/{job['id']}?validate=false", patch, If_Match="*", Content_Type=MERGE_PATCH)

        async def run(job: Any) -> Any:
            await ask("POST", f"/v2/job/{job['id']}/run")
            return await until_ended(client, job["id"])

        jobs = {}
        for name, location in sources(host).items():
            configuration = {"source": location, "stream": "secrets"}
            await ask("PUT", "/v2/provider/file/import/validate", {"configuration": configuration})
            job = await ask("POST", UNCHECKED, new_job(name, configuration=configuration), Idempotency_Key=name)
            jobs[name] = await until_ended(client, job["id"])
        await edit(jobs["valid"], {"lane": "realtime"})
        kept = await run(jobs["valid"])
        await edit(jobs["valid"], {"source": sources(host)["refused"]})
        await ask("POST", f"/v2/job/{kept['id']}/revert/2?validate=false")
        jobs["valid"] = await run(kept)
    return jobs, answers


async def until_ended(client: Client, job_id: str) -> Any:
    """Return a job once its run has ended; polls the API."""
    async with asyncio.timeout(60):
        while (job := await client.get(f"/v2/job/{job_id}"))["status"] not in {"Completed", "Failed"}:
            await asyncio.sleep(0.05)
    return job


async def event_stream(url: str, token: str, partitions: int) -> bytes:
    """Return all events as the API streams them, from the first one on."""
    last = ".".join(f"{number}-0" for number in range(partitions))
    received = []
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        following(session, url, last=last) as stream,
    ):
        while (message := await stream.next())[1] != "ready":
            received.append(repr(message).encode())
    return b"\n".join(received)


async def responses(url: str, token: str, paths: list[str]) -> bytes:
    """Return the responses to a signed-in browser that also has a token."""
    received = []
    jar = aiohttp.CookieJar(unsafe=True)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers, cookie_jar=jar) as session:
        await session.post("/sign-in", data={"token": token})
        for path in paths:
            async with session.get(path) as response:
                assert response.status == 200, path
                received.append(await response.read() + repr(dict(response.headers)).encode())
    return b"\n".join(received)


def files(data_dir: Path) -> dict[str, bytes]:
    """Return the content of all files, without the indexes of Kafka: numbers, in ten megabytes for each partition."""
    paths = (path for path in data_dir.rglob("*") if path.is_file() and not path.suffix.endswith("index"))
    return {str(path): path.read_bytes() for path in paths}


def processes(supervisor: psutil.Process) -> bytes:
    """Return arguments and environments of all processes of a service."""
    family = [supervisor, *supervisor.children(recursive=True)]
    return "\n".join(repr((process.cmdline(), process.environ())) for process in family).encode()


def everything(data_dir: Path, url: str, token: str, paths: list[str]) -> dict[str, bytes]:
    """Return all that a service stores and answers."""

    async def received() -> dict[str, bytes]:
        content = await topics(data_dir)
        partitions = Settings().partitions
        return content | {
            "events": await event_stream(url, token, partitions),
            "responses": await responses(url, token, paths),
        }

    return files(data_dir) | asyncio.run(received())
