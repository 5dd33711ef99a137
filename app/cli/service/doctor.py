"""`entrepot doctor`: one function a check; a check changes nothing and never raises."""

import asyncio
import logging
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import aiohttp
import click

from app.cli.client import connected
from app.cli.discovery import find
from app.cli.exits import DIFFERS, REFUSED, CommandError
from app.cli.output import OutputFormat, serialized
from app.cli.service.settings_errors import DATA_DIR, settings_of
from app.cli.session import TOKEN, URL, unless_overridden
from app.data_dir import ADMIN_FILE, PENDING_ADMIN_FILE, is_exposed, lock_holder
from app.kafka.cluster import BROKER_DIR, PASSWORD_FILE, KafkaPasswordError, NoClusterError, cluster_of, resolve_kafka
from app.kafka.topics import ClusterUnreachable, TopicRow, describe_topics
from app.sentences.escapes import escaped_lines
from app.settings import Settings
from app.store.read_store import ReadStore
from app.supervisor.broker.errors import BrokerError
from app.supervisor.broker.jars import JARS_DIR, maven_settings, read_pins, verify_all
from app.supervisor.broker.java import find_java, wheel_java
from app.vault.cipher import SealingKey
from app.vault.master_key import MASTER_KEY_FILE, MasterKeyFileError, master_key_path, missing_keys, read_key_ring
from schemas.topics import TOPICS

Level = Literal["ok", "warn", "fail"]
MIN_FREE_BYTES: Final = 2 * 1024**3
MAX_CLOCK_SKEW_SECONDS: Final = 5.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
SECRET_FILES: Final = (ADMIN_FILE, PENDING_ADMIN_FILE, MASTER_KEY_FILE, f"{BROKER_DIR}/{PASSWORD_FILE}")
LEVEL_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: level, message, and advice unless it is ok."""

    level: Level
    message: str
    advice: str = ""


SelfCheck = Callable[[Settings], Awaitable[Finding]]


async def run_checks(settings: Settings, url: str | None, token: str | None) -> AsyncIterator[Finding]:
    """Run the checks and yield each finding."""
    embedded: tuple[SelfCheck, ...] = () if settings.bootstrap_servers else (check_java, check_jars, check_supervisor)
    checks: tuple[SelfCheck, ...] = (
        check_python,
        check_data_directory,
        check_permissions,
        *embedded,
        check_kafka,
        check_read_store,
        check_master_key,
        partial(check_api, url=url),
        partial(check_token, url=url, token=token),
    )
    for check in checks:
        yield await check(_with_kafka(settings))


def _with_kafka(settings: Settings) -> Settings:
    with suppress(NoClusterError):  # a finding of `check_kafka`
        return resolve_kafka(settings)
    return settings


async def check_python(_settings: Settings) -> Finding:
    """Report the Python version."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("ok", f"Python {version}, {os.cpu_count()} CPUs")


async def check_data_directory(settings: Settings) -> Finding:
    """Check free space and write permission."""
    path = settings.data_dir.absolute()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "fail",
            f"{existing} is not writable",
            "set ENTREPOT_DATA_DIR to another directory, or grant write permission",
        )
    free = shutil.disk_usage(existing).free
    message = f"data directory {path}{'' if existing == path else ' (not created yet)'}, {free / 1024**3:.1f} GB free"
    if free < MIN_FREE_BYTES:
        return Finding(
            "warn", message, "free some space: messages are retained indefinitely, and a full disk stops the broker"
        )
    return Finding("ok", message)


async def check_permissions(settings: Settings) -> Finding:
    """Check that only this user can access the data directory and the files that hold secrets."""
    path = settings.data_dir.absolute()
    try:
        if path.exists() and (owner := path.stat().st_uid) != os.geteuid():
            return Finding(
                "fail", f"{path} belongs to user {owner}", "run Entrepot as that user, or move ENTREPOT_DATA_DIR"
            )
        files = (path, *(path / name for name in SECRET_FILES))
        exposed = tuple(str(file) for file in files if file.exists() and is_exposed(file))
    except OSError as error:
        return Finding("fail", f"cannot read the permissions of {path}: {error.strerror}", "run as the owner")
    if exposed:
        return Finding("fail", f"other users may access {', '.join(exposed)}", f"run: chmod go= {shlex.join(exposed)}")
    return Finding("ok", "only this user can access the data directory and its secrets")


