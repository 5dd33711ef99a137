"""Lists of the API, page by page."""

from typing import Any

import pytest

from app.cli.client import ApiClient


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
