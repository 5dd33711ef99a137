"""Runs an app inside our own loop until it is told to stop. It starts no agents of its own."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Final

from app.kafka.safe_faust.app import SafeApp
from app.kafka.safe_faust.latch import EXIT_LATCHED
from app.kafka.safe_faust.watchdog import watched
from app.kafka.topics import ensure_topics
from schemas.topics import Topic

EXIT_STOPPED: Final = 0
STOP_SECONDS: Final = 30.0
WATCHDOG_SECONDS: Final = 60.0


async def run_worker(
    app: SafeApp,
    *,
    replication_factor: int = 1,
    watchdog_seconds: float = WATCHDOG_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run until SIGTERM or SIGINT, then finish the batch at work, commit, and return the process's exit code.

    0 after a clean stop; 70 when the latch tripped, though a real latch ends the process before this can return.
    The group is not told of the stop (the worker is a static member): its partitions wait ten seconds for its return.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await ensure_changelogs(app, replication_factor)
    running = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        async with watched(app, watchdog_seconds, clock):
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                await stopping
        await _stop(app)
    finally:
        for task in (stopping, running):
            task.cancel()
        await asyncio.gather(stopping, running, return_exceptions=True)
    return EXIT_STOPPED if app.latch.reason is None else EXIT_LATCHED


async def _stop(app: SafeApp) -> None:
    try:
        await asyncio.wait_for(app.stop(), timeout=STOP_SECONDS)
    except TimeoutError as late:
        app.latch.trip(f"the worker didn't stop within {STOP_SECONDS:g} seconds", late)


async def ensure_changelogs(app: SafeApp, replication_factor: int) -> None:
    """Create the changelog of every table, compacted and kept for ever; raise `TopicMismatch` for one that differs."""
    servers = ",".join(f"{url.host}:{url.port}" for url in app.conf.broker_consumer)
    changelogs = [
        Topic(table.changelog_topic_name, key="as its table", carries="the state of a table", cleanup="compact")
        for table in app.tables.values()
    ]
    if changelogs:
        await ensure_topics(servers, changelogs, app.conf.topic_partitions, replication_factor)
