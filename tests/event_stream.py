"""A client of `/v2/events`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson


class EventStream:
    """An event stream, one message at a time as `(id, event, data)`; the event of a comment is its text."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self.response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name or value:
                    fields[name] = value
                elif "id" in fields:
                    return fields["id"], fields.get("event", fields.get("", "")), orjson.loads(fields.get("data", "{}"))
        raise AssertionError("the stream ended")


@asynccontextmanager
async def following(
    session: aiohttp.ClientSession, url: str, query: str = "", last: str = ""
) -> AsyncIterator[EventStream]:
    """Follow the events of the API at `url`, after the one with the id `last`."""
    headers = {"Last-Event-ID": last} if last else {}
    async with session.get(f"{url}/v2/events{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield EventStream(response)
