"""Read one HTTP(S) resource as a stream of bytes (RFC 9110), resuming by range request if the server supports it.

Follows at most `MAX_REDIRECTS` redirects and checks each like the first URL. Names and errors hold no credentials.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from connectors.contract import FixConfiguration, Limits, RetryLater
from connectors.kit.http_address import HttpAddress, parse_address, redirected
from connectors.kit.http_failures import request_error, response_error
from connectors.kit.public_addresses import PublicResolver, ThreadResolver, refuse_private

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
READABLE_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "zstd"})
CONTENT_RANGE: Final = re.compile(r"bytes (?P<first>\d{1,18})-(?P<last>\d{1,18})/(?P<total>\d{1,18}|\*)", re.ASCII)
MAX_VALIDATOR_CHARACTERS: Final = 1024
USER_AGENT: Final = "entrepot (file import)"


@dataclass(slots=True)
class HttpSource:
    """An open response and the read position."""

    name: str
    start: int
    total: int | None
    validator: str | None
    _session: aiohttp.ClientSession
    _response: aiohttp.ClientResponse | None  # None: the resource has no bytes after `start`
    _limits: Limits
    _is_partial: bool = False  # a server may send less than the requested range (RFC 9110, section 15.3.7)
    _first: bytes = b""

    @property
    def content_type(self) -> str:
        """Return `Content-Type`."""
        return self._response.headers.get("Content-Type", "") if self._response else ""

    @property
    def content_encoding(self) -> str:
        """Return `Content-Encoding`."""
        return self._response.headers.get("Content-Encoding", "") if self._response else ""

    @property
    def modified(self) -> float | None:
        """Return `Last-Modified` in seconds since 1970; None if it is missing or invalid."""
        header = self._response.headers.get("Last-Modified", "") if self._response else ""
        try:
            return parsedate_to_datetime(header).timestamp()
        except (ValueError, OverflowError):
            return None

    async def head(self, count: int) -> bytes | None:
        """Return the first bytes without consuming them; None if the response starts later."""
        if self.start:
            return None
        while len(self._first) < count and (chunk := await self._receive(count - len(self._first))):
            self._first += chunk
        return self._first

    async def read(self, size: int) -> bytes:
        """Return the next bytes, fewer if the server is slow; b"" at the end. Raise `RetryLater` when it fails."""
        first, self._first = self._first, b""
        chunks = [first]
        received = len(first)
        due = asyncio.get_running_loop().time() + self._limits.batch_seconds  # then it returns what has arrived
        try:
            while received < size:
                async with asyncio.timeout_at(due if received else None):
                    chunk = await self._receive(size - received)
                if not chunk:
                    break
                chunks.append(chunk)
                received += len(chunk)
        except (RetryLater, TimeoutError):
            if not received:
                raise  # otherwise return the received bytes; the next read raises it again
        return b"".join(chunks)

    async def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        await self._session.close()

    async def _receive(self, size: int) -> bytes:
        if self._response is None:
            return b""
        try:
            chunk = await self._response.content.read(size)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise request_error(self.name, error) from error
        self._limits.received(len(chunk))
        if not chunk and self._is_partial:
            raise RetryLater("partial_response", {"url": self.name})
        return chunk


async def open_http(source: str, limits: Limits, start: int, validator: str | None) -> HttpSource:
    """Request `source` from byte `start` if `validator` still matches its version, else from the beginning."""
    address = parse_address(source)
    resolver = ThreadResolver() if limits.allow_private_networks else PublicResolver()
    session = aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=1),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=limits.http_timeout_seconds, sock_read=limits.http_timeout_seconds
        ),
    )
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    if start and validator and _is_plain(validator):
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        response = await _follow(session, address, headers, limits)
        try:
            return _opened(address.name, session, response, start, limits)
        except BaseException:
            response.close()
            raise
    except BaseException:
        await session.close()
        raise


async def _follow(
    session: aiohttp.ClientSession, address: HttpAddress, headers: Mapping[str, str], limits: Limits
) -> aiohttp.ClientResponse:
    """Return the first response that isn't a redirect."""
    name = address.name
    for _ in range(MAX_REDIRECTS + 1):
        response = await _request(session, address, headers, limits)
        location = response.headers.get("Location")
        if response.status not in REDIRECTS or location is None:
            return response
        response.close()
        address = redirected(address, location)
    raise FixConfiguration("too_many_redirects", {"url": name, "max": MAX_REDIRECTS})


async def _request(
    session: aiohttp.ClientSession, address: HttpAddress, headers: Mapping[str, str], limits: Limits
) -> aiohttp.ClientResponse:
    if not limits.allow_private_networks:
        refuse_private(address.origin.host or "")
    authorization = {"Authorization": address.authorization} if address.authorization else {}
    try:
        return await session.get(address.url, headers={**headers, **authorization}, allow_redirects=False)
    except aiohttp.InvalidURL as error:
        raise FixConfiguration("bad_url") from error
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise request_error(address.name, error) from error


def _opened(
    name: str, session: aiohttp.ClientSession, response: aiohttp.ClientResponse, start: int, limits: Limits
) -> HttpSource:
    encoding = response.headers.get("Content-Encoding", "").lower()
    if not READABLE_ENCODINGS.issuperset(part.strip() for part in encoding.split(",")):
        raise FixConfiguration("unsupported_content_encoding", {"url": name, "encoding": encoding[:40]})
    validator = _validator(response)
    content_range = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    match response.status:
        case HTTPStatus.OK:
            return HttpSource(name, 0, response.content_length, validator, session, response, limits)
        case HTTPStatus.PARTIAL_CONTENT if content_range and int(content_range["first"]) == start:
            total = None if content_range["total"] == "*" else int(content_range["total"])
            is_partial = total is not None and int(content_range["last"]) + 1 < total
            return HttpSource(name, start, total, validator, session, response, limits, is_partial)
        case _:
            raise response_error(name, response)


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """Return the validator for `If-Range`: a strong ETag or a date (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    return validator if validator is not None and _is_plain(validator) else None


def _is_plain(text: str) -> bool:
    """Whether a header value can be stored in a cursor and sent back: servers may send arbitrary bytes."""
    return text.isascii() and text.isprintable() and len(text) <= MAX_VALIDATOR_CHARACTERS
