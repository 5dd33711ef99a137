"""Raw request bodies: whole within a bound, or as a stream; decompressed in bounded steps."""

import asyncio
from typing import Final

from aiohttp import web

from app.api.http.problems import ApiProblem, problem_of
from connectors.contract import ConnectorError, RetryLater
from connectors.kit.threads import in_thread
from connectors.providers.collect import PROVIDER
from connectors.text.compression import Compression, Decoder, decoder

ENCODINGS: Final[dict[str, Compression | None]] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "zstd": "zstd",
    "identity": None,
}
STALL_TIMEOUT_SECONDS: Final = 60.0
ARRIVAL_TIMEOUT_SECONDS: Final = 50.0  # of a whole body: the request times out soon after
GATHER_TIMEOUT_SECONDS: Final = 1.0


def content_encoding(request: web.Request) -> Compression | None:
    """Return the compression of the body; None when the request declares none.

    Raises:
        ApiProblem: 415, it is unknown.

    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if not encoding:
        return None
    if encoding not in ENCODINGS:
        raise unknown_encoding(encoding)
    return ENCODINGS[encoding]


def unknown_encoding(encoding: str) -> ApiProblem:
    """Return the problem for an unknown compression."""
    return ApiProblem(
        415,
        "unknown_content_encoding",
        f"unsupported Content-Encoding {encoding[:100]!r}; supported: gzip, zstd",
        headers={"Accept-Encoding": "gzip, zstd"},
    )


def too_large(max_bytes: int, hint: str = "") -> ApiProblem:
    """Return the problem for a body over the limit."""
    return ApiProblem(413, "too_large", f"the body exceeds {max_bytes:,} bytes{hint}")


def wrong_content_type(request: web.Request, expected: str) -> ApiProblem:
    """Return the problem for a body of another type."""
    detail = f"expected a body of {expected}, not {request.content_type}"
    return ApiProblem(415, "wrong_content_type", detail, headers={"Accept-Post": expected})


async def plain_body(request: web.Request, max_bytes: int) -> bytes:
    """Return a body of at most `max_bytes` that must not be compressed. Raises as `whole_body`."""
    if content_encoding(request) not in {None, "none"}:
        raise ApiProblem(415, "packed_body", "compressed request bodies are not supported here")
    return await whole_body(request, max_bytes)


async def whole_body(request: web.Request, max_bytes: int, hint: str = "") -> bytes:
    """Return a body of at most `max_bytes`, decompressed.

    Raises:
        ApiProblem: 408, 413, 415, or 400 when it cannot be decompressed or is incomplete.

    """
    kind = content_encoding(request)
    if request.content_length is not None and request.content_length > max_bytes:
        raise too_large(max_bytes, hint)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(ARRIVAL_TIMEOUT_SECONDS):
            while part := await request.content.readany():
                size += len(part)
                if size > max_bytes:
                    raise too_large(max_bytes, hint)
                parts.append(part)
    except TimeoutError as error:
        detail = f"the body did not arrive within {ARRIVAL_TIMEOUT_SECONDS:.0f} seconds; nothing was stored"
        raise ApiProblem(408, "slow_body", detail, headers={"Connection": "close"}) from error
    except (ConnectionError, web.RequestPayloadError) as error:
        raise ApiProblem(400, "incomplete", "the body is incomplete; nothing was stored") from error
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    if kind is None:
        return raw
    decompressor = decoder(kind)
    return await in_thread(lambda: _decompressed(raw, decompressor, max_bytes, hint))


def _decompressed(raw: bytes, decompressor: Decoder, max_bytes: int, hint: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        decompressor.feed(raw)
        while part := decompressor.read():
            size += len(part)
            if size > max_bytes:
                raise too_large(max_bytes, hint)
            parts.append(part)
        decompressor.finish()
    except ConnectorError as error:
        raise problem_of(400, error, provider=PROVIDER) from error
    return b"".join(parts)


class RequestSource:
    """The body of a request as a source for readers of text files. `name` is shown in messages."""

    def __init__(self, request: web.Request, name: str) -> None:
        self.name = name
        self.start = 0
        self.validator: str | None = None
        self.content_type = self.content_encoding = ""  # the configuration of the upload has what the headers say
        self.modified: float | None = None
        self.total = request.content_length
        self._content = request.content
        self._ahead = b""
        self._failure: RetryLater | None = None

    async def head(self, count: int) -> bytes:
        """Return the first bytes, without consuming them."""
        while len(self._ahead) < count and (some := await self._some()):
            self._ahead += some
        return self._ahead[:count]

    async def read(self, size: int) -> bytes:
        """Return the next bytes, at least one; b"" at the end. Raises `RetryLater` when the client is gone."""
        parts, self._ahead = [self._ahead], b""
        held = len(parts[0])
        until = asyncio.get_running_loop().time() + GATHER_TIMEOUT_SECONDS
        while held < size and (not held or asyncio.get_running_loop().time() < until):
            try:
                some = await self._some()
            except RetryLater as failure:
                self._failure = failure
                break  # the bytes before the failure are returned first
            if not some:
                break
            parts.append(some)
            held += len(some)
        if not held and self._failure:
            raise self._failure
        return b"".join(parts)

    async def close(self) -> None:
        """Do nothing: the server closes the body with the request."""

    async def _some(self) -> bytes:
        if self._failure:
            raise self._failure
        try:
            async with asyncio.timeout(STALL_TIMEOUT_SECONDS):
                return await self._content.readany()
        except TimeoutError as error:
            raise RetryLater("upload_stalled", {"seconds": int(STALL_TIMEOUT_SECONDS)}) from error
        except (ConnectionError, web.RequestPayloadError) as error:
            raise RetryLater("upload_disconnected") from error
