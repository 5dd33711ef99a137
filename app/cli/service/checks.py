"""What `doctor` looks at, one function per thing. Each finds out without changing anything, and never raises."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Literal

import aiohttp

from app.cli.discovery import find
from app.cli.exits import Stopped
from app.data_dir import holder, with_kafka
from app.kafka.topics import ClusterUnreachable, TopicRow, describe_topics
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.broker.errors import BrokerError
from app.supervisor.broker.jars import maven_settings, read_pins, verify_all
from app.supervisor.broker.java import find_java, wheel_java
from schemas.topics import TOPICS

Level = Literal["ok", "warn", "fail"]
LITTLE_DISK: Final = 2 * 1024**3
CLOCK_SECONDS: Final = 5.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it is, what was found, and what to do unless it is ok."""

    level: Level
    says: str
    advice: str = ""


Check = Callable[[Settings], Awaitable[Finding]]


async def find_all(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what each check finds, as it finds it."""
    embedded: tuple[Check, ...] = () if settings.bootstrap_servers else (java, jars, supervisor)
    for check in (python, data_directory, *embedded, kafka, store, api):
        yield await check(with_kafka(settings))


async def python(_settings: Settings) -> Finding:
    """Look at the interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("ok", f"Python {version}, {os.cpu_count()} CPUs")


async def data_directory(settings: Settings) -> Finding:
    """Look whether there is room, and whether it may be written."""
    path = settings.data_dir.absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("fail", f"{there} can't be written", "choose another with ENTREPOT_DATA_DIR, or give the rights")
    free = shutil.disk_usage(there).free
    says = f"data directory {path}{'' if there == path else ' (not there yet)'}, {free / 1024**3:.1f} GB free"
    if free < LITTLE_DISK:
        return Finding("warn", says, "free some space: messages are kept for ever, and a full disk stops the broker")
    return Finding("ok", says)


async def java(_settings: Settings) -> Finding:
    """Look for a Java that Kafka runs on."""
    try:
        return Finding("ok", f"Java for Kafka: {await find_java(os.environ, wheel_java())}")
    except BrokerError as error:
        return Finding("fail", "no Java for Kafka", str(error))


async def jars(_settings: Settings) -> Finding:
    """Look whether Kafka's jars are there, and are those that were pinned."""
    repository, _ = await asyncio.to_thread(maven_settings)
    there = tuple(pin for pin in read_pins() if (repository / pin.path).exists())
    try:
        await asyncio.to_thread(verify_all, there, repository)
    except BrokerError as error:
        return Finding("fail", "a jar of Kafka has changed", str(error))
    if missing := len(read_pins()) - len(there):
        return Finding("warn", f"{missing} jars of Kafka are missing", "the next `entrepot up` fetches them, once")
    return Finding("ok", f"{len(there)} jars of Kafka, checksums right")


async def supervisor(settings: Settings) -> Finding:
    """Look whether `entrepot up` runs here."""
    pid = holder(settings.data_dir)
    if pid is None:
        return Finding("warn", f"no `entrepot up` runs in {settings.data_dir}", "start it: entrepot up")
    return Finding("ok", f"`entrepot up` runs here, process {pid}")


async def kafka(settings: Settings) -> Finding:
    """Look at the topics on the cluster."""
    try:
        rows = await describe_topics(settings.bootstrap_servers, TOPICS.values())
    except ClusterUnreachable:
        return Finding(
            "fail",
            f"no Kafka answers at {settings.bootstrap_servers}",
            "start `entrepot up`, or name the cluster with ENTREPOT_BOOTSTRAP_SERVERS",
        )
    return _topics(rows, settings)


def _topics(rows: tuple[TopicRow, ...], settings: Settings) -> Finding:
    where = f"Kafka at {settings.bootstrap_servers}"
    if missing := [row.topic.name for row in rows if not row.exists]:
        return Finding("fail", f"{where}: {', '.join(missing)} missing", "create them: entrepot topics --create")
    if wrong := [each for row in rows for each in row.differences(settings.partitions)]:
        return Finding("fail", f"{where}: topics differ from what is declared", "; ".join(map(str, wrong)))
    if headless := [row.topic.name for row in rows if row.leaderless]:
        return Finding("fail", f"{where}: no leader for {', '.join(headless)}", "look at the log of the cluster")
    return Finding("ok", f"{where}: {len(rows)} topics as declared")


async def store(settings: Settings) -> Finding:
    """Look at the read store."""
    name = "PostgreSQL" if settings.database_url else "SQLite"
    if not settings.database_url and not _views(settings).exists():
        return Finding("warn", "no read store yet", "the first `entrepot up` makes it")
    try:
        opened = await ReadStore.open(settings.database())
        try:
            old = await opened.needs_rebuild()
        finally:
            await opened.close()
    except Exception as error:  # noqa: BLE001  # whatever the driver raises is the finding
        return Finding(
            "fail",
            f"the read store ({name}) can't be opened: {type(error).__name__}",
            "check ENTREPOT_DATABASE_URL, the database and its log",
        )
    if old:
        return Finding("warn", f"the views in {name} are of an older version", "entrepot views rebuild")
    return Finding("ok", f"read store ({name}) answers")


def _views(settings: Settings) -> Path:
    return Path(settings.database().split("///", 1)[1])


async def api(settings: Settings) -> Finding:
    """Look whether the API is ready, and whether its clock is ours."""
    try:
        url = find(os.environ.get("ENTREPOT_URL"), None, settings.data_dir).url
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.get(f"{url}/readyz") as answer:
            status, text = answer.status, (await answer.text())[:200]
            date = answer.headers.get("Date")
    except Stopped as error:
        return Finding("warn", "no API to be found", error.message)
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding(
            "fail", f"no API answers at {url} ({type(error).__name__})", "look at logs/api.log in the data directory"
        )
    if status != 200:
        return Finding("fail", f"the API at {url} isn't ready: {text}", "look at the logs of the role that it names")
    skew = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) if date else 0.0
    if skew > CLOCK_SECONDS:
        return Finding("warn", f"the clock of {url} differs by {skew:.0f} s", "set the clocks, with NTP")
    return Finding("ok", f"API at {url} is ready, clocks agree")