async def check_java(_settings: Settings) -> Finding:
    """Check for a Java version that runs Kafka."""
    try:
        return Finding("ok", f"Java for Kafka: {await find_java(os.environ, wheel_java())}")
    except BrokerError as error:
        return Finding("fail", "no Java for Kafka", str(error))


async def check_jars(settings: Settings) -> Finding:
    """Check that Kafka's jars exist and match their pinned checksums."""
    own = settings.data_dir.absolute() / BROKER_DIR / JARS_DIR
    shared, _ = await asyncio.to_thread(maven_settings, own)
    repository = own if own.exists() else shared
    present = tuple(pin for pin in read_pins() if (repository / pin.path).exists())
    try:
        await asyncio.to_thread(verify_all, present, repository)
    except BrokerError as error:
        return Finding("fail", "a Kafka jar has an unexpected checksum", str(error))
    if missing := len(read_pins()) - len(present):
        return Finding("warn", f"{missing} Kafka jars are missing", "the next `entrepot up` downloads them once")
    return Finding("ok", f"{len(present)} Kafka jars, checksums verified")


async def check_supervisor(settings: Settings) -> Finding:
    """Check whether `entrepot up` is running."""
    pid = lock_holder(settings.data_dir)
    if pid is None:
        return Finding("warn", f"`entrepot up` is not running in {settings.data_dir}", "start it: entrepot up")
    return Finding("ok", f"`entrepot up` is running (pid {pid})")


async def check_kafka(settings: Settings) -> Finding:
    """Check the topics of the cluster."""
    if not settings.bootstrap_servers:
        advice = "start `entrepot up`, or set ENTREPOT_BOOTSTRAP_SERVERS"
        return Finding("fail", f"no Kafka is known in {settings.data_dir}", advice)
    try:
        rows = await describe_topics(cluster_of(settings), TOPICS.values())
    except KafkaPasswordError as error:
        return Finding("fail", str(error))
    except ClusterUnreachable as error:
        return Finding("fail", str(error), "start `entrepot up`, or set ENTREPOT_BOOTSTRAP_SERVERS")
    return _topics(rows, settings)


def _topics(rows: tuple[TopicRow, ...], settings: Settings) -> Finding:
    where = f"Kafka at {settings.bootstrap_servers}"
    if missing := [row.topic.name for row in rows if not row.exists]:
        return Finding("fail", f"{where}: {', '.join(missing)} missing", "create them: entrepot topics --create")
    if wrong := [difference for row in rows for difference in row.differences(settings.partitions)]:
        return Finding("fail", f"{where}: topics differ from their declarations", "; ".join(map(str, wrong)))
    if leaderless := [row.topic.name for row in rows if row.leaderless]:
        return Finding("fail", f"{where}: no leader for {', '.join(leaderless)}", "check the logs of the cluster")
    return Finding("ok", f"{where}: {len(rows)} topics as declared")


async def check_read_store(settings: Settings) -> Finding:
    """Check the read store."""
    name = "PostgreSQL" if settings.database_url else "SQLite"
    if not settings.database_url and not _views(settings).exists():
        return Finding("warn", "no read store yet", "the first `entrepot up` creates it")
    try:
        opened = await ReadStore.open(settings.database())
        try:
            old = await opened.views.needs_rebuild()
        finally:
            await opened.close()
    except Exception as error:  # noqa: BLE001  # any driver error is the finding
        return Finding(
            "fail",
            f"the read store ({name}) cannot be opened: {type(error).__name__}",
            "check ENTREPOT_DATABASE_URL, the database and its log",
        )
    if old:
        return Finding("warn", f"the read models in {name} have an older version", "run: entrepot views rebuild")
    return Finding("ok", f"read store ({name}) is reachable")


