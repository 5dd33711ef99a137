"""Malicious files and servers: a clear error, no skipped records, and a cursor that can be stored."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError

from app.sentences.sentence import sentence_of
from connectors.contract import Batch, ConnectorError, FixConfiguration, Limits, RetryLater
from connectors.kit.http_failures import retry_after
from connectors.providers.file import Config, read
from connectors.text.cursor import cursor_problems
from projections.json_object import MAX_JSON_BYTES

Serve = Callable[[bytes], Awaitable[str]]
Outcome = tuple[list[Batch], ConnectorError | None]
BODY = b"Content-Length: 8\r\n\r\na,b\n1,2\n"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that send fixed bytes in response to every request."""
    servers: list[asyncio.Server] = []

    async def start(response: bytes) -> str:
        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(respond, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/a.csv"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


async def outcome(config: Config, limits: Limits, cursor: dict[str, object]) -> Outcome:
    batches: list[Batch] = []
    try:
        async for batch in read(config, cursor, limits):
            batches.append(batch)  # noqa: PERF401  # keep the batches before an error
    except ConnectorError as error:
        return batches, error
    return batches, None


async def fetch(url: str, cursor: dict[str, object] | None = None) -> Outcome:
    limits = Limits(allow_private_networks=True, http_timeout_seconds=5)
    return await outcome(Config(source=url, stream="s"), limits, cursor or {})


async def read_file(folder: Path, data: bytes, **settings: object) -> Outcome:
    (folder / "a.csv").write_bytes(data)
    config = Config.model_validate({"source": "a.csv", "stream": "s", **settings})
    return await outcome(config, Limits(file_roots=(folder,)), {})


@pytest.mark.parametrize("header", [b'ETag: "\xff\xfe"', b'ETag: "' + b"x" * 8000 + b'"', b"Last-Modified: \x1b[31m"])
async def test_an_unusable_validator_is_not_stored(serve: Serve, header: bytes) -> None:
    (batch,), error = await fetch(await serve(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n" + BODY))
    assert error is None
    assert "validator" not in batch.cursor
    orjson.dumps(batch.cursor)


async def test_an_edited_validator_can_not_inject_headers(serve: Serve) -> None:
    url = await serve(b"HTTP/1.1 200 OK\r\n" + BODY)
    (batch,), _ = await fetch(url)
    assert await fetch(url, {**batch.cursor, "validator": '"x"\r\nEvil: 1'}) == ([], None)


async def test_the_reason_phrase_of_a_server_is_sanitized(serve: Serve) -> None:
    _, error = await fetch(await serve(b"HTTP/1.1 404 \xff\x1b[31m" + b"R" * 5000 + b"\r\nContent-Length: 0\r\n\r\n"))
    assert isinstance(error, FixConfiguration)
    text = sentence_of(error)
    assert text.isprintable()
    assert text.isascii()
    assert len(text) < 250


@pytest.mark.parametrize(
    "header",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2030 00:00:00 +99999999999999999",
        "9" * 400,
        "\u0663",
        "-1",
        "",
    ],
)
def test_an_invalid_retry_after_is_ignored(header: str) -> None:
    assert retry_after(header) is None


@pytest.mark.parametrize("span", [b"0-7/8", b"0-7/*"])
async def test_a_range_that_covers_the_resource_is_complete(serve: Serve, span: bytes) -> None:
    response = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " + span + b"\r\n" + BODY
    batches, error = await fetch(await serve(response))
    assert (sum(batch.count for batch in batches), error) == (1, None)


async def test_a_partial_response_is_not_complete(serve: Serve) -> None:
    response = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-7/4000\r\n" + BODY
    batches, error = await fetch(await serve(response))
    assert sum(batch.count for batch in batches) == 1, "received records are imported"
    assert isinstance(error, RetryLater)
    assert error.code == "partial_response"


async def test_an_unsupported_content_encoding_is_reported(serve: Serve) -> None:
    _, error = await fetch(await serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n" + BODY))
    assert isinstance(error, FixConfiguration)
    assert error.code == "unsupported_content_encoding"
    assert error.params["encoding"] == "br"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
async def test_a_wrong_encoding_is_a_permanent_error(tmp_path: Path, encoding: str) -> None:
    _, error = await read_file(tmp_path, "a,b\n1,2\nü-\xff,\\ud800\n".encode("utf-16-le"), encoding=encoding)
    assert isinstance(error, FixConfiguration)
    assert error.code in {"wrong_encoding", "nul_in_header", "header_encoding", "utf_16_mark"}


@pytest.mark.parametrize("name", ["c%024d", "\x01\x02\x03\x04\x05\x06%05d"])
async def test_column_names_that_exceed_a_cursor_are_rejected(tmp_path: Path, name: str) -> None:
    names = ",".join(name % number for number in range(10_000)).encode()
    batches, error = await read_file(tmp_path, names + b"\n" + b",".join([b"1"] * 10_000) + b"\n")
    assert batches == []
    assert isinstance(error, FixConfiguration)
    assert error.code == "column_names_too_long"


async def test_column_names_at_the_limit_fit_into_a_cursor(tmp_path: Path) -> None:
    names = ",".join(f"c{number:020d}" for number in range(10_000)).encode()
    (batch,), error = await read_file(tmp_path, names + b"\n" + b",".join([b"1"] * 10_000) + b"\n")
    assert error is None
    assert len(orjson.dumps(batch.cursor)) < MAX_JSON_BYTES


@pytest.mark.parametrize(
    "encoding", ["utf-8\n", " utf-8", "punycode", "idna", "unicode_escape", "undefined", "", "rot13"]
)
def test_an_unsuitable_encoding_is_rejected(encoding: str) -> None:
    with pytest.raises(ValidationError, match="unknown_encoding"):
        Config(source="a.csv", stream="s", encoding=encoding)


@pytest.mark.parametrize("source", ["http:me:s3cret@host/x", "HTTPS:/me:s3cret@host/x"])
def test_a_misspelt_url_is_not_a_path(source: str) -> None:
    with pytest.raises(ValidationError) as error:
        Config(source=source, stream="s")
    assert error.value.errors()[0]["type"] == "url_without_slashes"
    assert Config(source="http-logs.csv", stream="s")


def test_configured_field_names_are_bounded() -> None:
    with pytest.raises(ValidationError, match="field_names_too_long"):
        Config(source="a.csv", stream="s", fields=tuple(f"c{number:024d}" for number in range(10_000)))


@pytest.mark.parametrize("name", ["byte", "row", "source_bytes"])
def test_a_cursor_beyond_any_file_size_is_rejected(name: str) -> None:
    (problem,) = cursor_problems({name: 2**63})
    assert problem.field == f"/{name}"
