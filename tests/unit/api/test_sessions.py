"""Tokens, sessions and sign-in codes at several servers on one log, and at a server that is cut off from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.api.http.auth import COOKIE
from app.auth import Caller, hash_of
from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.tail import MAX_AGE_SECONDS
from schemas.access import PARTITION
from schemas.topics import ACCESS_SESSIONS, DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS
from schemas.wire.codec import decode
from tests.clock import ManualMonotonic
from tests.event_stream import following
from tests.integration.api.rig import Answer, Client, as_caller
from tests.integration.support.service import TOKEN
from tests.unit.api.conftest import Api, Control, WallClock, serving, until_connected, until_sent


@pytest.fixture
def monotonic() -> ManualMonotonic:
    return ManualMonotonic()


@pytest.fixture
async def other(
    client: Client, cluster: MemoryCluster, tmp_path: Path, clock: WallClock, monotonic: ManualMonotonic
) -> AsyncIterator[Api]:
    """A second server, with a data directory of its own."""
    del client  # the first server, whose commands are decided
    data_dir = tmp_path / "other"
    data_dir.mkdir()
    async with serving(cluster, data_dir, clock, monotonic) as other:
        await until_connected(other)
        yield other


@asynccontextmanager
async def without_settings_token(cluster: MemoryCluster, data_dir: Path, clock: WallClock) -> AsyncIterator[Api]:
    """Run a server that has to create an admin token."""
    data_dir.mkdir(exist_ok=True)  # noqa: ASYNC240  # at once
    async with serving(cluster, data_dir, clock, admin_token=None) as api:
        await until_connected(api)
        yield api


async def until_settled(*servers: Api) -> None:
    async with asyncio.timeout(10):
        while not all(server.services.access.admin_token.is_settled for server in servers):
            await asyncio.sleep(0.001)


async def new_token(client: Client, role: str = "viewer") -> Any:
    return await client.post("/v2/token", {"name": "ada", "role": role})


async def ask(server: Api, secret: str, method: str = "GET", path: str = "/v2/me") -> Answer:
    async with as_caller(server.client.url, secret) as caller:
        return await caller.ask(method, path)


async def page(server: Api, session: str) -> int:
    """Ask a server for the list of jobs; 303 leads to the form for signing in."""
    async with as_caller(server.client.url, None) as browser:
        return (await browser.ask("GET", "/", Cookie=f"{COOKIE}={session}")).status


async def signed_in(server: Api, token: str) -> str:
    session = await server.services.access.sign_in(token)
    assert session
    return session


async def until_rejected(server: Api, session: str) -> None:
    async with asyncio.timeout(1):
        while await page(server, session) == 200:
            await asyncio.sleep(0.001)


def caller_of(server: Api, secret: str) -> Caller:
    caller = server.services.access.authenticate(secret)
    assert caller
    return caller


def records(cluster: MemoryCluster) -> list[tuple[str, str]]:
    """Return the ids and types of the records of sessions."""
    written = cluster.records(ACCESS_SESSIONS.name, PARTITION)
    return [(record.key.decode(), type(decode(record.value)).__name__ if record.value else "") for record in written]


# Several servers


async def test_servers_share_tokens_and_sessions(api: Api, other: Api) -> None:
    token = await new_token(api.client)
    session = await signed_in(api, token["token"])
    assert (await ask(other, token["token"])).data == {"name": "ada", "role": "viewer", "token_id": token["id"]}
    assert await page(other, session) == 200
    assert await other.client.get("/v2/token") == await api.client.get("/v2/token")
    (listed,) = await other.client.get("/v2/session")
    assert (listed["name"], listed["role"], listed["root_id"]) == ("ada", "viewer", token["id"])
    await other.services.access.sign_out(session)
    await until_rejected(api, session)


@pytest.mark.parametrize("credential", ["token", "session"])
async def test_a_token_that_one_server_revokes_ends_everywhere(api: Api, other: Api, credential: str) -> None:
    token = await new_token(api.client)
    session = await signed_in(other, token["token"])
    code = await other.services.access.create_code(caller_of(other, session))
    async with as_caller(other.client.url, token["token"] if credential == "token" else None) as listener:
        listener.session.cookie_jar.update_cookies({COOKIE: session})
        async with following(listener.session, listener.url) as stream:
            assert (await stream.next())[1] == "ready"
            await api.client.ask("DELETE", f"/v2/token/{token['id']}")
            async with asyncio.timeout(1):
                assert await stream.response.content.read() == b""
    assert (await ask(other, token["token"])).status == 401
    assert await page(other, session) == 303
    assert await other.services.access.redeem(code) is None


async def test_a_code_opens_one_session_when_two_servers_redeem_it_at_once(
    api: Api, other: Api, cluster: MemoryCluster
) -> None:
    token = await new_token(api.client)
    code = await api.services.access.create_code(caller_of(api, token["token"]))
    await until_current(other)
    opened = await asyncio.gather(api.services.access.redeem(code), other.services.access.redeem(code))
    assert [kind for _, kind in records(cluster)][-2:] == ["BrowserSession", "BrowserSession"], "both tried"
    (session,) = [secret for secret in opened if secret]
    assert await api.services.access.redeem(code) is None
    assert len(await api.client.get("/v2/session")) == len(await other.client.get("/v2/session")) == 1
    assert [await page(server, session) for server in (api, other)] == [200, 200]


async def until_current(server: Api) -> None:
    """Have a server fold a record of its own: it has folded all before it, too."""
    await server.services.access.create_code(caller_of(server, TOKEN))


async def test_a_server_that_starts_knows_the_sessions_and_used_codes(
    api: Api, client: Client, cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    token = await new_token(client)
    code = await api.services.access.create_code(caller_of(api, token["token"]))
    session = await api.services.access.redeem(code)
    assert session
    async with serving(cluster, data_dir, clock) as restarted:
        await until_connected(restarted)
        assert await page(restarted, session) == 200
        assert await restarted.services.access.redeem(code) is None


async def test_a_session_of_the_settings_token_is_valid_at_servers_with_these_settings(
    api: Api, cluster: MemoryCluster, tmp_path: Path, clock: WallClock, control: Control
) -> None:
    del control
    session = await signed_in(api, TOKEN)
    assert await page(api, session) == 200
    async with without_settings_token(cluster, tmp_path / "other", clock) as other:
        assert await page(other, session) == 303
        await other.services.access.sweep()
    assert await page(api, session) == 200


# Cut off from the log


async def test_a_server_that_may_have_missed_a_revocation_answers_503(
    api: Api, other: Api, cluster: MemoryCluster, monotonic: ManualMonotonic
) -> None:
    token = await new_token(api.client)
    session = await signed_in(other, token["token"])
    async with (
        as_caller(other.client.url, None) as anonymous,
        as_caller(other.client.url, token["token"]) as listener,
        following(listener.session, listener.url) as stream,
    ):
        assert (await stream.next())[1] == "ready"
        cluster.set_available(available=False)
        assert (await ask(other, token["token"])).status == 200
        monotonic.now += MAX_AGE_SECONDS + 0.1
        for secret in (token["token"], "unknown"):
            refused = await ask(other, secret)
            assert (refused.status, refused.body["code"]) == (503, "access_not_current")
            assert refused.headers["Retry-After"] == "2"
        assert await page(other, session) == 503
        code = {"code": "unknown"}
        async with anonymous.session.post(f"{other.client.url}/sign-in", data=code, allow_redirects=False) as form:
            assert form.status == 503
        assert (await anonymous.ask("GET", "/v2/me")).status == 401, "nothing has to be checked"
        assert (await anonymous.ask("GET", "/livez")).status == 200
        ready = await anonymous.ask("GET", "/readyz")
        assert ready.body["parts"]["access"] != "ok"
        assert (await other.client.ask("GET", "/v2/me")).status == 200, "the settings decide about their token"
        async with asyncio.timeout(1):
            assert await stream.response.content.read() == b""
    cluster.set_available(available=True)
    async with asyncio.timeout(10):
        while (await ask(other, token["token"])).status != 200:
            await asyncio.sleep(0.01)
    assert await page(other, session) == 200


async def test_a_session_that_can_not_be_stored_is_not_opened(api: Api, other: Api, cluster: MemoryCluster) -> None:
    token = await new_token(api.client)
    cluster.set_available(available=False)
    async with as_caller(other.client.url, None) as browser:
        form = {"token": token["token"]}
        async with browser.session.post(f"{browser.url}/sign-in", data=form, allow_redirects=False) as answer:
            assert (answer.status, COOKIE in answer.cookies) == (503, False)


# Sweeping, and foreign records


async def test_used_and_expired_records_are_swept(api: Api, client: Client, clock: WallClock) -> None:
    access = api.services.access
    token = await new_token(client)
    code = await access.create_code(caller_of(api, token["token"]))
    session = await access.redeem(code)
    assert session
    await access.sweep()
    assert records(api.cluster)[-1] == (hash_of(code), "")
    assert await page(api, session) == 200
    clock.advance(hours=12)
    await access.sweep()
    assert records(api.cluster)[-1] == (hash_of(session), "")
    swept = len(records(api.cluster))
    await access.create_code(caller_of(api, TOKEN))
    await access.sweep()
    assert len(records(api.cluster)) == swept + 1, "each once"


async def test_a_foreign_record_is_skipped(
    api: Api, client: Client, cluster: MemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    token = await new_token(client)
    session = await signed_in(api, token["token"])
    (event,) = cluster.records(DEFINITIONS_EVENTS.name)
    (record,) = cluster.records(ACCESS_SESSIONS.name, PARTITION)
    foreign = [(value, b"\xff", PARTITION) for value in (b"", b"rubbish", event.value, record.value)]
    elsewhere = [(value, record.key, PARTITION + 1) for value in (None, record.value)]
    async with started(cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)) as producer:
        await send(producer, [ProducerRecord(ACCESS_SESSIONS.name, *fields) for fields in (*foreign, *elsewhere)])
    await until_current(api)
    assert await page(api, session) == 200
    async with asyncio.timeout(10):
        while sum("access.sessions@" in message for message in caplog.messages) < 6:
            await asyncio.sleep(0.001)


# Tokens


async def test_a_token_is_accepted_later_while_control_is_away(client: Client, api: Api, control: Control) -> None:
    token = await new_token(client)
    control.deciding.clear()
    created = await client.ask("POST", "/v2/token", {"name": "bob", "role": "viewer"}, Prefer="respond-async")
    revoked = await client.ask("DELETE", f"/v2/token/{token['id']}", Prefer="respond-async")
    assert (created.status, revoked.status) == (202, 202)
    assert (await ask(api, created.data["token"])).status == 401
    control.deciding.set()
    async with asyncio.timeout(10):
        while (await ask(api, created.data["token"])).status != 200 or (await ask(api, token["token"])).status != 401:
            await asyncio.sleep(0.001)


# The admin token of a data directory


async def test_a_server_creates_an_admin_token_that_all_servers_accept(
    api: Api, client: Client, cluster: MemoryCluster, tmp_path: Path, clock: WallClock
) -> None:
    data_dir = tmp_path / "first"
    async with without_settings_token(cluster, data_dir, clock) as first:
        await until_settled(first)
        secret = (data_dir / "admin-token").read_text().strip()
        assert [(await ask(server, secret)).data["role"] for server in (first, api)] == ["admin", "admin"]
        assert (await first.client.ask("GET", "/v2/me")).status == 401, "the token of other settings"
        (token,) = await client.get("/v2/token")
        refused = await ask(first, secret, "DELETE", f"/v2/token/{token['id']}")
        assert (refused.status, refused.body["code"]) == (409, "last_admin")
    async with without_settings_token(cluster, data_dir, clock) as again:
        await until_settled(again)
        assert (data_dir / "admin-token").read_text().strip() == secret
        assert len(await client.get("/v2/token")) == 1
    assert [path.name for path in data_dir.glob("*token*")] == ["admin-token"]


@pytest.mark.parametrize("content", ["the revoked token", "the token of a viewer", "unknown", ""])
async def test_an_invalid_admin_token_is_replaced_at_the_next_start(
    client: Client, cluster: MemoryCluster, tmp_path: Path, clock: WallClock, content: str
) -> None:
    data_dir = tmp_path / "first"
    async with without_settings_token(cluster, data_dir, clock) as first:
        await until_settled(first)
    old = (data_dir / "admin-token").read_text().strip()
    if content == "the revoked token":
        (token,) = await client.get("/v2/token")
        assert (await client.ask("DELETE", f"/v2/token/{token['id']}")).status == 200
    else:
        viewer = (await new_token(client))["token"]
        (data_dir / "admin-token").write_text(viewer if content == "the token of a viewer" else content)
    async with without_settings_token(cluster, data_dir, clock) as again:
        await until_settled(again)
        secret = (data_dir / "admin-token").read_text().strip()
        assert secret != old
        assert (await ask(again, secret)).data["role"] == "admin"
        assert (await ask(again, old)).status == (401 if content == "the revoked token" else 200)


@pytest.mark.parametrize("name", ["admin-token", "admin-token.new"])
async def test_a_token_file_that_can_not_be_read_is_logged_with_the_cause(
    client: Client,
    cluster: MemoryCluster,
    tmp_path: Path,
    clock: WallClock,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    await client.get("/v2/token")
    path = tmp_path / "first" / name
    path.mkdir(parents=True)
    async with without_settings_token(cluster, tmp_path / "first", clock) as first:
        if task := first.services.access.admin_token._task:
            await asyncio.wait({task}, timeout=10)
        (line,) = [line for line in caplog.messages if line.startswith("the admin token can't be read: ")]
        assert f"Is a directory: '{path}'" in line
        assert not first.services.access.admin_token.is_settled


async def test_restarts_before_control_has_decided_create_one_admin_token(
    client: Client, cluster: MemoryCluster, tmp_path: Path, clock: WallClock, control: Control
) -> None:
    control.deciding.clear()
    data_dir = tmp_path / "first"
    for sent in (1, 2):
        async with without_settings_token(cluster, data_dir, clock) as first:
            await until_sent(cluster, sent)
            assert not first.services.access.admin_token.is_settled
            ready = await first.client.ask("GET", "/readyz")
            assert ready.body["parts"]["access"] == "the admin token is not valid yet"
            assert not (data_dir / "admin-token").exists(), "only a valid one is offered"
    control.deciding.set()
    async with without_settings_token(cluster, data_dir, clock) as again:
        await until_settled(again)
        assert len(await client.get("/v2/token")) == 1
        assert (await ask(again, (data_dir / "admin-token").read_text().strip())).status == 200


async def test_servers_that_share_a_data_directory_create_one_admin_token(
    client: Client, cluster: MemoryCluster, tmp_path: Path, clock: WallClock
) -> None:
    data_dir = tmp_path / "shared"
    async with (
        without_settings_token(cluster, data_dir, clock) as one,
        without_settings_token(cluster, data_dir, clock) as two,
    ):
        await until_settled(one, two)
        assert len(await client.get("/v2/token")) == 1
        assert (await ask(two, (data_dir / "admin-token").read_text().strip())).status == 200


async def test_no_admin_token_is_created_beside_that_of_the_settings(api: Api, client: Client) -> None:
    assert await client.get("/v2/token") == []
    assert not list(api.services.settings.data_dir.glob("*token*"))
    assert api.cluster.records(DEFINITIONS_COMMANDS.name) == []
    token = await new_token(client, "admin")
    assert (await client.ask("DELETE", f"/v2/token/{token['id']}")).status == 200, "the last one, besides"
