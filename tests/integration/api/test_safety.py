"""Permissions, and requests without a token, from other sites, or with hostile bodies."""

import re
from typing import Any

import aiohttp
import pytest

from app.auth import Tokens, form_token
from tests.integration.api.rig import Client, House, as_caller, new_job

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED = (  # what is asked, and the least role that may
    ("GET", "/v2/job", None, "viewer"),
    ("GET", "/v2/job/{id}", None, "viewer"),
    ("GET", "/v2/job/{id}/history", None, "viewer"),
    ("GET", "/v2/metric", None, "viewer"),
    ("GET", "/v2/me", None, "viewer"),
    ("POST", "/v2/job/{id}/pause", None, "operator"),
    ("POST", "/v2/job/{id}/resume", None, "operator"),
    ("POST", "/v2/job", new_job(), "editor"),
    ("PATCH", "/v2/job/{id}", {"name": "edited"}, "editor"),
    ("PUT", "/v2/provider/file/import/validate", {"configuration": {}}, "editor"),
    ("GET", "/v2/dead-letters", None, "operator"),
    ("POST", "/collect/json/people", {"id": 1}, "editor"),
    ("DELETE", "/v2/job/{id}", None, "editor"),
    ("GET", "/v2/token", None, "admin"),
    ("POST", "/v2/token", {"name": "x", "role": "viewer"}, "admin"),
)
ROLES = ("viewer", "operator", "editor", "admin")


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_has_its_permissions(client: Client, role: str) -> None:
    token = await client.post("/v2/token", {"name": f"a-{role}", "role": role})
    async with as_caller(client.url, token["token"]) as caller:
        assert (await caller.get("/v2/me"))["role"] == role
        for method, path, body, least in ASKED:
            job = await client.draft()
            answer = await caller.ask(method, path.format(id=job["id"]), body, If_Match="*")
            allowed = ROLES.index(role) >= ROLES.index(least)
            assert (answer.status != 403) == allowed, (role, method, path, answer.status)
            assert answer.status < 300 if allowed else answer.body["code"] == "forbidden"


async def test_events_name_the_actor(client: Client) -> None:
    token = await client.post("/v2/token", {"name": "ada", "role": "editor"})
    async with as_caller(client.url, token["token"]) as ada:
        job = await ada.draft()
    assert (await client.get(f"/v2/job/{job['id']}/logs"))[0]["by"] == "user:ada"


async def test_a_revoked_token_is_invalid_at_every_server(house: House) -> None:
    token = await house.client.post("/v2/token", {"name": "gone", "role": "admin"})
    async with as_caller(house.servers[1].url, token["token"]) as caller:
        assert (await caller.ask("GET", "/v2/me")).status == 200
        assert (await house.client.ask("DELETE", f"/v2/token/{token['id']}")).status == 200
        refused = await caller.ask("GET", "/v2/me")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="entrepot"')
    assert token["token"] not in (house.data_dir / "tokens.json").read_text()


async def test_requests_without_a_token_are_rejected(client: Client) -> None:
    async with as_caller(client.url, None) as stranger:
        for path in ("/v2/job", "/v2/events", "/v2/token", "/v2/provider"):
            assert (await stranger.ask("GET", path)).status == 401
        assert (await stranger.ask("GET", "/")).headers["Location"] == "/sign-in"
        assert (await stranger.ask("GET", "/livez")).status == 200


async def signed_in(house: House, browser: Client) -> str:
    """Sign a browser in by a link and return the secret of its session."""
    code = Tokens(house.data_dir).sign_in_code()
    answer = await browser.ask("GET", f"/sign-in?code={code}")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert (await browser.ask("GET", f"/sign-in?code={code}")).status == 401, "a link works once"
    return cookie.partition("=")[2].partition(";")[0]


