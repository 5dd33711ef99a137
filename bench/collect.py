"""`POST /collect/json`: throughput and latency, compared with a minimal handler.

The client has a fixed number of connections, each of which sends the next request after a response. It shares the cores
with the service, so it sends prepared bytes to use as little CPU as possible.
"""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from urllib.parse import urlsplit

from app.supervisor.environment import environment_of
from app.supervisor.supervisor import RunningService
from bench.figures import Figure, percentile
from bench.plane import STREAM, flights
from bench.service import TOKEN

SECONDS = 6.0
WARM_UP_SECONDS = 1.0
CONNECTIONS = 16
MESSAGES_PER_REQUEST = 100
REQUESTS = 200  # prepared and sent repeatedly
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


async def collect_speed(service: RunningService) -> list[Figure]:
    """Send batches and single messages, and compare each with a handler that only writes the body to Kafka."""
    path = f"/collect/json/{STREAM}"
    packed = _requests(path, [b"[" + b",".join(lines) + b"]" for lines in _flight_groups(MESSAGES_PER_REQUEST)])
    single = _requests(path, [line for lines in _flight_groups(1) for line in lines])
    async with _bare_handler(service) as bare:
        batches, batch_p99 = await _measure(service.url, packed)
        bare_batches, bare_batch_p99 = await _measure(bare, packed)
        singles, single_p99 = await _measure(service.url, single)
        bare_singles, bare_single_p99 = await _measure(bare, single)
    handler = "aiohttp + send_and_wait"
    messages, goal = batches * MESSAGES_PER_REQUEST, 20_000
    return [
        Figure("collect, 100 messages per request", messages, "messages/s", f"≥ {goal:,} messages/s", messages >= goal,
               bare_batches * MESSAGES_PER_REQUEST, handler),
        Figure("the same, p99 of the ack", batch_p99, "ms", "≤ 250 ms", batch_p99 <= 250, bare_batch_p99, handler),
        Figure("collect, single messages", singles, "requests/s", "≥ 2,000 requests/s", singles >= 2_000,
               bare_singles, handler),
        Figure("the same, p99 of the ack", single_p99, "ms", "≤ 250 ms", single_p99 <= 250, bare_single_p99, handler),
    ]  # fmt: skip


def _flight_groups(size: int) -> list[list[bytes]]:
    lines = flights(REQUESTS * size)
    return [list(islice(lines, size)) for _ in range(REQUESTS)]


def _requests(path: str, bodies: Sequence[bytes]) -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += "Content-Type: application/json\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


async def _measure(url: str, requests: Sequence[bytes]) -> tuple[float, float]:
    """Return the requests per second, and the 99th percentile of the latency in milliseconds."""
    await _send_for(WARM_UP_SECONDS, url, requests)
    waits = await _send_for(SECONDS, url, requests)
    return len(waits) / SECONDS, 1000 * percentile(waits, 99)


async def _send_for(seconds: float, url: str, requests: Sequence[bytes]) -> list[float]:
    until = time.perf_counter() + seconds
    clients = [_send_until(until, url, requests[number:] + requests[:number]) for number in range(CONNECTIONS)]
    return [wait for waits in await asyncio.gather(*clients) for wait in waits]


async def _send_until(until: float, url: str, requests: Sequence[bytes]) -> list[float]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
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
async def _bare_handler(service: RunningService) -> AsyncIterator[str]:
    """Run `bench.stock_collect`, which prints its URL."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.stock_collect"),
        env=environment_of(service.settings),
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout
    try:
        yield (await worker.stdout.readline()).decode().strip()
    finally:
        worker.terminate()
        await worker.wait()
