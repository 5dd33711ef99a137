"""Malformed and incomplete requests get a problem, and are never logged verbatim."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from app.api import server
from app.api.http import connection as port
from app.api.http import request_body
from app.api.http.auth import COOKIE
from app.api.routing.openapi import DESCRIPTIONS
from app.settings import Settings
from tests.integration.api.rig import Client, serving
from tests.integration.support.service import TOKEN
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")

HOST = b"Host: 127.0.0.1\r\nConnection: close\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded"
MALFORMED, NO_FORM = "malformed_request", "wrong_content_type"
SECRET = b"ent_s3cret"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A server without a broker: the requests of these tests do not need one."""
    async with serving(Settings(data_dir=tmp_path, bootstrap_servers="127.0.0.1:1")) as client:
        yield client


async def raw(client: Client, sent: bytes, *, whole: bool = True) -> bytes:
    """Send bytes and return the response until the server closes, or its beginning."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]))
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            return await reader.read(-1 if whole else 4_096)
    finally:
        writer.close()


def post(path: str, *headers: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n" % (path.encode(), HOST, size)
    return head + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /v2/job HTTP/1.1\r\n" + HOST + b"Authorization: " + SECRET + b"\0\r\n\r\n", 400, MALFORMED),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + SECRET + b"x" * 99_000 + b"\r\n\r\n", 400, "line_too_long"),
        (b"\x16\x03\x01\x02\x00" + SECRET + b"\r\n\r\n", 400, MALFORMED),
        (SECRET + b" / HTTP/9.9\r\n\r\n", 400, MALFORMED),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n", 400, MALFORMED),
        (post("/sign-in", b"Content-Type: multipart/form-data", body=b"xx"), 415, NO_FORM),
        (post("/sign-in", b"Content-Type: multipart/form-data; boundary=a", body=b"--a\r\nx"), 415, NO_FORM),
        (post("/sign-in", FORM, b"Content-Encoding: gzip", body=b"token=a"), 415, "packed_body"),
        (post("/sign-in", FORM, b"Content-Encoding: deflate", body=b"token=a"), 415, "unknown_content_encoding"),
        (post("/sign-in", FORM, body=b"token=%ff"), 400, "malformed_form"),
        (post("/sign-in", FORM, body=b"a=b&" * 9_999), 400, "malformed_form"),
        (post("/sign-in", FORM, body=b"token=" + b"a" * 99_999), 413, "too_large"),
    ],
)  # fmt: skip
async def test_a_malformed_request_gets_a_problem_that_does_not_repeat_it(
    client: Client, sent: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await raw(client, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert orjson.loads(body)["code"] == code
    assert b"Server: entrepot\r\n" in head
    assert b"aiohttp" not in answer
    assert SECRET not in answer
    assert SECRET.decode() not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v2/job HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + SECRET + b"\xff\r\n\r\n", 401),
        (b"GET /v2/job HTTP/1.1\r\n" + HOST + b"Cookie: entrepot_session=\xed\xa0\x80\r\n\r\n", 401),
        (post("/sign-out", FORM, b"Cookie: entrepot_session=\xff", body=b"form_token=a"), 403),
    ],
)
async def test_credentials_that_are_not_utf_8_are_invalid(api: Api, sent: bytes, status: int) -> None:
    assert int((await raw(api.client, sent)).split()[1]) == status


async def test_connections_beyond_the_bound_are_refused_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        runner = port.Port(web.Application(), shutdown_timeout=1, max_connections=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = runner.addresses[0]
        _, first = await asyncio.open_connection(*address)
        stack.callback(first.close)
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*address)
            stack.callback(writer.close)
            refusal = await reader.read()
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert orjson.loads(refusal.partition(b"\r\n\r\n")[2])["code"] == "too_many_connections"
    assert caplog.messages == ["refusing connections: 1 are open"]


@pytest.mark.parametrize(("name", "value"), [("MAX_CONNECTIONS", 1), ("raise_file_limit", lambda: 3)])
async def test_a_server_has_a_bound_of_connections_and_half_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.setattr(server, name, value)
    async with serving(Settings(data_dir=tmp_path, bootstrap_servers="127.0.0.1:1")) as client:
        _, first = await asyncio.open_connection("127.0.0.1", int(client.url.rpartition(":")[2]))
        try:
            request = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
            assert (await raw(client, request, whole=False)).startswith(b"HTTP/1.1 503 ")
        finally:
            first.close()


async def test_several_credentials_are_refused_whichever_is_valid(api: Api) -> None:
    valid, invalid = f"Authorization: Bearer {TOKEN}\r\n".encode(), b"Authorization: Bearer x\r\n"
    for headers, status in ((valid, 200), (valid + invalid, 401), (invalid + valid, 401), (valid + valid, 401)):
        answer = await raw(api.client, b"GET /v2/job HTTP/1.1\r\n" + HOST + headers + b"\r\n")
        assert int(answer.split()[1]) == status


async def test_a_form_token_that_is_not_utf_8_is_stale(api: Api) -> None:
    session = await api.services.access.sign_in(TOKEN)
    assert session
    headers = (f"Cookie: {COOKIE}={session}".encode(), b"X-Form-Token: \xff", b"Sec-Fetch-Site: same-origin")
    answer = await raw(api.client, post("/v2/token", *headers, body=b"{}"))
    assert (int(answer.split()[1]), orjson.loads(answer.partition(b"\r\n\r\n")[2])["code"]) == (403, "stale_form")


async def test_every_status_in_the_document_has_a_description(client: Client) -> None:
    paths = (await client.ask("GET", "/openapi.json")).body["paths"]
    assert paths["/v2/job"]["post"]["responses"]["408"]["description"] == DESCRIPTIONS[408]


async def test_a_static_directory_is_not_found(client: Client) -> None:
    for path in ("/static/", "/static"):
        answer = await client.ask("GET", path)
        assert (answer.status, answer.body["code"]) == (404, "no_such_path")
    assert (await client.ask("GET", "/static/style.css")).status == 200


async def test_a_form_in_an_unknown_charset_is_read_as_utf8(api: Api) -> None:
    form = post("/sign-in", FORM + b"; charset=zz", body=b"token=a")
    assert (await raw(api.client, form)).startswith(b"HTTP/1.1 401")


async def test_a_client_that_sends_half_a_request_is_disconnected(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "IDLE_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(request_body, "ARRIVAL_TIMEOUT_SECONDS", 0.3)
    assert await raw(client, b"") == b""
    assert await raw(client, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ") == b""
    answer = await raw(client, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /livez HTTP/1.1\r\n")
    assert answer.count(b"HTTP/1.1 200") == 1
    assert (await raw(client, post("/sign-in", FORM, body=b"token=", length=99), whole=False)).startswith(
        b"HTTP/1.1 408"
    )


async def test_a_body_is_rejected_by_its_announced_length(api: Api) -> None:
    headers = f"Authorization: Bearer {TOKEN}".encode(), b"Content-Type: application/json"
    assert (await raw(api.client, post("/v2/job", *headers, length=5_000_000), whole=False)).startswith(b"HTTP/1.1 413")
