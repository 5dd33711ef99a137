"""Files and servers that mean no good: a clear error at once, nothing left out, and a cursor that can be kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from pydantic import ValidationError

from connectors.contract import Batch, ConnectorError, FixConfiguration, Limits, RetryLater
from connectors.kit.http_source import retry_after
from connectors.providers.file import Config, read
from connectors.text.cursor import check_cursor
from projections.json_object import MAX_JSON_BYTES

Serve = Callable[[bytes], Awaitable[str]]
Outcome = tuple[list[Batch], ConnectorError | None]
BODY = b"Content-Length: 8\r\n\r\na,b\n1,2\n"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A server that answers every request with the very bytes given."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}/a.csv"

    yield start
    for each in servers:
        each.close()
        await each.wait_closed()


async def outcome(config: Config, limits: Limits, cursor: dict[str, object]) -> Outcome:
    batches: list[Batch] = []
    try:
        async for each in read(config, cursor, limits):
            batches.append(each)  # noqa: PERF401  # what came before an error counts
    except ConnectorError as error:
        return batches, error
    return batches, None


async def fetched(url: str, cursor: dict[str, object] | None = None) -> Outcome:
    limits = Limits(allow_private_networks=True, http_timeout_seconds=5)
    return await outcome(Config(source=url, stream="s"), limits, cursor or {})


async def from_file(folder: Path, data: bytes, **settings: object) -> Outcome:
    (folder / "a.csv").write_bytes(data)
    config = Config.model_validate({"source": "a.csv", "stream": "s", **settings})
    return await outcome(config, Limits(file_roots=(folder,)), {})


@pytest.mark.parametrize("header", [b'ETag: "\xff\xfe"', b'ETag: "' + b"x" * 8000 + b'"', b"Last-Modified: \x1b[31m"])
async def test_a_validator_that_can_not_be_kept_is_left_out(serve: Serve, header: bytes) -> None:
    (batch,), error = await fetched(await serve(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n" + BODY))
    assert error is None
    assert "validator" not in batch.cursor
    orjson.dumps(batch.cursor)


async def test_a_validator_that_a_person_wrote_sends_no_headers(serve: Serve) -> None:
    url = await serve(b"HTTP/1.1 200 OK\r\n" + BODY)
    (batch,), _ = await fetched(url)
    assert await fetched(url, {**batch.cursor, "validator": '"x"\r\nEvil: 1'}) == ([], None)


async def test_what_a_server_says_is_shown_as_short_plain_text(serve: Serve) -> None:
    _, error = await fetched(await serve(b"HTTP/1.1 404 \xff\x1b[31m" + b"R" * 5000 + b"\r\nContent-Length: 0\r\n\r\n"))
    assert isinstance(error, FixConfiguration)
    assert error.message.isprintable()
    assert error.message.isascii()
    assert len(error.message) < 250


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
def test_a_time_to_wait_that_makes_no_sense_is_none(header: str) -> None:
    assert retry_after(header) is None


@pytest.mark.parametrize("span", [b"0-7/8", b"0-7/*"])
async def test_a_part_that_is_everything_is_the_end(serve: Serve, span: bytes) -> None:
    answer = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " + span + b"\r\n" + BODY
    batches, error = await fetched(await serve(answer))
    assert (sum(each.count for each in batches), error) == (1, None)


async def test_a_part_of_a_file_is_never_taken_as_all_of_it(serve: Serve) -> None:
    answer = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-7/4000\r\n" + BODY
    batches, error = await fetched(await serve(answer))
    assert sum(each.count for each in batches) == 1, "what came is kept"
    assert isinstance(error, RetryLater)
    assert error.code == "partial_answer"


async def test_a_compression_that_can_not_be_read_is_named(serve: Serve) -> None:
    _, error = await fetched(await serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n" + BODY))
    assert isinstance(error, FixConfiguration)
    assert error.code == "wrong_compression"
    assert "'br'" in error.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
async def test_text_in_another_encoding_is_no_matter_of_trying_again(tmp_path: Path, encoding: str) -> None:
    _, error = await from_file(tmp_path, "a,b\n1,2\nü-\xff,\\ud800\n".encode("utf-16-le"), encoding=encoding)
    assert isinstance(error, FixConfiguration)
    assert error.code in {"wrong_encoding", "bad_header"}


@pytest.mark.parametrize("name", ["c%024d", "\x01\x02\x03\x04\x05\x06%05d"])
async def test_names_that_no_cursor_could_hold_are_refused_before_anything_is_kept(tmp_path: Path, name: str) -> None:
    names = ",".join(name % each for each in range(10_000)).encode()
    batches, error = await from_file(tmp_path, names + b"\n" + b",".join([b"1"] * 10_000) + b"\n")
    assert batches == []
    assert isinstance(error, FixConfiguration)
    assert error.code == "too_many_columns"


async def test_names_that_a_cursor_just_holds_fit_with_all_that_stands_beside_them(tmp_path: Path) -> None:
    names = ",".join(f"c{each:020d}" for each in range(10_000)).encode()
    (batch,), error = await from_file(tmp_path, names + b"\n" + b",".join([b"1"] * 10_000) + b"\n")
    assert error is None
    assert len(orjson.dumps(batch.cursor)) < MAX_JSON_BYTES


@pytest.mark.parametrize(
    "encoding", ["utf-8\n", " utf-8", "punycode", "idna", "unicode_escape", "undefined", "", "rot13"]
)
def test_what_is_no_encoding_of_a_file_is_refused(encoding: str) -> None:
    with pytest.raises(ValidationError, match="is no text encoding"):
        Config(source="a.csv", stream="s", encoding=encoding)


@pytest.mark.parametrize("source", ["http:me:s3cret@host/x", "HTTPS:/me:s3cret@host/x"])
def test_an_address_with_a_slip_is_no_path(source: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Config(source=source, stream="s")
    assert refused.value.errors()[0]["msg"] == "Value error, an address begins with http:// or https://"
    assert Config(source="http-logs.csv", stream="s")


def test_configured_names_are_bounded_as_well() -> None:
    with pytest.raises(ValidationError, match="characters together"):
        Config(source="a.csv", stream="s", fields=tuple(f"c{each:024d}" for each in range(10_000)))


@pytest.mark.parametrize("name", ["byte", "row", "source_bytes"])
def test_a_place_behind_all_files_is_no_cursor(name: str) -> None:
    (problem,) = check_cursor({name: 2**63})
    assert problem.field == f"/{name}"
