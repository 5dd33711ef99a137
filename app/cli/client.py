"""An HTTP client of the API for commands: one session; errors become exit codes."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from app.cli.exits import CONFLICT, ERROR, NOT_FOUND, REFUSED, UNAVAILABLE, CommandError
from app.cli.vocabulary import in_commands
from app.process import Monotonic
from app.sentences.escapes import escaped
from connectors.redaction import redact_value

TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)
UPLOAD_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=10)
MAX_RETRY_SECONDS: Final = 10.0  # of a request that the API refuses with `Retry-After`, as in its first second
REFUSED_BEFORE_ANY_EFFECT: Final = frozenset({"access_not_current", "definitions_unknown", "busy"})
CODES: Final = {
    400: REFUSED,
    401: REFUSED,
    403: REFUSED,
    409: CONFLICT,
    412: CONFLICT,
    422: REFUSED,
    428: CONFLICT,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}

Value = str | int | tuple[str, ...] | None


class UnavailableError(CommandError):
    """The API is temporarily unavailable: status 503, with the seconds after which to retry, if it gives them."""

    def __init__(self, problem: Any, retry_after: str | None) -> None:
        super().__init__(problem_text(503, problem), UNAVAILABLE)
        self.code = str(problem.get("code")) if isinstance(problem, dict) else ""
        self.retry_after = (
            float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
        )


class RefusedError(CommandError):
    """The API refused a request; `message_count` records of it were stored before."""

    def __init__(self, status: int, problem: Any) -> None:
        super().__init__(problem_text(status, problem), CODES.get(status, ERROR))
        self.message_count: int = problem.get("message_count", 0) if isinstance(problem, dict) else 0


class MissingError(CommandError):
    """The API has nothing at `path`: status 404."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, NOT_FOUND)
        self.path = path


class ApiClient:
    """A client of the API at one URL."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        monotonic: Monotonic = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url
        self._session = session
        self._monotonic = monotonic
        self._sleep = sleep

    async def get(self, path: str, **query: Value) -> Any:
        """Send a GET request and return the `data` of the response."""
        return (await self.request("GET", path, query=query))["data"]

    async def pages(self, path: str, page_size: int, **query: Value) -> AsyncGenerator[tuple[Any, bool], None]:
        """Yield the `data` of pages, each with whether another one follows."""
        cursor: str | None = None
        while True:
            page = await self.request("GET", path, query={**query, "limit": page_size, "cursor": cursor})
            cursor = page.get("next_cursor")
            yield page["data"], cursor is not None
            if cursor is None:
                return

    async def first(self, path: str, limit: int, page_size: int, **query: Value) -> tuple[list[Any], bool]:
        """Return up to `limit` items of a list, and whether there are more."""
        items: list[Any] = []
        async with aclosing(self.pages(path, min(page_size, limit), **query)) as pages:
            async for page, has_next in pages:
                items += page
                if len(items) >= limit:
                    return items[:limit], has_next or len(items) > limit
        return items, False

    async def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **query: Value
    ) -> Any:
        """Send a request and return the `data` of the response."""
        return (await self.request(method, path, body, query=query, headers=headers))["data"]

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Value] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the whole response body; raise `CommandError` for an error status.

        A request that may be repeated waits for an API that is temporarily unavailable, as long as `Retry-After` says.
        """
        deadline = self._monotonic() + MAX_RETRY_SECONDS
        repeatable = method == "GET" or "Idempotency-Key" in (headers or {})
        while True:
            try:
                return await self._answer(method, path, query or {}, json=body, headers=headers)
            except UnavailableError as error:
                may_repeat = repeatable or error.code in REFUSED_BEFORE_ANY_EFFECT
                if not may_repeat or error.retry_after is None or self._monotonic() + error.retry_after > deadline:
                    raise
                await self._sleep(error.retry_after)

    async def sign_in_link(self) -> str:
        """Create a one-time sign-in link for a browser, as the caller."""
        return f"{self.url}{(await self.send('POST', '/v2/sign-in'))['path']}"

    async def upload(
        self, path: str, body: AsyncIterable[bytes], *, query: Mapping[str, Value], headers: Mapping[str, str]
    ) -> Any:
        """Stream a body without a total timeout and return the `data` of the response."""
        sent = await self._answer("POST", path, query, data=body, headers=headers, timeout=UPLOAD_TIMEOUT)
        return sent["data"]

    async def _answer(self, method: str, path: str, query: Mapping[str, Value], **request: Any) -> dict[str, Any]:
        pairs = [pair for name, value in query.items() for pair in _pairs(name.rstrip("_"), value)]
        try:
            async with self._session.request(method, self.url + path, params=pairs, **request) as response:
                content = await response.json(content_type=None) if response.content_length != 0 else {}
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CommandError(
                f"cannot reach Entrepot at {redact_value(self.url)} ({type(error).__name__}). Start it: `entrepot up`, "
                "or set --url or ENTREPOT_URL.",
                UNAVAILABLE,
            ) from error
        except ValueError as error:
            raise CommandError(f"{redact_value(self.url)}{path} did not return JSON; check --url") from error
        if response.status == 503:
            raise UnavailableError(content, response.headers.get("Retry-After"))
        if response.status == 404:
            raise MissingError(problem_text(404, content), path)
        if response.status >= 400:
            raise RefusedError(response.status, content)
        return content if isinstance(content, dict) else {"data": content}


def _pairs(name: str, value: Value) -> list[tuple[str, str]]:
    match value:
        case None | "":
            return []
        case tuple():
            return [(name, item) for item in value]
        case _:
            return [(name, str(value))]


@asynccontextmanager
async def connected(url: str, token: str | None) -> AsyncIterator[ApiClient]:
    """Open a client session."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session:
        yield ApiClient(session, url.rstrip("/"))


def api_path(base: str, *segments: str) -> str:
    """Return a path of the API: `base` and further segments, which may have any characters."""
    return "/".join([base, *(quote(segment, safe="") for segment in segments)])


def problem_text(status: int, problem: Any) -> str:
    """Return an `application/problem+json` as text, with one line for each invalid field."""
    if not isinstance(problem, dict):
        return f"the API returned status {status}"
    lines = [in_commands(str(problem.get("detail") or problem.get("title") or f"the API returned status {status}"))]
    errors = [error for error in problem.get("errors") or () if str(error.get("message")) not in lines[0]]
    lines += [f"  {error.get('pointer') or '/'}: {error.get('message')}" for error in errors]
    if request := problem.get("request_id"):
        lines.append(f"  ({problem.get('code', status)}, request {request})")
    return "\n".join(map(escaped, lines))
