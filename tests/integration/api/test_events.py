"""A client that follows events and reconnects misses and repeats nothing."""

import asyncio

import aiohttp
import pytest

from tests.event_stream import following
from tests.integration.api.rig import UNCHECKED, ApiServers, new_job, serving, until_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_client_that_reconnects_to_another_server_misses_nothing(api_servers: ApiServers) -> None:
    client, other = api_servers.servers
    async with following(client.session, client.url) as stream:
        last, _, _ = await stream.next()
    jobs = [await client.post(UNCHECKED, new_job(f"missed {number}")) for number in range(6)]
    async with following(other.session, other.url, last=last) as stream:
        seen = [await stream.next() for _ in range(5)]
    async with following(client.session, client.url, last=seen[-1][0]) as stream:
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
