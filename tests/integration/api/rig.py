"""API servers in this process, with a real broker and the real control role."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

from app.api.server import serve
from app.settings import Settings
from app.supervisor.broker.server import Broker
from tests.integration.conftest import emptied
from tests.integration.support.service import TIMEOUT_SECONDS, TOKEN, Service, service

POLL_SECONDS = 0.02
UNCHECKED = "/v2/job?validate=false&allow_duplicate_name=true"  # jobs of sources that aren't there
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def data(self) -> Any:
        """The data of a success response."""
        assert self.status < 300, (self.status, self.body)
        return self.body["data"]


class Client:
    """One caller of one server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def ask(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> Answer:
        """Send a request; header names have `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = orjson.dumps(body) if body is not None else raw and BytesIO(raw)
        if body is not None or raw is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=data, headers=sent, allow_redirects=False
        ) as answer:
            content = await answer.read()
            is_json = "json" in answer.content_type and content
            return Answer(answer.status, answer.headers, orjson.loads(content) if is_json else content)

    async def get(self, path: str, **headers: str) -> Any:
        return (await self.ask("GET", path, **headers)).data

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return (await self.ask("POST", path, body, **headers)).data

    async def draft(self, name: str = "people", **facts: Any) -> dict[str, Any]:
        job: dict[str, Any] = await self.post(f"{UNCHECKED}&run_job=false", new_job(name, **facts))
        return job

    async def patch(self, job: dict[str, Any], patch: Any, revision: int | None = None) -> Answer:
        match = f'"{revision or job["revision"]}"'
        return await self.ask(
            "PATCH", f"/v2/job/{job['id']}?validate=false", patch, If_Match=match, Content_Type=MERGE_PATCH
        )


@dataclass(frozen=True)
class ApiServers:
    """Two API servers on one data directory, and the other roles."""

    servers: Sequence[Client]
    service: Service

    @property
    def client(self) -> Client:
        return self.servers[0]

    @property
    def data_dir(self) -> Path:
        return self.service.settings.data_dir


def new_job(name: str = "people", **facts: Any) -> dict[str, Any]:
    configuration = {"source": "/nowhere/people.csv", "stream": "people"}
    return {"name": name, "provider": "file", "job_type": "import", "configuration": configuration} | facts


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    """Run an API server on a free port, with a client that has the admin token."""
    stop, update = asyncio.Event(), {"api_port": 0, "admin_token": SecretStr(TOKEN)}
    address = settings.data_dir / "api.json"
    address.unlink(missing_ok=True)
    running = asyncio.create_task(serve(settings.model_copy(update=update), stop))
    try:
        async with asyncio.timeout(30):
            while not address.exists() and not running.done():  # the file appears without a signal
                await asyncio.sleep(POLL_SECONDS)
        if running.done():
            await running
        url = orjson.loads(address.read_bytes())["url"]
        async with as_caller(url, TOKEN) as client:
            yield client
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


@asynccontextmanager
async def as_caller(url: str, token: str | None) -> AsyncIterator[Client]:
    """Return a client with a token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Client(session, url)


async def url_of(running: Service) -> str:
    address = running.settings.data_dir / "api.json"
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not address.exists():  # nothing signals the file
            await asyncio.sleep(POLL_SECONDS)
    found: str = orjson.loads(address.read_bytes())["url"]
    return found


@asynccontextmanager
async def service_with_client(
    folder: Path, broker: Broker, roles: Sequence[str], **settings: Any
) -> AsyncIterator[tuple[Service, Client]]:
    """Run a service on an emptied broker; yield it, and a client of its API, once that is ready."""
    async with service(folder, await emptied(broker), roles, **settings) as running:
        url = await url_of(running)
        async with as_caller(url, TOKEN) as client:
            await until_ready(client)
            yield running, client


async def until_ready(client: Client, *, status: int = 200, seconds: float = 60) -> Answer:
    """Wait until `/readyz` returns a status."""
    async with asyncio.timeout(seconds):
        while (answer := await client.ask("GET", "/readyz")).status != status:  # it sends no signal
            await asyncio.sleep(POLL_SECONDS)
    return answer


@asynccontextmanager
async def serving_several(settings: Settings, count: int) -> AsyncIterator[list[Client]]:
    """Run several servers on one data directory."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serving(settings)) for _ in range(count)]
        for client in clients:
            await until_ready(client)
        yield clients
