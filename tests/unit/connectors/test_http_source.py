"""HTTP sources, with a real server on loopback: resuming, redirects, errors and redaction."""

import asyncio
import base64
import gc
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.test_utils import TestServer

from connectors.contract import Batch, ConnectorError, FixConfiguration, Limits, RateLimited, RestoreSource, RetryLater
from connectors.kit.http_address import parse_address, redirected
from connectors.kit.http_failures import request_error, retry_after
from connectors.kit.http_source import REDIRECTS
from connectors.kit.public_addresses import PublicResolver, ThreadResolver, is_public
from connectors.kit.threads import DaemonThreads
from connectors.providers.file import CONNECTOR, Config, check, read
from tests.certificates import self_signed

ROWS = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(60_000))
LIMITS = Limits(allow_private_networks=True, batch_bytes=64 * 1024, http_timeout_seconds=5)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/{name:.*}", handler)
        servers.append(TestServer(app, host="127.0.0.1"))
        await servers[-1].start_server()
        return str(servers[-1].make_url("/"))

    yield start
    for server in servers:
        await server.close()


async def read_all(source: str, cursor: dict[str, object] | None = None, limits: Limits = LIMITS) -> list[Batch]:
    return [batch async for batch in read(Config(source=source, stream="s"), cursor or {}, limits)]


async def failure(source: str, limits: Limits = LIMITS) -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        await read_all(source, limits=limits)
    return raised.value


TARGETS = (
    "/people.csv?response-content-type=text%2Fcsv",
    "/people.csv?X-Amz-Credential=KEY%2F20260101%2Feu-west-1%2Fs3%2Faws4_request",
    "/people.csv?X-Goog-Credential=importer%40project.iam.example",
    "/people%20%281%29.csv?v=1",
    "/%7Eexports/people.csv?v=1",
    "/people%27s.csv?v=1",
    "/people.csv?expires=2026-12-31T00%3A00%3A00Z",
    "/people.csv?policy=a%2Bb%2Fc%3D%3D",
    "/people.csv?lower=%2f%7e&upper=%2F",
    "/a/../b/./people.csv?v=1",
    "//a//people.csv",
    "/people.csv?",
    "/people.csv?&&a=&=b&a",
    "/people.csv?q=a+b%20c;d=/?e:f@g!$'()*,[0]",
    "/p%C3%A9ople.csv?q=%E2%82%AC",
    "/%252Fpeople.csv?q=%2525",
    "/%2e%2E/%2e/people.csv?v=1",
    "/people.csv;version=2?a;b=c",
    "/a%5Cb%7C%5B1%5D.csv?x=%00%ff&y=%0D%0A",
    "/people.csv?url=https%3A%2F%2Fh%2Fa.csv%3Fb%3Dc%23d&e=https://h/a.csv?b=c",
    "/p%FFople%2Ecsv?name=gr%F6%DFe",
    "/~a/-_.!$&'()*+,;=:@/people.csv?-_.!~*'()",
    "/%E2%80%8Bpeople.csv?q=%C3%85&r=A%CC%8A",
    "/people.csv?Signature=a%2bB%2Fc%3d&Key-Pair-Id=K&Expires=1",
    "/x?",
    "/%3Fa=b%23c?d",
)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", ["direct", "redirected", "redirected on the host"])
async def test_a_signed_link_is_requested_as_it_was_signed(serve: Serve, target: str, way: str) -> None:
    requested: list[str] = []
    statuses = sorted(REDIRECTS)

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/go":
            location = target if way == "redirected on the host" and not target.startswith("//") else url + target
            return web.Response(status=statuses[len(target) % len(statuses)], headers={"Location": location})
        requested.append(request.raw_path)
        return web.Response(body=b"a\n1\n")

    url = (await serve(handler)).rstrip("/")
    source = url + (target if way == "direct" else "/go")
    (batch,) = [batch async for batch in read(Config(source=source, stream="s", format="csv"), {}, LIMITS)]
    assert (batch.count, requested) == (1, [target])


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("http://h", "/"),
        ("http://h?q=1#part", "/?q=1"),
        ("HTTP://h/a b\tc|d", "/a%20b%09c%7Cd"),
        ("http://h/größe.csv?q=€", "/gr%C3%B6%C3%9Fe.csv?q=%E2%82%AC"),
        ("http://h/100%.csv?q=5%zz", "/100%25.csv?q=5%25zz"),
        ('http://h/"<>`{}^\\', "/%22%3C%3E%60%7B%7D%5E%5C"),
        ("http://h/a\r\nHost: evil", "/a%0D%0AHost:%20evil"),
    ],
)
def test_only_illegal_characters_are_quoted(given: str, sent: str) -> None:
    assert parse_address(given).target == sent
    assert parse_address(given).url.raw_path_qs == sent


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        ("a:b@", "a:b"),
        ("token@", "token:"),
        (":token@", ":token"),
        ("a%40b:%3a%2F@", "a@b::/"),
        ("@", None),
        ("", None),
    ],
)
def test_a_user_in_a_url_becomes_a_header(user: str, sent: str | None) -> None:
    address = parse_address(f"https://{user}h:443/a%2Fb")
    header = None if sent is None else "Basic " + base64.b64encode(sent.encode()).decode()
    assert (address.authorization, str(address.url)) == (header, "https://h/a%2Fb")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("b.csv?x=%2F", "http://h:81/x/y/b.csv?x=%2F"),
        ("./b.csv", "http://h:81/x/y/b.csv"),
        ("../../b.csv", "http://h:81/b.csv"),
        ("../../../b.csv", "http://h:81/b.csv"),
        ("..", "http://h:81/x/"),
        ("/z/../b%7E.csv", "http://h:81/z/../b%7E.csv"),
        ("?page=2", "http://h:81/x/y/a.csv?page=2"),
        ("#part", "http://h:81/x/y/a.csv?k=1"),
        ("", "http://h:81/x/y/a.csv?k=1"),
        ("//other/b.csv", "http://other/b.csv"),
        ("https://other:444/a/../b%2f?q=%7e", "https://other:444/a/../b%2f?q=%7e"),
        ("/gr\udcf6\udcdfe.csv", "http://h:81/gr%F6%DFe.csv"),
        ("a/../b.csv", "http://h:81/x/y/a/../b.csv"),
        ("%2e%2e/b.csv", "http://h:81/x/y/%2e%2e/b.csv"),
        ("HTTP://H:81/a b", "http://h:81/a%20b"),
        ("/\\evil/b.csv", "http://h:81/%5Cevil/b.csv"),
        ("a:b.csv", None),
        ("https:/b.csv", None),
        ("///b.csv", None),
        ("http:///b.csv", None),
        ("javascript:alert(1)", None),
    ],
)
def test_redirects_are_followed_as_they_were_given(location: str, target: str | None) -> None:
    address = parse_address("http://user:hidden@h:81/x/y/a.csv?k=1")
    if target is None:
        with pytest.raises(FixConfiguration, match="bad_redirect"):
            redirected(address, location)
        return
    followed = redirected(address, location)
    assert f"{followed.origin}{followed.target}" == target
    assert (followed.authorization is not None) == (followed.origin == address.origin)


