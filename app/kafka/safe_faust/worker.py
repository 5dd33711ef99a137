"""Run an app in the current event loop until a shutdown signal."""

import asyncio
import time
from typing import Final

from app.kafka.safe_faust.app import SafeApp
from app.kafka.safe_faust.watchdog import watch_progress
from app.kafka.topics import ensure_topics
from app.process import Monotonic, shutdown_event
from app.tasks import cancel_all
from schemas.topics import Topic

EXIT_STOPPED: Final = 0
STOP_TIMEOUT_SECONDS: Final = 30.0
WATCHDOG_TIMEOUT_SECONDS: Final = 60.0


async def run_worker(
    app: SafeApp,
    *,
    replication_factor: int = 1,
    watchdog_seconds: float = WATCHDOG_TIMEOUT_SECONDS,
    monotonic: Monotonic = time.monotonic,
) -> int:
    """Run until SIGTERM or SIGINT, then finish the current batch, commit, and return the exit code.

    0 after a graceful stop; the exit code of the latch if it tripped without exiting the process. A static member
    doesn't leave the group: its partitions are reassigned if it doesn't return within ten seconds.
    """
    stop = shutdown_event()
    await ensure_changelogs(app, replication_factor)
    running = asyncio.create_task(app.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        async with watch_progress(app, watchdog_seconds, monotonic):
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                await stopping
        await _stop(app)
    finally:
        await cancel_all(stopping, running)
    return EXIT_STOPPED if app.latch.reason is None else app.latch.exit_code


async def _stop(app: SafeApp) -> None:
    try:
        await asyncio.wait_for(app.stop(), timeout=STOP_TIMEOUT_SECONDS)
    except TimeoutError as error:
        app.latch.trip(f"the worker didn't stop within {STOP_TIMEOUT_SECONDS:g} seconds", error)


async def ensure_changelogs(app: SafeApp, replication_factor: int) -> None:
    """Create the compacted changelog of every table. Raise `TopicMismatch` for one with a different configuration."""
    changelogs = [
        Topic(table.changelog_topic_name, key="as its table", carries="the state of a table", cleanup="compact")
        for table in app.tables.values()
    ]
    if changelogs:
        await ensure_topics(app.cluster, changelogs, app.conf.topic_partitions, replication_factor)
