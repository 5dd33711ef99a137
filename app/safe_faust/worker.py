"""Runs an app inside our own loop until it is told to stop. It starts no agents of its own."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from app.safe_faust.app import SafeApp
from app.safe_faust.latch import EXIT_LATCHED
from app.safe_faust.watchdog import watched
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
    """Create the changelog of every table, compacted and kept for ever; raise when one has another partition count."""
    tables = tuple(app.tables.values())
    if not tables:
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=[f"{url.host}:{url.port}" for url in app.conf.broker_consumer])
    await admin.start()
    try:
        topics = [_changelog(table.changelog_topic_name, table.partitions, replication_factor) for table in tables]
        answer = await admin.create_topics(topics)
        for name, code, reason in answer.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)(f"the changelog {name} can't be created: {reason}")
        await _verify(admin, {topic.name: topic.num_partitions for topic in topics})
    finally:
        await admin.close()


def _changelog(name: str, partitions: int, replication_factor: int) -> NewTopic:
    topic = Topic(name, key="as its table", carries="the state of a table", cleanup="compact")
    return NewTopic(name, partitions, replication_factor, topic_configs=topic.config())


async def _verify(admin: AIOKafkaAdminClient, wanted: dict[str, int]) -> None:
    for description in await admin.describe_topics(list(wanted)):
        name, found = description["topic"], len(description["partitions"])
        if found not in (0, wanted[name]):  # 0: created this instant, and the broker's metadata doesn't have it yet
            raise RuntimeError(
                f"the changelog {name} has {found} partitions and its source {wanted[name]}; "
                "start with the partition count that the data was made with"
            )
