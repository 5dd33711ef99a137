"""`POST /collect/json`: messages and requests a second, and how long one waits for the ack, beside a bare handler.

The client has a bounded number of connections, each of which asks again when it was answered. It shares the cores with
the service, so it is as cheap as Python allows: requests are bytes made before.
"""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from urllib.parse import urlsplit

from app.supervisor.supervisor import RunningService
from bench.figures import Figure, percentile
from bench.plane import STREAM, flights
from bench.whole import TOKEN

SECONDS = 6.0
WARM_SECONDS = 1.0
CONNECTIONS = 16
TOGETHER = 100  # messages of a request
REQUESTS = 200  # that are made before, and sent again and again
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


async def collect_speed(up: RunningService) -> list[Figure]:
    """Ask with many messages and with single ones, and compare each with a handler that only writes what it is sent."""
    path = f"/collect/json/{STREAM}"
    packed = _requests(path, [b"[" + b",".join(some) + b"]" for some in _some_flights(TOGETHER)])
    single = _requests(path, [line for some in _some_flights(1) for line in some])
    async with _bare_handler(up) as bare:
        many, many_wait = await _answered(up.url, packed)
        bare_many, bare_many_wait = await _answered(bare, packed)
        one, one_wait = await _answered(up.url, single)
        bare_one, bare_wait = await _answered(bare, single)
    handler = "aiohttp + send_and_wait"
    messages, goal = many * TOGETHER, 20_000
    return [
        Figure("collect, 100 messages a request", messages, "messages/s", f"≥ {goal:,} messages/s", messages >= goal,
               bare_many * TOGETHER, handler),
        Figure("the same, p99 of the ack", many_wait, "ms", "≤ 250 ms", many_wait <= 250, bare_many_wait, handler),
        Figure("collect, single messages", one, "requests/s", "≥ 2,000 requests/s", one >= 2_000, bare_one, handler),
        Figure("the same, p99 of the ack", one_wait, "ms", "≤ 250 ms", one_wait <= 250, bare_wait, handler),
    ]  # fmt: skip


def _some_flights(together: int) -> list[list[bytes]]:
    lines = flights(REQUESTS * together)
    return [list(islice(lines, together)) for _ in range(REQUESTS)]


def _requests(path: str, bodies: Sequence[bytes]) -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += "Content-Type: application/json\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


async def _answered(url: str, requests: Sequence[bytes]) -> tuple[float, float]:
    """Return how many requests a second were answered, and the 99th percentile of the milliseconds that it took."""
    await _ask_for(WARM_SECONDS, url, requests)
    waits = await _ask_for(SECONDS, url, requests)
    return len(waits) / SECONDS, 1000 * percentile(waits, 99)


async def _ask_for(seconds: float, url: str, requests: Sequence[bytes]) -> list[float]:
    until = time.perf_counter() + seconds
    asking = [_ask_until(until, url, requests[number:] + requests[:number]) for number in range(CONNECTIONS)]
    return [wait for waits in await asyncio.gather(*asking) for wait in waits]


async def _ask_until(until: float, url: str, requests: Sequence[bytes]) -> list[float]:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    waits = []
    for request in cycle(requests):
        started = time.perf_counter()
        if started >= until:
            break
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = LENGTH.search(head)
        assert length
        await reader.readexactly(int(length[1]))
        waits.append(time.perf_counter() - started)
    writer.close()
    await writer.wait_closed()
    return waits


@asynccontextmanager
async def _bare_handler(up: RunningService) -> AsyncIterator[str]:
    """Run `bench.stock_collect`; it prints its URL."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stock_collect", up.settings.bootstrap_servers, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout
    try:
        yield (await worker.stdout.readline()).decode().strip()
    finally:
        worker.terminate()
        await worker.wait()
