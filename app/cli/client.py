"""The HTTP API as the commands use it: one session, and errors with the exit code that scripts know."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from app.cli.exits import CONFLICT, ERROR, NOT_FOUND, REFUSED, UNAVAILABLE, Stopped
from app.cli.output import visible
from app.cli.vocabulary import in_commands
from connectors.redaction import shown_url

TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)
PATIENT: Final = aiohttp.ClientTimeout(total=None, connect=10)
CODES: Final = {
    400: REFUSED,
    401: REFUSED,
    403: REFUSED,
    404: NOT_FOUND,
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


class Api:
    """The API behind one address."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str, **query: Value) -> Any:
        """Return the `data` of an answer."""
        return (await self.answer("GET", path, query=query))["data"]

    async def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **query: Value
    ) -> Any:
        """Send a change and return the `data` of its answer."""
        return (await self.answer(method, path, body, query=query, headers=headers))["data"]

    async def answer(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Value] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the whole answer: `data` and what stands beside it; raise `Stopped` when it is a problem."""
        return await self._answer(method, path, query or {}, json=body, headers=headers)

    async def upload(
        self, path: str, body: AsyncIterable[bytes], *, query: Mapping[str, Value], headers: Mapping[str, str]
    ) -> Any:
        """Send a body of any size, however long that takes, and return the `data` of its answer."""
        sent = await self._answer("POST", path, query, data=body, headers=headers, timeout=PATIENT)
        return sent["data"]

    async def _answer(self, method: str, path: str, query: Mapping[str, Value], **request: Any) -> dict[str, Any]:
        asked = [pair for name, value in query.items() for pair in _pairs(name.rstrip("_"), value)]
        try:
            async with self._session.request(method, self.url + path, params=asked, **request) as answer:
                found = await answer.json(content_type=None) if answer.content_length != 0 else {}
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Stopped(
                f"no Entrepot answers at {shown_url(self.url)} ({type(error).__name__}). Start one with `entrepot up`, "
                "or name where it is with --url or ENTREPOT_URL.",
                UNAVAILABLE,
            ) from error
        except ValueError as error:
            raise Stopped(f"{shown_url(self.url)}{path} doesn't answer as Entrepot does; check --url") from error
        if answer.status >= 400:
            raise Stopped(problem_text(answer.status, found), CODES.get(answer.status, ERROR))
        return found if isinstance(found, dict) else {"data": found}


def _pairs(name: str, value: Value) -> list[tuple[str, str]]:
    match value:
        case None | "":
            return []
        case tuple():
            return [(name, each) for each in value]
        case _:
            return [(name, str(value))]


@asynccontextmanager
async def connected(url: str, token: str | None) -> AsyncIterator[Api]:
    """Open the API for some calls."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as session:
        yield Api(session, url.rstrip("/"))


def problem_text(status: int, problem: Any) -> str:
    """Return an `application/problem+json` for a person: what is wrong, each field on its own line."""
    if not isinstance(problem, dict):
        return f"the API answers {status}"
    lines = [in_commands(str(problem.get("detail") or problem.get("title") or f"the API answers {status}"))]
    said = [each for each in problem.get("errors") or () if str(each.get("message")) not in lines[0]]
    lines += [f"  {each.get('pointer') or '/'}: {each.get('message')}" for each in said]
    if request := problem.get("request_id"):
        lines.append(f"  ({problem.get('code', status)}, request {request})")
    return "\n".join(map(visible, lines))