async def check_master_key(settings: Settings) -> Finding:
    """Check that the file has the key that the API seals to, and those that secrets of jobs are sealed with."""
    if not settings.database_url and not _views(settings).exists():
        return Finding("warn", "no master key yet", "the first `entrepot up` creates it")
    try:
        ring = read_key_ring(master_key_path(settings))
        store = await ReadStore.open(settings.database())
        try:
            announced = await store.sealing_key.announced()
            used = await store.jobs.sealing_keys()
        finally:
            await store.close()
    except MasterKeyFileError as error:
        return Finding("fail", str(error), "without it, jobs with secrets can't run")
    except Exception as error:  # noqa: BLE001  # any driver error is the finding
        return Finding("warn", f"the read store can't be read ({type(error).__name__})", "see the line above")
    current = [SealingKey(announced).key_id] if announced else []
    if problem := missing_keys([*current, *used], ring):
        level: Level = "warn" if settings.database_url else "fail"  # in a cluster it may be on another machine
        return Finding(level, problem, f"restore {master_key_path(settings)}; in a cluster, only the runner needs it")
    if not current:
        return Finding("warn", "no master key is in use", "the next `entrepot up` creates it, or names the missing one")
    return Finding("ok", f"master key {current[0]}")


def _views(settings: Settings) -> Path:
    return Path(settings.database().split("///", 1)[1])


async def check_api(settings: Settings, url: str | None) -> Finding:
    """Check that the API is ready and its clock agrees with the local one."""
    try:
        url = find(url, None, settings.data_dir).url
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.get(f"{url}/readyz") as response:
            status, text = response.status, (await response.text())[:200]
            date = response.headers.get("Date")
    except CommandError as error:
        return Finding("warn", "API not found", error.message)
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding(
            "fail",
            f"cannot reach the API at {url} ({type(error).__name__})",
            "check logs/api.log in the data directory",
        )
    if status != 200:
        return Finding("fail", f"the API at {url} is not ready: {text}", "check the logs of the role named")
    skew = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) if date else 0.0
    if skew > MAX_CLOCK_SKEW_SECONDS:
        return Finding("warn", f"the clock of {url} differs by {skew:.0f} s", "synchronise the clocks with NTP")
    return Finding("ok", f"API at {url} is ready, clocks agree")


async def check_token(settings: Settings, url: str | None, token: str | None) -> Finding:
    """Check that the API accepts the token that commands on this machine send."""
    try:
        endpoint = find(url, token, settings.data_dir)
        if endpoint.token is None:
            return Finding("warn", "no access token", "set ENTREPOT_TOKEN; `entrepot up` creates one in its directory")
        async with connected(endpoint.url, endpoint.token) as api:
            caller = await api.get("/v2/me")
    except CommandError as error:
        if error.exit_code != REFUSED:
            return Finding("warn", "access token not checked", error.message)
        advice = "set ENTREPOT_TOKEN, or restart the API: it replaces an invalid token of its data directory"
        return Finding("fail", f"access token not accepted: {error.message}", advice)
    return Finding("ok", f"access token accepted: {caller['name']}, role {caller['role']}")


logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # the findings are clearer than its log lines


@click.command()
@URL
@TOKEN
@DATA_DIR
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
def doctor(data_dir: Path | None, output: OutputFormat, **_options: object) -> None:
    """Check the requirements of Entrepot and its running parts. Each line is ok, warn or fail, with advice.

    Exit code 7 when a check fails.
    """
    findings: list[Finding] = []
    url, token = unless_overridden(click.get_current_context())

    async def run() -> None:
        async for finding in run_checks(settings_of(data_dir), url, token):
            findings.append(finding)
            if output == "table":
                level = click.style(f"{finding.level:<4}", fg=LEVEL_COLOURS[finding.level])
                click.echo(f"{level}  {escaped_lines(finding.message)}")
                if finding.advice:
                    click.echo(f"      → {escaped_lines(finding.advice)}")

    asyncio.run(run())
    if output != "table":
        click.echo(serialized([asdict(finding) for finding in findings], output))
    if any(finding.level == "fail" for finding in findings):
        raise click.exceptions.Exit(DIFFERS)
