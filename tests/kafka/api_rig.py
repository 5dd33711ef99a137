"""API servers in this process, on a real broker with the real control role beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from app.api.server import run_api
from app.settings import Settings


class Client:
    """One caller of one server; answers are `(status, headers, body)`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, data_dir: Path) -> None:
        self.session = session
        self.url = url
        self.data_dir = data_dir

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else orjson.dumps(body)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=data, headers=sent) as answer:
            found = await answer.read()
            return answer.status, answer.headers, orjson.loads(found) if "json" in answer.content_type else found

    async def data(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the `data` of a good answer."""
        status, _, found = await self.ask(method, path, body, **headers)
        assert status < 300, (status, found)
        return found["data"]

    async def draft(self, name: str = "people", **facts: Any) -> dict[str, Any]:
        job: dict[str, Any] = await self.data("POST", "/v2/job?run_job=false", new_job(name, **facts))
        return job


def new_job(name: str = "people", **facts: Any) -> dict[str, Any]:
    configuration = {"source": "/nowhere/people.csv", "stream": "people"}
    return {"name": name, "provider": "file", "job_type": "import", "configuration": configuration} | facts


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    """Run an API server on a free port, with a client that has the admin token."""
    stop = asyncio.Event()
    told = settings.model_copy(update={"api_port": 0})
    address = told.data_dir / "api.json"
    address.unlink(missing_ok=True)
    running = asyncio.create_task(run_api(told, stop))
    try:
        async with asyncio.timeout(30):
            while not address.exists() and not running.done():
                await asyncio.sleep(0.01)
        if running.done():
            await running
        url = orjson.loads(address.read_bytes())["url"]
        token = (told.data_dir / "admin-token").read_text().strip()
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            yield Client(session, url, told.data_dir)
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


async def until_ready(client: Client, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while (await client.ask("GET", "/readyz"))[0] != 200:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def several(settings: Settings, count: int) -> AsyncIterator[list[Client]]:
    """Run so many servers on one data directory."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serving(settings)) for _ in range(count)]
        for each in clients:
            await until_ready(each)
        yield clients
