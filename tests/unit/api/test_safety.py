"""Permissions, and requests without a token, from other sites, or with hostile bodies."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from app.api.http.auth import COOKIE
from app.api.routing import middleware
from app.auth import form_token
from app.kafka.memory.cluster import MemoryCluster
from app.store.tables import lane_switches
from tests.event_stream import following
from tests.integration.api.rig import UNCHECKED, Client, as_caller, new_job
from tests.unit.api.conftest import Api, WallClock, commands, serving, until_connected
from tests.unit.api.test_definitions import mapping

REQUESTS = (  # with the least role that may send them
    ("GET", "/v2/job", None, "viewer"),
    ("GET", "/v2/job/{id}", None, "viewer"),
    ("GET", "/v2/job/{id}/history", None, "viewer"),
    ("GET", "/v2/metric", None, "viewer"),
    ("GET", "/v2/me", None, "viewer"),
    ("GET", "/v2/definition", None, "viewer"),
    ("GET", "/v2/rebuild", None, "viewer"),
    ("GET", "/v2/stream", None, "viewer"),
    ("POST", "/v2/sign-in", None, "viewer"),
    ("POST", "/v2/job/{id}/pause", None, "operator"),
    ("POST", "/v2/job/{id}/resume", None, "operator"),
    ("GET", "/v2/dead-letters", None, "operator"),
    ("POST", UNCHECKED, new_job(), "editor"),
    ("PATCH", "/v2/job/{id}", {"name": "edited"}, "editor"),
    ("PUT", "/v2/provider/file/import/validate", {"configuration": {}}, "editor"),
    ("PUT", "/v2/definition/mapping:a/draft", mapping(), "editor"),
    ("POST", "/v2/rebuild", {}, "editor"),
    ("POST", "/collect/json/people", {"id": 1}, "editor"),
    ("DELETE", "/v2/job/{id}", None, "editor"),
    ("GET", "/v2/token", None, "admin"),
    ("GET", "/v2/session", None, "admin"),
    ("POST", "/v2/token", {"name": "x", "role": "viewer"}, "admin"),
)
ROLES = ("viewer", "operator", "editor", "admin")


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_has_its_permissions(client: Client, role: str) -> None:
    token = await client.post("/v2/token", {"name": f"a-{role}", "role": role})
    async with as_caller(client.url, token["token"]) as caller:
        assert (await caller.get("/v2/me")) == {"name": f"a-{role}", "role": role, "token_id": token["id"]}
        job = await client.draft()
        for method, path, body, least in REQUESTS:
            answer = await caller.ask(method, path.format(id=job["id"]), body, If_Match="*")
            allowed = ROLES.index(role) >= ROLES.index(least)
            assert (answer.status != 403) == allowed, (role, method, path, answer.status)
            assert answer.status < 300 if allowed else answer.body["code"] == "forbidden", (method, path, answer.body)


# Tokens


async def test_a_token_is_shown_once_and_can_be_revoked(client: Client, api: Api) -> None:
    created = await client.ask(
        "POST", "/v2/token", {"name": "ada", "role": "viewer", "expires_at": "2026-05-05T00:00:00Z"}
    )
    assert (created.status, created.data["name"], created.data["expires_at"]) == (201, "ada", "2026-05-05T00:00:00Z")
    listed = {token["id"]: token for token in await client.get("/v2/token")}
    assert listed[created.data["id"]] == {name: created.data[name] for name in created.data if name != "token"}
    assert not any(created.data["token"].encode() in (record.value or b"") for record in commands(api.cluster))
    assert (await client.ask("DELETE", f"/v2/token/{created.data['id']}")).body["message"] == "revoked"
    assert (await client.ask("DELETE", f"/v2/token/{created.data['id']}")).body["code"] == "no_such_token"


async def test_a_revoked_token_is_invalid_at_every_server(
    client: Client, cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    token = await client.post("/v2/token", {"name": "gone", "role": "admin"})
    async with serving(cluster, data_dir, clock) as other, as_caller(other.client.url, token["token"]) as caller:
        await until_connected(other)
        assert (await caller.ask("GET", "/v2/me")).status == 200
        await client.ask("DELETE", f"/v2/token/{token['id']}")
        refused = await caller.ask("GET", "/v2/me")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="entrepot"')


async def test_an_expired_token_is_invalid(client: Client, clock: WallClock) -> None:
    token = await client.post("/v2/token", {"name": "soon", "role": "viewer", "expires_at": "2026-05-04T13:00:00Z"})
    async with as_caller(client.url, token["token"]) as caller:
        assert (await caller.ask("GET", "/v2/me")).status == 200
        clock.advance(hours=1)
        assert (await caller.ask("GET", "/v2/me")).body["code"] == "unauthenticated"


@pytest.mark.asyncio(loop_scope="session")
async def test_requests_without_a_token_are_rejected(unchanged: Api) -> None:
    async with as_caller(unchanged.client.url, None) as anonymous:
        for path in ("/v2/job", "/v2/events", "/v2/token", "/v2/provider", "/v2/stream", "/v2/definition"):
            assert (await anonymous.ask("GET", path)).status == 401
        assert (await anonymous.ask("GET", "/v2/me", Authorization="Basic YTpi")).status == 401
        assert (await anonymous.ask("GET", "/")).headers["Location"] == "/sign-in"
        assert (await anonymous.ask("GET", "/livez")).body["message"] == "live"


# Browsers


@pytest.fixture
async def browser(client: Client) -> AsyncIterator[Client]:
    async with as_caller(client.url, None) as browser:
        yield browser


async def signed_in(client: Client, browser: Client) -> str:
    """Sign a browser in by a link and return the secret of its session."""
    link = (await client.post("/v2/sign-in"))["path"]
    for method in ("HEAD", "GET", "GET"):  # a program that looks at the link does not use it up
        assert (await browser.ask(method, link)).status == 200
    code = link.removeprefix("/sign-in?code=")
    assert f'value="{code}"'.encode() in (await browser.ask("GET", link)).body
    answer = await post(browser, "/sign-in", code=code)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert (await post(browser, "/sign-in", code=code)).status == 401, "a link works once"
    return cookie.partition("=")[2].partition(";")[0]


async def test_a_sign_in_link_expires(client: Client, browser: Client, clock: WallClock) -> None:
    link = (await client.post("/v2/sign-in"))["path"]
    clock.advance(minutes=15)
    assert (await post(browser, "/sign-in", code=link.removeprefix("/sign-in?code="))).status == 401


async def test_a_browser_signs_in_and_acts_by_forms(client: Client, browser: Client) -> None:
    job = await client.draft("<script>alert(1)</script>")
    session = await signed_in(client, browser)
    form = {"form_token": form_token(session)}
    page = (await browser.ask("GET", f"/job/{job['id']}")).body.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert re.findall(r'name="form_token" value="(\w+)"', page)[0] == form["form_token"]
    done = await post(browser, f"/job/{job['id']}/resume", **form)
    assert (done.status, done.headers["Location"]) == (303, f"/job/{job['id']}")
    refused = await post(browser, f"/job/{job['id']}/resume", **form)
    assert (refused.status, "Action failed" in await refused.text()) == (409, True)
    paused = await post(browser, f"/job/{job['id']}/pause", **form, **{"for": "1h"})
    assert paused.status == 303
    assert (await client.get(f"/v2/job/{job['id']}"))["sleep_until"] == "2026-05-04T13:00:00Z"
    for path, more, status in (
        (f"/job/{job['id']}/dance", {}, 404),
        ("/job/unknown/run", {}, 404),
        (f"/job/{job['id']}/pause", {"for": "long"}, 422),
    ):
        assert (await post(browser, path, **form, **more)).status == status, path
    assert (await post(browser, f"/job/{job['id']}/kill")).status == 403, "without a form token"
    assert (await browser.ask("GET", "/")).status == 200
    assert (await post(browser, "/sign-out", **form)).status == 303
    assert (await browser.ask("GET", "/")).status == 303
    assert (await browser.ask("GET", "/", Cookie=f"{COOKIE}={session}")).status == 303, "the session has ended"


async def post(browser: Client, path: str, **form: str) -> aiohttp.ClientResponse:
    answer = await browser.session.post(browser.url + path, data=form, allow_redirects=False)
    await answer.read()
    return answer


async def test_a_browser_signs_in_with_a_token(client: Client, browser: Client) -> None:
    token = (await client.post("/v2/token", {"name": "ada", "role": "viewer"}))["token"]
    assert (await browser.ask("GET", "/sign-in")).status == 200
    assert (await post(browser, "/sign-in", token="wrong")).status == 401
    assert (await post(browser, "/sign-in", token=token)).status == 303
    job = await client.draft("shown")
    page = (await browser.ask("GET", f"/job/{job['id']}")).body.decode()
    assert "/resume" not in page, "a viewer has no buttons"


async def test_a_browser_session_is_listed_and_ended(client: Client, browser: Client) -> None:
    await signed_in(client, browser)
    (session,) = await client.get("/v2/session")
    assert (session["name"], session["role"]) == ("admin", "admin")
    assert (await client.ask("DELETE", f"/v2/session/{session['id']}")).status == 200
    assert (await browser.ask("GET", "/")).status == 303
    assert await client.get("/v2/session") == []
    assert (await client.ask("DELETE", f"/v2/session/{session['id']}")).status == 404


@pytest.mark.parametrize("ended", ["revoked token", "revoked token of a session", "ended session", "expired session"])
async def test_an_open_event_stream_ends_with_its_token(
    client: Client, browser: Client, clock: WallClock, ended: str
) -> None:
    token = await client.post("/v2/token", {"name": "ada", "role": "viewer"})
    if ended == "revoked token":
        browser.session.headers["Authorization"] = f"Bearer {token['token']}"
    else:
        assert (await post(browser, "/sign-in", token=token["token"])).status == 303
    async with following(browser.session, browser.url) as stream:
        assert (await stream.next())[1] == "ready"
        match ended:
            case "revoked token" | "revoked token of a session":
                await client.ask("DELETE", f"/v2/token/{token['id']}")
            case "ended session":
                (session,) = await client.get("/v2/session")
                await client.ask("DELETE", f"/v2/session/{session['id']}")
            case _:
                clock.advance(hours=12)
        async with asyncio.timeout(10):
            assert await stream.response.content.read() == b""


async def test_a_token_that_expires_in_the_past_is_refused(client: Client) -> None:
    body = {"name": "ada", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}
    answer = await client.ask("POST", "/v2/token", body)
    assert (answer.status, answer.body["errors"][0]["code"]) == (422, "bad_expiry")


async def test_the_list_page_is_paged_filtered_and_sorted(client: Client, browser: Client) -> None:
    for name in ("one", "two", "three"):
        await client.draft(name)
    await signed_in(client, browser)

    async def page(query: str) -> str:
        body: bytes = (await browser.ask("GET", f"/?{query}")).body
        return body.decode()

    first = await page("limit=2&sort=name")
    assert ("one" in first, "three" in first, "two" in first) == (True, True, False)
    (following,) = re.findall(r'href="/\?([^"]*cursor=[^"]*)"', first)
    second = await page(following.replace("&amp;", "&"))
    assert ("two" in second, "three" in second) == (True, False)
    assert "sort=-name" in first, "a link reverses the order"
    assert "three" not in await page("status=Running")
    assert (await browser.ask("GET", "/?limit=x", Accept="text/html")).status == 422


async def test_another_site_cannot_use_the_session(client: Client, browser: Client) -> None:
    job = await client.draft()
    good = form_token(await signed_in(client, browser))
    path = f"/v2/job/{job['id']}/resume"
    assert (await browser.ask("POST", path)).body["code"] == "stale_form"
    for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert (await browser.ask("POST", path, X_Form_Token=good, **headers)).body["code"] == "cross_site"
    assert (await browser.ask("POST", path, X_Form_Token=good, Origin=browser.url)).status == 200
    assert (await browser.ask("GET", "/v2/me", Authorization="Bearer wrong")).status == 401


@pytest.mark.asyncio(loop_scope="session")
async def test_a_foreign_host_name_is_rejected(unchanged: Api) -> None:
    for host in ("evil.example", "evil.example:80", "evil.example@localhost", "[::2]", "[bad", ""):
        answer = await unchanged.client.ask("GET", "/livez", Host=host)
        assert (answer.status, answer.body["code"]) == (421, "wrong_host")
    assert (await unchanged.client.ask("GET", "/livez", Host="localhost:1234")).status == 200


@pytest.mark.asyncio(loop_scope="session")
async def test_every_response_forbids_foreign_scripts(unchanged: Api) -> None:
    for path in ("/livez", "/sign-in", "/static/live.js", "/nowhere", "/v2/job"):
        headers = (await unchanged.client.ask("GET", path)).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static/") else "no-store")


# Malformed requests


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
    ids=lambda value: value[:20] if isinstance(value, bytes) else str(value),
)
@pytest.mark.asyncio(loop_scope="session")
async def test_a_hostile_body_is_a_problem(unchanged: Api, raw: bytes, kind: str, status: int, code: str) -> None:
    answer = await unchanged.client.ask("POST", UNCHECKED, raw=raw, Content_Type=kind)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_compressed_body_is_not_supported(unchanged: Api) -> None:
    answer = await unchanged.client.ask("POST", UNCHECKED, new_job(), Content_Encoding="gzip")
    assert (answer.status, answer.body["code"]) == (415, "packed_body")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_request_id_is_used_again_if_it_is_valid(unchanged: Api) -> None:
    for request_id, accepted in (("my-request.1", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)):
        answer = await unchanged.client.ask("GET", "/v2/me", X_Request_ID=request_id)
        assert (answer.headers["X-Request-ID"] == request_id) == accepted
        assert answer.body["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.asyncio(loop_scope="session")
async def test_unknown_paths_and_methods_are_problems_too(unchanged: Api) -> None:
    assert (await unchanged.client.ask("GET", "/v2/nothing")).body["code"] == "no_such_path"
    assert b"<html" in (await unchanged.client.ask("GET", "/nothing", Accept="text/html")).body
    assert (await unchanged.client.ask("GET", "/v2/nothing", Accept="text/html")).body["code"] == "no_such_path"
    wrong = await unchanged.client.ask("DELETE", "/v2/job")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert (await unchanged.client.ask("HEAD", "/v2/job")).status == 200


async def test_an_internal_error_does_not_show_its_cause(
    client: Client, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    async with api.services.store.database.writing() as connection:
        await connection.run_sync(lane_switches.drop)
    failed = await client.ask("POST", "/v2/lane/backfill/pause")
    assert (failed.status, failed.body["code"]) == (500, "internal")
    assert "lane_switches" not in str(failed.body)
    assert "lane_switches" in caplog.text


async def test_a_request_that_takes_too_long_may_be_repeated(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "REQUEST_TIMEOUT_SECONDS", 0.0)
    late = await client.ask("GET", "/v2/job")
    assert (late.status, late.body["code"], late.headers["Retry-After"]) == (503, "timeout", "5")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "sort=size", "status=Happy", "cursor=!!", "sorted=name", "limit=1&limit=2",
     "search=%00"],
)  # fmt: skip
@pytest.mark.asyncio(loop_scope="session")
async def test_an_invalid_query_is_reported_by_parameter(unchanged: Api, query: str) -> None:
    refused = await unchanged.client.ask("GET", f"/v2/job?{query}")
    name = query.split("=", maxsplit=1)[0]
    assert (refused.status, refused.body["errors"][0]["pointer"].split("/")[0]) == (422, f"?{name}")
