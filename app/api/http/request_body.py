"""Raw bodies of requests: whole within a bound, or as a source to read as they arrive; unpacked in bounded steps."""

import asyncio
from typing import Final

from aiohttp import web

from app.api.http.problems import ApiProblem
from connectors.contract import ConnectorError, RetryLater
from connectors.kit.read_ahead import in_thread
from connectors.text.compression import Compression, Decoder, decoder

ENCODINGS: Final[dict[str, Compression]] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "zstd": "zstd",
    "identity": "none",
}
STALLED_SECONDS: Final = 60.0
ARRIVAL_SECONDS: Final = 50.0  # of a whole body; a request may take little more
GATHER_SECONDS: Final = 1.0


def content_encoding(request: web.Request) -> Compression | None:
    """Return what the body is packed with; None when the request doesn't say.

    Raises:
        Problem: 415, with something that is not known here.

    """
    said = request.headers.get("Content-Encoding", "").strip().lower()
    if not said:
        return None
    if said not in ENCODINGS:
        raise unknown_encoding(said)
    return ENCODINGS[said]


def unknown_encoding(said: str) -> ApiProblem:
    """Return the problem of a body that is packed with something else."""
    return ApiProblem(
        415,
        "unknown_content_encoding",
        f"Content-Encoding is {said[:100]!r}: here it can be gzip or zstd, or left out",
        headers={"Accept-Encoding": "gzip, zstd"},
    )


def too_large(most: int, hint: str = "") -> ApiProblem:
    """Return the problem of a body over a bound."""
    return ApiProblem(413, "too_large", f"a body has at most {most:,} bytes here{hint}")


async def whole_body(request: web.Request, most: int, hint: str = "") -> bytes:
    """Return a body of at most `most` bytes, unpacked.

    Raises:
        Problem: 408, 413, 415, or 400 when it can't be unpacked or doesn't arrive.

    """
    kind = content_encoding(request)
    if request.content_length is not None and request.content_length > most:
        raise too_large(most, hint)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(ARRIVAL_SECONDS):
            while part := await request.content.readany():
                size += len(part)
                if size > most:
                    raise too_large(most, hint)
                parts.append(part)
    except TimeoutError as error:
        detail = f"the body did not arrive within {ARRIVAL_SECONDS:.0f} seconds; nothing was kept"
        raise ApiProblem(408, "slow_body", detail, headers={"Connection": "close"}) from error
    except (ConnectionError, web.RequestPayloadError) as error:
        raise ApiProblem(400, "incomplete", "the body did not arrive as announced; nothing was kept") from error
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    if kind is None or kind == "none":
        return raw
    unpacker = decoder(kind)
    return await in_thread(lambda: _unpacked(raw, unpacker, most, hint))


def _unpacked(raw: bytes, unpacker: Decoder, most: int, hint: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        unpacker.feed(raw)
        while part := unpacker.read():
            size += len(part)
            if size > most:
                raise too_large(most, hint)
            parts.append(part)
        unpacker.finish()
    except ConnectorError as error:
        raise ApiProblem(400, error.code, f"{error.message}; nothing was kept") from error
    return b"".join(parts)


class RequestSource:
    """The body of a request as it arrives, as what reads text files takes it. `name` is for a person."""

    def __init__(self, request: web.Request, name: str) -> None:
        self.name = name
        self.start = 0
        self.validator: str | None = None
        self.modified: float | None = None
        self.total = request.content_length
        self._content = request.content
        self._ahead = b""
        self._failure: RetryLater | None = None

    async def head(self, count: int) -> bytes:
        """The very first bytes; they are still to be read."""
        while len(self._ahead) < count and (some := await self._some()):
            self._ahead += some
        return self._ahead[:count]

    async def read(self, size: int) -> bytes:
        """The next bytes, at least one; b"" at the end. Raises `RetryLater` when nothing more will come."""
        parts, self._ahead = [self._ahead], b""
        held = len(parts[0])
        until = asyncio.get_running_loop().time() + GATHER_SECONDS
        while held < size and (not held or asyncio.get_running_loop().time() < until):
            try:
                some = await self._some()
            except RetryLater as failure:
                self._failure = failure
                break  # what came before is read first
            if not some:
                break
            parts.append(some)
            held += len(some)
        if not held and self._failure:
            raise self._failure
        return b"".join(parts)

    async def close(self) -> None:
        """Leave it: the server closes it with the request."""

    async def _some(self) -> bytes:
        if self._failure:
            raise self._failure
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                return await self._content.readany()
        except TimeoutError as error:
            message = f"nothing came for {STALLED_SECONDS:.0f} seconds: {GO_ON}"
            raise RetryLater("upload_stalled", message) from error
        except (ConnectionError, web.RequestPayloadError) as error:
            raise RetryLater("upload_disconnected", f"the client went away in the middle: {GO_ON}") from error


GO_ON: Final = "sent again with the same Idempotency-Key, it goes on where it stopped"
