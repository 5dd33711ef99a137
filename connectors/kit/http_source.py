"""One resource over HTTP(S) as a stream of bytes (RFC 9110), from a place in its middle when the server can do that.

Follows few redirects, each checked like the first address, and shows no credentials: not in names, not in errors.
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from connectors.contract import ConnectorError, FixConfiguration, Limits, RateLimited, RetryLater
from connectors.kit.public_addresses import PublicResolver, refuse_private
from connectors.redaction import shown_url

MAX_REDIRECTS: Final = 5
DEFAULT_RATE_LIMIT_SECONDS: Final = 60.0
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
WORTH_RETRYING: Final = frozenset({408, 421, 423, 425})
READABLE_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "zstd"})
CONTENT_RANGE: Final = re.compile(r"bytes (?P<first>\d{1,18})-(?P<last>\d{1,18})/(?P<total>\d{1,18}|\*)", re.ASCII)
MAX_VALIDATOR_CHARACTERS: Final = 1024
USER_AGENT: Final = "entrepot (file import)"


@dataclass(slots=True)
class HttpSource:
    """An open response and the place in it."""

    name: str
    start: int
    total: int | None
    validator: str | None
    _session: aiohttp.ClientSession
    _response: aiohttp.ClientResponse | None  # None: there is nothing behind `start`
    _stops_early: bool = False  # a server may give less of a range than was asked for (RFC 9110, section 15.3.7)
    _first: bytes = b""

    @property
    def modified(self) -> float | None:
        """What `Last-Modified` says."""
        said = self._response.headers.get("Last-Modified", "") if self._response else ""
        try:
            return parsedate_to_datetime(said).timestamp()
        except (ValueError, OverflowError):
            return None

    async def head(self, count: int) -> bytes | None:
        """The first bytes, which `read` gives once more; None in the middle."""
        if self.start:
            return None
        while len(self._first) < count and (some := await self._receive(count - len(self._first))):
            self._first += some
        return self._first

    async def read(self, size: int) -> bytes:
        """The next bytes; b"" at the end. Raises `RetryLater` when the connection breaks."""
        first, self._first = self._first, b""
        pieces, held = [first], len(first)
        try:
            while held < size and (some := await self._receive(size - held)):
                pieces.append(some)
                held += len(some)
        except RetryLater:
            if not held:
                raise  # else it is raised again by the next read, and what came before it is kept
        return b"".join(pieces)

    async def close(self) -> None:
        """End the connection."""
        if self._response is not None:
            self._response.close()
        await self._session.close()

    async def _receive(self, size: int) -> bytes:
        if self._response is None:
            return b""
        try:
            some = await self._response.content.read(size)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable(self.name, error) from error
        if not some and self._stops_early:
            raise RetryLater("partial_answer", f"`{self.name}` gives only a part at a time; it goes on behind it")
        return some


async def open_http(source: str, limits: Limits, start: int, validator: str | None) -> HttpSource:
    """Ask for `source` from byte `start` on if it is still the version `validator` names, else from its beginning."""
    url = parse_url(source)
    resolver = None if limits.allow_private_networks else PublicResolver()
    session = aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=1),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=limits.http_timeout_seconds, sock_read=limits.http_timeout_seconds
        ),
    )
    try:
        return await _open(session, url, limits, start, validator)
    except BaseException:
        await session.close()
        raise


def parse_url(source: str) -> URL:
    """The URL, or `FixConfiguration`. The message repeats nothing of it: it may hold credentials."""
    try:
        url = URL(source)
    except ValueError as error:
        raise FixConfiguration("bad_url", "the URL can't be read; check its host and port") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise FixConfiguration("bad_url", "only http:// and https:// URLs with a host can be fetched")
    return url


async def _open(
    session: aiohttp.ClientSession, url: URL, limits: Limits, start: int, validator: str | None
) -> HttpSource:
    name = shown_url(str(url))
    for _ in range(MAX_REDIRECTS + 1):
        response = await _request(session, url, limits, start, validator)
        if response.status not in REDIRECTS or "Location" not in response.headers:
            return _opened(name, session, response, start)
        target = _redirected(url, response.headers["Location"])
        response.close()
        if target.origin() == url.origin() and url.user is not None and target.user is None:
            target = target.with_user(url.user).with_password(url.password)
        url = target
    raise FixConfiguration("too_many_redirects", f"`{name}` redirects more than {MAX_REDIRECTS} times")


async def _request(
    session: aiohttp.ClientSession, url: URL, limits: Limits, start: int, validator: str | None
) -> aiohttp.ClientResponse:
    if not limits.allow_private_networks:
        refuse_private(url.host or "")
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    if start and validator and _is_plain(validator):
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        return await session.get(url, headers=headers, allow_redirects=False)
    except aiohttp.InvalidURL as error:
        raise FixConfiguration("bad_url", f"`{shown_url(str(url))}` has no proper host") from error
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise _unreachable(shown_url(str(url)), error) from error


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location))
    except ValueError as error:
        raise FixConfiguration("bad_redirect", f"`{shown_url(str(url))}` redirects to no URL") from error
    if target.scheme not in {"http", "https"} or not target.host:
        raise FixConfiguration("bad_redirect", f"`{shown_url(str(url))}` redirects to something that isn't HTTP")
    if url.scheme == "https" and target.scheme == "http":
        raise FixConfiguration("bad_redirect", f"`{shown_url(str(url))}` redirects away from https")
    return target


def _opened(name: str, session: aiohttp.ClientSession, response: aiohttp.ClientResponse, start: int) -> HttpSource:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in READABLE_ENCODINGS:
        raise FixConfiguration("wrong_compression", f"`{name}` is sent {encoding[:40]!r} compressed; gzip can be read")
    validator = _validator(response)
    span = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    match response.status:
        case HTTPStatus.OK:
            return HttpSource(name, 0, response.content_length, validator, session, response)
        case HTTPStatus.PARTIAL_CONTENT if span and int(span["first"]) == start:
            total = None if span["total"] == "*" else int(span["total"])
            stops_early = total is not None and int(span["last"]) + 1 < total
            return HttpSource(name, start, total, validator, session, response, stops_early)
        case _:
            raise refusal(name, response)


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """What `If-Range` may hold: a strong ETag, or a date (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    found = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    return found if found is not None and _is_plain(found) else None


def _is_plain(text: str) -> bool:
    """Whether it can be kept in a cursor and be sent back: servers can put any bytes into their headers."""
    return text.isascii() and text.isprintable() and len(text) <= MAX_VALIDATOR_CHARACTERS


def refusal(name: str, response: aiohttp.ClientResponse) -> ConnectorError:
    """What an answer other than success means for the job."""
    status = response.status
    reason = "".join(each for each in response.reason or "" if each.isascii() and each.isprintable())
    answer = f"`{name}` answers {status} {reason[:80]}".rstrip()
    wait = retry_after(response.headers.get("Retry-After"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited("rate_limited", answer, retry_after=DEFAULT_RATE_LIMIT_SECONDS if wait is None else wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in WORTH_RETRYING:
        return RetryLater("server_error", answer, retry_after=wait)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return FixConfiguration("not_found", f"{answer}: correct `source`, or put the file there")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return FixConfiguration("forbidden", f"{answer}: the URL needs other credentials, or has expired")
    return FixConfiguration("unexpected_answer", f"{answer}, where 200 was expected")


def retry_after(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header: a number or a date (RFC 9110, section 10.2.3); None when unreadable."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,15}", header.strip(), re.ASCII):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
        return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def _unreachable(name: str, error: Exception) -> RetryLater:
    what = "took too long" if isinstance(error, TimeoutError) else "can't be reached, or broke off"
    return RetryLater("unreachable", f"`{name}` {what}; it is tried again", detail=type(error).__name__)
