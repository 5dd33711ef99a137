"""A client that follows events and reconnects misses and repeats nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from tests.integration.api.rig import ApiServers, Client, new_job, serving, until_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Stream:
    """An event stream, one event at a time as `(id, kind, data)`."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, str, dict[str, object]]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    return fields.get("id", ""), fields["event"], orjson.loads(fields["data"])
                else:
                    fields = {}
        raise AssertionError("the stream ended")


@asynccontextmanager
async def following(client: Client, query: str = "", last: str = "") -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.session.get(f"{client.url}/v2/events{query}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        yield Stream(answer)


async def test_a_client_that_reconnects_to_another_server_misses_nothing(api_servers: ApiServers) -> None:
    client = api_servers.client
    async with following(client) as stream:
        last, _, _ = await stream.next()
    jobs = [await client.post("/v2/job", new_job(f"missed {number}")) for number in range(6)]
    async with following(api_servers.servers[1], last=last) as stream:
        seen = [await stream.next() for _ in range(5)]
    async with following(client, last=seen[-1][0]) as stream:
        while (found := await stream.next())[1] != "ready":
            seen.append(found)
        await client.post(f"/v2/job/{jobs[0]['id']}/pause")
        assert (await stream.next())[1] == "JobPaused"
    received = sorted((data["job_id"], data["seq"]) for _, _, data in seen)
    assert received == sorted((job["id"], seq) for job in jobs for seq in (1, 2))


async def test_a_stopping_server_does_not_wait_for_event_streams(api_servers: ApiServers) -> None:
    async with serving(api_servers.service.settings) as server:
        await until_ready(server)
        follower = aiohttp.ClientSession(headers=server.session.headers)
        answer = await follower.get(f"{server.url}/v2/events")
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 3
    assert b"event: ready" in await answer.read()
    await follower.close()
