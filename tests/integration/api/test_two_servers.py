"""Two API servers without shared state stay consistent for clients that use both."""

import asyncio
from uuid import uuid4

import pytest

from app.api.http.auth import COOKIE
from tests.event_stream import following
from tests.integration.api.rig import UNCHECKED, ApiServers, Client, as_caller, new_job

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_of_two_concurrent_edits_one_wins_and_the_other_gets_the_changes(api_servers: ApiServers) -> None:
    for _ in range(5):
        job = await api_servers.client.draft("shared")
        answers = await asyncio.gather(
            *(
                server.patch(job, {"name": f"by {number}", "configuration": {"stream": f"s{number}"}})
                for number, server in enumerate(api_servers.servers)
            )
        )
        assert sorted(response.status for response in answers) == [200, 412]
        winner, loser = sorted(answers, key=lambda item: item.status)
        assert loser.body["code"] == "revision_mismatch"
        changed = loser.body["changed"]
        assert changed["name"]["current"] == winner.data["name"]
        assert changed["name"]["yours"] != winner.data["name"]
        assert loser.headers["ETag"] == f'"{loser.body["revision"]}"'
        seen = await api_servers.client.get(f"/v2/job/{job['id']}")
        assert (seen["name"], seen["configuration"]["stream"][1:]) == (winner.data["name"], winner.data["name"][-1])


async def test_the_same_key_and_body_create_one_job_through_any_server(api_servers: ApiServers) -> None:
    for _ in range(5):
        key = str(uuid4())
        answers = await asyncio.gather(
            *(server.ask("POST", UNCHECKED, new_job("once"), Idempotency_Key=key) for server in api_servers.servers * 3)
        )
        assert {response.status for response in answers} == {201}
        assert len({response.data["id"] for response in answers}) == 1
        job_id = answers[0].data["id"]
        again = await api_servers.servers[1].ask("POST", UNCHECKED, new_job("once"), Idempotency_Key=key)
        assert (again.data["id"], again.headers["Idempotency-Replayed"]) == (job_id, "true")
        history = await api_servers.client.get(f"/v2/job/{job_id}/history")
        assert [event["type"] for event in history] == ["JobCreated", "JobStarted"]


async def test_a_code_opens_one_session_which_ends_everywhere_with_its_token(api_servers: ApiServers) -> None:
    token = await api_servers.client.post("/v2/token", {"name": "ada", "role": "viewer"})
    for _ in range(5):
        async with as_caller(api_servers.client.url, token["token"]) as caller:
            code = (await caller.post("/v2/sign-in"))["path"].partition("code=")[2]
        sessions = await asyncio.gather(*(sign_in(server, code) for server in api_servers.servers))
        (session,) = [session for session in sessions if session]
    other = api_servers.servers[1]
    async with as_caller(other.url, None) as browser:
        browser.session.cookie_jar.update_cookies({COOKIE: session})
        async with following(browser.session, browser.url) as stream:
            assert (await stream.next())[1] == "ready"
            await api_servers.client.ask("DELETE", f"/v2/token/{token['id']}")
            async with asyncio.timeout(1):
                assert await stream.response.content.read() == b""
        assert (await browser.ask("GET", "/v2/me")).status == 401


async def sign_in(server: Client, code: str) -> str:
    """Return the session that a code opens; empty if it is used up, or not known to this server yet."""
    async with as_caller(server.url, None) as browser:
        form = {"code": code}
        async with browser.session.post(f"{browser.url}/sign-in", data=form, allow_redirects=False) as answer:
            assert answer.status in {303, 401}
            return answer.cookies[COOKIE].value if answer.status == 303 else ""
