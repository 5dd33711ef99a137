"""Fetching over HTTP from a real server on loopback: resuming, redirects, refusals, and what stays hidden."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from connectors.contract import Batch, ConnectorError, FixConfiguration, Limits, RateLimited, RetryLater
from connectors.kit.http_source import retry_after
from connectors.kit.public_addresses import PublicResolver, is_public
from connectors.providers.file import CONNECTOR, Config, check, read

ROWS = b"a,b\n" + b"".join(b"%d,x\n" % each for each in range(60_000))
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
    for each in servers:
        await each.close()


async def everything(source: str, cursor: dict[str, object] | None = None, limits: Limits = LIMITS) -> list[Batch]:
    return [each async for each in read(Config(source=source, stream="s"), cursor or {}, limits)]


async def failure(source: str, limits: Limits = LIMITS) -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        await everything(source, limits=limits)
    return raised.value


class Files:
    """Serves bytes, with ranges as a file server does, and keeps what it was asked."""

    def __init__(self, data: bytes, etag: str | None = '"one"') -> None:
        self.data = data
        self.etag = etag
        self.asked: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        headers = {"ETag": self.etag} if self.etag else {}
        wanted = request.headers.get("Range")
        if not wanted or request.headers.get("If-Range") != self.etag:
            return web.Response(body=self.data, headers=headers)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        return web.Response(status=206, body=self.data[start:], headers=headers)


def payload(batches: list[Batch]) -> bytes:
    return b"".join(each.payload for each in batches)


@pytest.mark.parametrize("etag", ['"one"', 'W/"weak"', None])
async def test_reading_goes_on_behind_the_cursor_with_and_without_ranges(serve: Serve, etag: str | None) -> None:
    files = Files(ROWS, etag)
    url = await serve(files.handle) + "a.csv"
    whole = await everything(url)
    assert sum(each.count for each in whole) == 60_000
    assert {each.bytes_total for each in whole} == {len(ROWS)}
    tail = await everything(url, dict(whole[-2].cursor))
    assert payload(tail) == whole[-1].payload
    assert ("Range" in files.asked[-1]) == (etag == '"one"')
    assert await everything(url, dict(whole[-1].cursor)) == []


async def test_a_resource_that_was_changed_is_noticed(serve: Serve) -> None:
    files = Files(ROWS)
    url = await serve(files.handle) + "a.csv"
    cursor = dict((await everything(url))[-1].cursor)
    files.data, files.etag = ROWS + b"new,x\n", '"two"'
    assert payload(await everything(url, cursor)) == b'{"a":"new","b":"x"}\n'
    files.data = ROWS.replace(b"59999", b"5999x")
    with pytest.raises(FixConfiguration) as refusal:
        await everything(url, cursor)
    assert refusal.value.code == "source_changed"


async def test_compressed_files_come_as_they_are(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip"} if "encoded" in request.path else {}
        return web.Response(body=gzip.compress(ROWS), headers=headers)

    url = await serve(handler)
    for name in ("a.csv.gz", "encoded.csv"):
        assert sum(each.count for each in await everything(url + name)) == 60_000


@pytest.mark.parametrize(
    ("status", "header", "kind", "code", "wait"),
    [
        (404, None, FixConfiguration, "not_found", None),
        (410, None, FixConfiguration, "not_found", None),
        (401, None, FixConfiguration, "forbidden", None),
        (400, None, FixConfiguration, "unexpected_answer", None),
        (204, None, FixConfiguration, "unexpected_answer", None),
        (408, None, RetryLater, "server_error", None),
        (500, None, RetryLater, "server_error", None),
        (503, "17", RetryLater, "server_error", 17.0),
        (429, "9", RateLimited, "rate_limited", 9.0),
        (429, None, RateLimited, "rate_limited", 60.0),
        (429, "soon", RateLimited, "rate_limited", 60.0),
    ],
)
async def test_an_answer_says_what_happens_next(
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


async def test_a_connection_that_breaks_keeps_what_came_and_is_tried_again(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(ROWS))})
        await response.prepare(request)
        await response.write(ROWS[:300_000])
        await first_seen.wait()
        assert request.transport is not None
        request.transport.close()
        return response

    first_seen = asyncio.Event()
    batches = read(Config(source=await serve(handler) + "a.csv", stream="s"), {}, LIMITS)
    assert (await anext(batches)).count > 5_000
    first_seen.set()
    with pytest.raises(RetryLater) as raised:
        [each async for each in batches]
    assert raised.value.code == "unreachable"


async def test_nobody_there_is_tried_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        error = await failure(f"http://user:hidden@127.0.0.1:{taken.getsockname()[1]}/a.csv?key=hidden")
    assert isinstance(error, RetryLater)
    assert "hidden" not in f"{error.message} {error.detail}"


async def test_a_server_that_is_silent_is_given_up(serve: Serve) -> None:
    released = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    url = await serve(handler)
    limits = Limits(allow_private_networks=True, http_timeout_seconds=0.05)
    error = await failure(url + "a.csv", limits)
    released.set()
    assert isinstance(error, RetryLater)
    assert "took too long" in error.message


async def test_few_redirects_are_followed_and_credentials_stay_with_their_origin(serve: Serve) -> None:
    seen: list[tuple[str, bool]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append((request.path, "Authorization" in request.headers))
        return web.Response(body=b"a\n1\n")

    other = await serve(elsewhere)

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.path, "Authorization" in request.headers))
        target = {"/a.csv": "b.csv", "/b.csv": other + "c.csv"}.get(request.path, request.path)
        raise web.HTTPFound(target)

    url = (await serve(handler)).replace("http://", "http://user:hidden@")
    (batch,) = await everything(url + "a.csv")
    assert seen == [("/a.csv", True), ("/b.csv", True), ("/c.csv", False)]
    assert "hidden" not in batch.source
    error = await failure(url + "round.csv")
    assert (error.code, "hidden" in error.message) == ("too_many_redirects", False)


async def test_redirects_lead_to_http_only(serve: Serve) -> None:
    async def handler(_: web.Request) -> web.Response:
        raise web.HTTPFound("file:///etc/passwd")

    assert (await failure(await serve(handler) + "a.csv")).code == "bad_redirect"


async def test_private_addresses_are_refused_however_they_are_written() -> None:
    limits = Limits(http_timeout_seconds=5)
    for host in ("127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"):
        error = await failure(f"http://{host}:9/a.csv", limits)
        assert (type(error), error.code) == (FixConfiguration, "private_address"), host
    assert (await failure("http://2130706433:9/a.csv", limits)).code == "bad_url"
    (problem,) = await check(Config(source="http://127.0.0.1:9/a.csv", stream="s"), limits)
    assert (problem.field, problem.code) == ("/source", "private_address")


def test_what_is_public() -> None:
    inside = (
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
    wrapped = ("::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "::")
    assert not any(map(is_public, inside + wrapped))
    assert all(map(is_public, ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808")))


class Answers(AbstractResolver):
    """A resolver that says what it was told to."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in self.hosts
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_name_with_any_private_address_is_refused() -> None:
    assert len(await PublicResolver(Answers("8.8.8.8", "1.1.1.1")).resolve("example.com")) == 2
    with pytest.raises(FixConfiguration, match="private"):
        await PublicResolver(Answers("8.8.8.8", "10.0.0.1")).resolve("example.com")


@pytest.mark.parametrize("source", ["ftp://host/a.csv", "http:///a.csv", "http://host:99999/a.csv", "s3://b/a.csv"])
async def test_other_urls_are_refused(source: str) -> None:
    assert (await failure(source)).code == "bad_url"


def test_credentials_are_not_shown() -> None:
    shown = CONNECTOR.redact({"source": "https://user:hidden@host/a.csv?token=hidden#hidden", "stream": "s"})
    assert shown == {"source": "https://host/a.csv?…", "stream": "s"}
    assert CONNECTOR.redact({"source": "a.csv"}) == {"source": "a.csv"}