class FileServer:
    """A file server with range requests that records the request headers."""

    def __init__(self, data: bytes, etag: str | None = '"one"') -> None:
        self.data = data
        self.etag = etag
        self.requests: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.headers))
        headers = {"ETag": self.etag} if self.etag else {}
        requested = request.headers.get("Range")
        if not requested or request.headers.get("If-Range") != self.etag:
            return web.Response(body=self.data, headers=headers)
        start = int(requested.removeprefix("bytes=").removesuffix("-"))
        headers["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        return web.Response(status=206, body=self.data[start:], headers=headers)


def payload(batches: list[Batch]) -> bytes:
    return b"".join(batch.payload for batch in batches)


@pytest.mark.parametrize("etag", ['"one"', 'W/"weak"', None])
async def test_reading_resumes_with_and_without_range_requests(serve: Serve, etag: str | None) -> None:
    files = FileServer(ROWS, etag)
    url = await serve(files.handle) + "a.csv"
    whole = await read_all(url)
    assert sum(batch.count for batch in whole) == 60_000
    assert {batch.bytes_total for batch in whole} == {len(ROWS)}
    tail = await read_all(url, dict(whole[-2].cursor))
    assert payload(tail) == whole[-1].payload
    assert ("Range" in files.requests[-1]) == (etag == '"one"')
    assert await read_all(url, dict(whole[-1].cursor)) == []


async def test_a_changed_resource_is_detected(serve: Serve) -> None:
    files = FileServer(ROWS)
    url = await serve(files.handle) + "a.csv"
    cursor = dict((await read_all(url))[-1].cursor)
    files.data, files.etag = ROWS + b"new,x\n", '"two"'
    assert payload(await read_all(url, cursor)) == b'{"a":"new","b":"x"}\n'
    files.data = ROWS.replace(b"59999", b"5999x")
    with pytest.raises(FixConfiguration) as error:
        await read_all(url, cursor)
    assert error.value.code == "source_changed"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("encoding", ["", "gzip", "X-GZIP", "gzip, identity"])
async def test_a_content_encoding_is_undone_and_so_is_the_compression(
    serve: Serve, name: str, layers: int, encoding: str
) -> None:
    body = ROWS
    for _ in range(layers):
        body = gzip.compress(body, 1)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": encoding} if encoding else {})

    source = await serve(handler) + name
    assert sum(batch.count for batch in await read_all(source)) == 60_000
    if encoding and layers == 1:
        config = Config(source=source, stream="s", compression="none")
        assert sum([batch.count async for batch in read(config, {}, LIMITS)]) == 60_000


@pytest.mark.parametrize(
    ("name", "content_type", "body", "expected"),
    [
        ("export", "text/csv", b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("export", "Text/CSV; charset=UTF-8", b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("export", "text/tab-separated-values", b"a\tb\n1\t2\n", [{"a": "1", "b": "2"}]),
        ("export", "application/json", b'[{"a": 1}]', [{"a": 1}]),
        ("export", "application/json", b'{"a": 1}', [{"a": 1}]),
        ("export", "application/octet-stream", b'[{"a": 1}]', [{"a": 1}]),
        ("a.csv", "application/vnd.ms-excel", b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("a.csv", "text/html", b"Please sign in\n", "html_type"),
        ("export", "text/html; charset=utf-8", b"Please sign in\n", "html_type"),
        ("a.csv", "text/csv", b"<!DOCTYPE html><p>Please sign in</p>", "html_page"),
        ("a.csv", "text/csv", b'{"message": "Forbidden"}', "json_not_csv"),
        ("a.csv", "application/json", b"[]", "json_not_csv"),
        ("export", "text/plain", b"a,b\n1,2\n", "unknown_format"),
        ("a.csv", "text/csv; header=absent", b"1,2\n", "columns_unnamed"),
    ],
)
async def test_the_content_and_its_type_decide(
    serve: Serve, name: str, content_type: str, body: bytes, expected: list[dict[str, object]] | str
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    source = await serve(handler) + name
    if isinstance(expected, str):
        assert (await failure(source)).code == expected
    else:
        assert [orjson.loads(batch.payload) for batch in await read_all(source)] == expected


async def test_a_configured_format_goes_before_the_content_type(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"a,b\n1,2\n", content_type="text/html")

    config = Config(source=await serve(handler), stream="s", format="csv")
    assert sum([batch.count async for batch in read(config, {}, LIMITS)]) == 1


async def test_a_response_without_a_header_row_is_all_data(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"1,2\n3,4\n", headers={"Content-Type": "text/csv; header=absent"})

    config = Config(source=await serve(handler), stream="s", fields=("a", "b"))
    assert sum([batch.count async for batch in read(config, {}, LIMITS)]) == 2


@pytest.mark.parametrize(
    ("status", "header", "kind", "code", "wait"),
    [
        (404, None, RestoreSource, "not_found", None),
        (410, None, RestoreSource, "not_found", None),
        (407, None, FixConfiguration, "proxy_refused", None),
        (416, None, FixConfiguration, "source_changed", None),
        (401, None, RestoreSource, "forbidden", None),
        (400, None, FixConfiguration, "unexpected_response", None),
        (204, None, FixConfiguration, "unexpected_response", None),
        (408, None, RetryLater, "server_error", None),
        (500, None, RetryLater, "server_error", None),
        (503, "17", RetryLater, "server_error", 17.0),
        (429, "9", RateLimited, "rate_limited", 9.0),
        (429, None, RateLimited, "rate_limited", 60.0),
        (429, "soon", RateLimited, "rate_limited", 60.0),
    ],
)
async def test_the_status_decides_what_happens_next(
    serve: Serve, status: int, header: str | None, kind: type[ConnectorError], code: str, wait: float | None
) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": header} if header else {})

    error = await failure(await serve(handler) + "a.csv")
    assert type(error) is kind
    assert error.code == code
    assert getattr(error, "retry_after", None) == wait


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert in_a_minute is not None
    assert 50 < in_a_minute <= 60
    assert retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0.0


async def test_a_broken_connection_keeps_received_records_and_is_retried(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(ROWS))})
        await response.prepare(request)
        await response.write(ROWS[:300_000])
        await first_batch_read.wait()
        assert request.transport is not None
        request.transport.close()
        return response

    first_batch_read = asyncio.Event()
    batches = read(Config(source=await serve(handler) + "a.csv", stream="s"), {}, LIMITS)
    assert (await anext(batches)).count > 5_000
    first_batch_read.set()
    with pytest.raises(RetryLater) as raised:
        [batch async for batch in batches]
    assert raised.value.code == "disconnected"


async def test_a_refused_connection_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hidden@proxy.example:3128")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but not listening
        error = await failure(f"http://user:hidden@127.0.0.1:{closed.getsockname()[1]}/a.csv?key=hidden")
    assert isinstance(error, RetryLater)
    assert (error.code, error.params["proxy"]) == ("connection_refused", "HTTPS_PROXY")
    assert "hidden" not in f"{error.params} {error.detail}"


async def test_an_unknown_host_is_named() -> None:
    error = await failure("http://nowhere.invalid/a.csv")
    assert (type(error), error.code) == (RetryLater, "dns_failure")
    assert (await failure(f"http://{'a' * 64}.invalid/a.csv")).code == "bad_url"


async def test_a_host_without_a_route_is_named() -> None:
    error = await failure("http://255.255.255.255:9/a.csv")
    assert (type(error), error.code) == (RetryLater, "unreachable")


@pytest.mark.parametrize(
    ("scheme", "reply", "code"),
    [
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n", "malformed_response"),
        ("http", b"", "disconnected"),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls_failure"),
        ("https", b"", "disconnected"),
    ],
)
async def test_a_server_of_another_protocol_is_named(scheme: str, reply: bytes, code: str) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        error = await failure(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.csv")
    assert (type(error), error.code) == (RetryLater, code)


async def test_a_bad_certificate_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    context = self_signed(tmp_path / "certificate.pem")
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        error = await failure(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.csv")
    assert (type(error), error.code) == (FixConfiguration, "bad_certificate")
    assert "self-signed" in str(error.params["reason"])
    assert error.params["trust_store"] == "SSL_CERT_FILE"


@pytest.mark.parametrize(
    ("code", "message"), [(62, "Hostname mismatch, certificate is not valid for 'a.example'."), (10, "has expired")]
)
def test_a_trust_store_is_no_advice_for_an_expired_certificate_or_another_name(code: int, message: str) -> None:
    cause = ssl.SSLCertVerificationError()
    cause.verify_code, cause.verify_message = code, message
    key = ConnectionKey("a.example", 443, True, True, None, None, None)
    error = request_error("https://a.example/", aiohttp.ClientConnectorCertificateError(key, cause))
    assert error.params == {"url": "https://a.example/", "reason": message.rstrip(".")}


@pytest.mark.parametrize("path", ["/a.csv", "/go", "/encoded"])
async def test_refused_responses_are_closed(serve: Serve, path: str) -> None:
    """An unclosed response warns when it is collected in debug mode, and warnings are errors."""
    asyncio.get_running_loop().set_debug(True)

    released = asyncio.Event()
    refused = {
        "/a.csv": (403, {}),
        "/go": (302, {"Location": "ftp://other/"}),
        "/encoded": (200, {"Content-Encoding": "br"}),
    }

    async def handler(request: web.Request) -> web.StreamResponse:
        status, headers = refused[request.path]
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await released.wait()
        return response

    await failure((await serve(handler)).rstrip("/") + path)
    gc.collect()
    released.set()


async def test_a_silent_server_times_out(serve: Serve) -> None:
    released = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    url = await serve(handler)
    limits = Limits(allow_private_networks=True, http_timeout_seconds=0.05)
    error = await failure(url + "a.csv", limits)
    released.set()
    assert isinstance(error, RetryLater)
    assert error.code == "timed_out"


async def test_the_complete_records_of_a_slow_server_are_not_held_back(serve: Serve) -> None:
    released = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a,b\n1,x\n2,y\n3")
        await released.wait()
        await response.write(b",z\n4,z\n")
        return response

    received: list[int] = []
    limits = replace(LIMITS, batch_seconds=0.01, received=received.append)
    batches = read(Config(source=await serve(handler) + "a.csv", stream="s"), {}, limits)
    first = await anext(batches)
    assert not released.is_set()
    assert first.count == 2
    released.set()
    rest = [batch async for batch in batches]
    assert payload([first, *rest]) == b"".join(
        b'{"a":"%d","b":"%c"}\n' % row for row in zip(b"\1\2\3\4", b"xyzz", strict=True)
    )
    assert sum(received) == len(b"a,b\n1,x\n2,y\n3,z\n4,z\n")


async def test_redirects_are_limited_and_credentials_stay_with_their_origin(serve: Serve) -> None:
    requests: list[tuple[str, bool]] = []

    async def other_origin(request: web.Request) -> web.Response:
        requests.append((request.path, "Authorization" in request.headers))
        return web.Response(body=b"a\n1\n")

    other = await serve(other_origin)

    async def handler(request: web.Request) -> web.Response:
        requests.append((request.path, "Authorization" in request.headers))
        target = {"/a.csv": "b.csv", "/b.csv": other + "c.csv"}.get(request.path, request.path)
        raise web.HTTPFound(target)

    url = (await serve(handler)).replace("http://", "http://user:hidden@")
    (batch,) = await read_all(url + "a.csv")
    assert requests == [("/a.csv", True), ("/b.csv", True), ("/c.csv", False)]
    assert "hidden" not in batch.source
    error = await failure(url + "round.csv")
    assert (error.code, "hidden" in str(error.params)) == ("too_many_redirects", False)


async def test_redirects_to_other_schemes_are_rejected(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        raise web.HTTPFound("file:///etc/passwd")

    assert (await failure(await serve(handler) + "a.csv")).code == "bad_redirect"


async def test_private_addresses_are_rejected_in_any_notation() -> None:
    limits = Limits(http_timeout_seconds=5)
    for host in ("127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"):
        error = await failure(f"http://{host}:9/a.csv", limits)
        assert (type(error), error.code) == (FixConfiguration, "private_address"), host
    assert (await failure("http://2130706433:9/a.csv", limits)).code == "bad_url"
    (problem,) = await check(Config(source="http://127.0.0.1:9/a.csv", stream="s"), limits)
    assert (problem.field, problem.code) == ("/source", "private_address")


def test_public_addresses() -> None:
    private = (
        "0.0.0.0",
        "192.0.0.8",
        "fec0::1",
        "64:ff9b:1::1",
        "3fff::1",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
    )
    embedded = (
        "::",
        "::127.0.0.1",
        "::10.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001:0:808:808::f5ff:fffe",
    )
    assert not any(map(is_public, private + embedded))
    assert all(map(is_public, ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::8.8.8.8", "::ffff:0:8.8.8.8")))


class FixedResolver(AbstractResolver):
    """A resolver that returns fixed addresses."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.hosts
        ]

    async def close(self) -> None:
        """Do nothing: no resource is open."""


async def test_a_name_with_any_private_address_is_rejected() -> None:
    assert len(await PublicResolver(FixedResolver("8.8.8.8", "1.1.1.1")).resolve("example.com")) == 2
    with pytest.raises(FixConfiguration, match="private_address"):
        await PublicResolver(FixedResolver("8.8.8.8", "10.0.0.1")).resolve("example.com")


@pytest.mark.parametrize("source", ["ftp://host/a.csv", "http:///a.csv", "http://host:99999/a.csv", "s3://b/a.csv"])
async def test_unsupported_urls_are_rejected(source: str) -> None:
    assert (await failure(source)).code == "bad_url"


def test_credentials_are_redacted() -> None:
    redacted = CONNECTOR.redact({"source": "https://user:hidden@host/a.csv?token=hidden#hidden", "stream": "s"})
    assert redacted == {"source": "https://•••@host/a.csv?•••#•••", "stream": "s"}
    assert CONNECTOR.redact({"source": "a.csv"}) == {"source": "a.csv"}


async def test_dead_name_servers_delay_no_other_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    look_up, released = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, *arguments: Any) -> Any:
        if host == "dead.example":
            released.wait(10)
        return look_up("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = ThreadResolver()
    dead = [asyncio.create_task(resolver.resolve("dead.example", 80)) for _ in range(50)]
    async with asyncio.timeout(5):
        (address,) = await resolver.resolve("live.example", 8080)
    assert not any(task.done() for task in dead)
    assert (address["hostname"], address["host"], address["port"]) == ("live.example", "127.0.0.1", 8080)
    released.set()
    await asyncio.gather(*dead)
