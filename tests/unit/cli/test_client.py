"""Lists of the API, page by page, and requests that are repeated while it is temporarily unavailable."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.cli.client import MAX_RETRY_SECONDS, ApiClient, problem_text
from app.cli.exits import UNAVAILABLE, CommandError


class PagedApi(ApiClient):
    """An API with a list of five numbers, which counts requests."""

    def __init__(self) -> None:
        self.requests = 0

    async def request(self, method: str, path: str, body: Any = None, **arguments: Any) -> Any:
        assert (method, path, arguments["query"]["kind"]) == ("GET", "/numbers", "all")
        self.requests += 1
        start, size = int(arguments["query"]["cursor"] or 0), arguments["query"]["limit"]
        following = start + size
        return {"data": list(range(5))[start:following], "next_cursor": str(following) if following < 5 else None}


@pytest.mark.parametrize(
    ("limit", "expected", "requests"),
    [(1, ([0], True), 1), (2, ([0, 1], True), 1), (3, ([0, 1, 2], True), 2), (5, ([0, 1, 2, 3, 4], False), 3),
     (9, ([0, 1, 2, 3, 4], False), 3)],
)  # fmt: skip
async def test_the_first_items_of_a_list_tell_whether_there_are_more(
    limit: int, expected: tuple[list[int], bool], requests: int
) -> None:
    api = PagedApi()
    assert await api.first("/numbers", limit, 2, kind="all") == expected
    assert api.requests == requests


async def test_a_page_is_requested_when_the_previous_one_is_processed() -> None:
    api = PagedApi()
    requests = [(page, api.requests) async for page, _ in api.pages("/numbers", 2, kind="all")]
    assert requests == [([0, 1], 1), ([2, 3], 2), ([4], 3)]


class Starting:
    """A server that responds 503 for the first requests, as the API does while it starts; time passes in sleeps."""

    def __init__(self, refusals: int, code: str = "definitions_unknown", retry_after: str | None = "1") -> None:
        self.left = refusals
        self.code = code
        self.headers = {"Retry-After": retry_after} if retry_after is not None else {}
        self.now = 0.0
        self.slept: list[float] = []

    async def respond(self, _request: web.Request) -> web.Response:
        self.left -= 1
        if self.left >= 0:
            return web.json_response({"code": self.code, "detail": "not yet"}, status=503, headers=self.headers)
        return web.json_response({"data": "ready"})

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ApiClient]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.respond)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            yield ApiClient(session, str(server.make_url("")).rstrip("/"), lambda: self.now, self.sleep)


async def test_a_read_waits_for_an_api_that_is_starting() -> None:
    starting = Starting(2)
    async with starting.client() as api:
        assert await api.get("/v2/job") == "ready"
    assert starting.slept == [1, 1]


async def test_a_read_gives_up_after_ten_seconds() -> None:
    starting = Starting(100, retry_after="3")
    async with starting.client() as api:
        with pytest.raises(CommandError) as error:
            await api.get("/v2/job")
    assert error.value.exit_code == UNAVAILABLE
    assert sum(starting.slept) == 9 <= MAX_RETRY_SECONDS


@pytest.mark.parametrize(
    ("code", "headers", "sleeps"),
    [
        ("access_not_current", {}, [1.0]),  # nothing was done
        ("kafka_unreachable", {"Idempotency-Key": "k"}, [1.0]),
        ("kafka_unreachable", {}, []),  # it is unknown what was done
    ],
)
async def test_a_change_is_repeated_only_if_it_cannot_happen_twice(
    code: str, headers: dict[str, str], sleeps: list[float]
) -> None:
    starting = Starting(1, code)
    async with starting.client() as api:
        with suppress(CommandError):
            assert await api.send("POST", "/v2/job", {}, headers=headers) == "ready"
    assert starting.slept == sleeps


@pytest.mark.parametrize("retry_after", [None, "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "60"])
async def test_without_a_short_retry_after_nothing_is_repeated(retry_after: str | None) -> None:
    starting = Starting(1, retry_after=retry_after)
    async with starting.client() as api:
        with pytest.raises(CommandError):
            await api.get("/v2/job")
    assert starting.slept == []


def test_parameters_of_the_api_are_named_as_options() -> None:
    problem = {"detail": "create another one with allow_duplicate_name=true", "code": "name_exists"}
    assert problem_text(409, problem).splitlines()[0] == "create another one with --allow-duplicate-name"