async def test_a_browser_signs_in_by_a_link_and_acts_by_forms(house: House) -> None:
    job = await house.client.draft("<script>alert(1)</script>")
    async with as_caller(house.client.url, None) as browser:
        await signed_in(house, browser)
        page = (await browser.ask("GET", f"/job/{job['id']}")).body.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        found = re.search(r'name="form_token" value="(\w+)"', page)
        assert found
        done = await _post(browser, f"/job/{job['id']}/resume", form_token=found[1])
        assert (done.status, done.headers["Location"]) == (303, f"/job/{job['id']}")
        refused = await _post(browser, f"/job/{job['id']}/resume", form_token=found[1])
        assert refused.status == 409
        assert "Action failed" in await refused.text()
        assert "Running" in (await browser.ask("GET", "/?status=Running")).body.decode()
        assert (await _post(browser, "/sign-out", form_token=found[1])).status == 303
        assert (await browser.ask("GET", "/")).status == 303


async def _post(browser: Client, path: str, **form: str) -> aiohttp.ClientResponse:
    answer = await browser.session.post(browser.url + path, data=form, allow_redirects=False)
    await answer.read()
    return answer


async def test_another_site_cannot_use_the_session(house: House) -> None:
    job = await house.client.draft()
    async with as_caller(house.client.url, None) as browser:
        session = await signed_in(house, browser)
        good = form_token(session)
        path = f"/v2/job/{job['id']}/resume"
        assert (await browser.ask("POST", path)).body["code"] == "stale_form"
        for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            assert (await browser.ask("POST", path, X_Form_Token=good, **headers)).body["code"] == "cross_site"
        assert (await browser.ask("POST", path, X_Form_Token=good, Origin=browser.url)).status == 200
        assert (await browser.ask("GET", "/v2/me", Authorization="Bearer wrong")).status == 401


async def test_a_foreign_host_name_is_rejected(client: Client) -> None:
    for host in ("evil.example", "evil.example:80", "[::2]", "[bad", ""):
        answer = await client.ask("GET", "/livez", Host=host)
        assert (answer.status, answer.body["code"]) == (421, "wrong_host")
    assert (await client.ask("GET", "/livez", Host="localhost:1234")).status == 200


async def test_every_response_forbids_foreign_scripts(client: Client) -> None:
    for path in ("/livez", "/sign-in", "/static/live.js", "/nowhere", "/v2/job"):
        headers = (await client.ask("GET", path)).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("raw", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed_json"),
        (b"", "application/json", 400, "malformed_json"),
        (b"\xff\xfe", "application/json", 400, "malformed_json"),
        (b'{"name": "\\ud800"}', "application/json", 400, "malformed_json"),
        (b"[" * 100_000, "application/json", 400, "malformed_json"),
        (b"[" * 500 + b"]" * 500, "application/json", 400, "too_deep"),
        (b"[]", "application/json", 422, "invalid"),
        (b"null", "application/json", 422, "invalid"),
        (b'{"name": 1e400}', "application/json", 400, "malformed_json"),
        (b"x" * 1_048_577, "application/json", 413, "too_large"),
        (b"name=x", "application/x-www-form-urlencoded", 415, "wrong_content_type"),
        (b"{}", "text/plain", 415, "wrong_content_type"),
    ],
)
async def test_hostile_bodies_are_rejected_in_plain_words(
    client: Client, raw: bytes, kind: str, status: int, code: str
) -> None:
    answer = await client.ask("POST", "/v2/job", raw=raw, Content_Type=kind)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["X-Request-ID"]


async def test_unknown_paths_and_methods_are_problems_too(client: Client) -> None:
    assert (await client.ask("GET", "/v2/nothing")).body["code"] == "no_such_path"
    wrong = await client.ask("DELETE", "/v2/job")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "sort=size", "status=Happy", "cursor=!!", "sorted=name", "limit=1&limit=2", "search=%00"],
)
async def test_invalid_queries_are_rejected(client: Client, query: str) -> None:
    refused = await client.ask("GET", f"/v2/job?{query}")
    name = query.split("=", maxsplit=1)[0]
    assert (refused.status, refused.body["errors"][0]["pointer"].split("/")[0]) == (422, f"?{name}")


async def test_a_trace_is_propagated_to_the_command(house: House) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job = await house.client.post("/v2/job?run_job=false", new_job("traced"), traceparent=trace)
    headers: dict[str, Any] = {}
    async with house.service.consumer("jobs.commands") as consumer:
        async for record in consumer:
            if record.key == job["id"].encode():
                headers = dict(record.headers)
                break
    assert headers["traceparent"].decode() == trace
    assert headers["ce_type"] == b"entrepot.jobs.commands.CreateJob"
