"""Check the environment before a process starts. Each error is one sentence that names the setting."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from app.data_dir import prepare_data_dir
from app.kafka.cluster import KafkaPasswordError, cluster_of
from app.settings import Settings
from app.supervisor.ports import bindable_port, holder_of
from app.supervisor.restarts import NotStartedError

POLL_INTERVAL_SECONDS: Final = 0.5
CONNECT_TIMEOUT_SECONDS: Final = 5.0
CONTAINER_TIMEOUT_SECONDS: Final = 30.0  # containers start in any order
INTERACTIVE_TIMEOUT_SECONDS: Final = 5.0
CORRUPTION_MESSAGES: Final = ("not a database", "malformed")  # of SQLite


def check_file_roots(settings: Settings) -> None:
    """Check that the directories for files exist.

    Raises:
        NotStartedError: one doesn't.

    """
    for root in settings.file_roots:
        if not root.is_dir():
            raise NotStartedError(f"ENTREPOT_FILE_ROOTS: {root} is not a directory")


def check_address(settings: Settings) -> None:
    """Check that the API can listen on its configured address.

    Raises:
        NotStartedError: it can't.

    """
    if bindable_port(settings.api_host, settings.api_port) == 0:
        where = f"port {settings.api_port} on {settings.api_host}"
        raise NotStartedError(f"ENTREPOT_API_PORT: {where} is in use by {holder_of(settings.api_port)}")


async def check_store(settings: Settings) -> None:
    """Check that the read store can be opened.

    Raises:
        NotStartedError: it can't.

    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # takes half a second, only needed to start a process

    from app.store.database import UnknownDatabaseError  # noqa: PLC0415  # as above
    from app.store.read_store import ReadStore  # noqa: PLC0415  # as above

    try:
        url = make_url(settings.database())
    except ValueError as error:
        raise NotStartedError(f"ENTREPOT_DATABASE_URL: invalid port ({error})") from error
    if not settings.database_url:
        prepare_data_dir(settings.data_dir)
    elif url.drivername.startswith("sqlite") and not Path(url.database or "").parent.is_dir():
        raise NotStartedError(f"ENTREPOT_DATABASE_URL: no directory {Path(url.database or '').parent}")
    try:
        if url.drivername.startswith("sqlite") and url.database:
            _probe_sqlite(url.database)
        store = await ReadStore.open(settings.database())
    except UnknownDatabaseError as error:
        raise NotStartedError(f"ENTREPOT_DATABASE_URL: {error}") from error
    except Exception as error:  # drivers raise many types
        raise NotStartedError(describe_store_error(settings, error)) from error
    await store.close()


def _probe_sqlite(path: str) -> None:
    """Read from an SQLite file, before the driver starts a thread that would fail as well."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def describe_store_error(settings: Settings, error: Exception) -> str:
    """Describe a driver error for the operator. Leaves out the URL: it holds a password."""
    reason = str(getattr(error, "orig", None) or error) or type(error).__name__
    if settings.database_url.startswith("postgresql"):
        return f"ENTREPOT_DATABASE_URL: can't open the database: {reason}"
    path = settings.database().partition("///")[2]
    if any(message in reason for message in CORRUPTION_MESSAGES):
        return f"{path} is corrupt ({reason}): move it away, and the read models are rebuilt from the events"
    name = "ENTREPOT_DATABASE_URL" if settings.database_url else "ENTREPOT_DATA_DIR"
    return f"{name}: can't open the database {path}: {reason}"


async def wait_for_kafka(settings: Settings, seconds: float, notify: Callable[[str], None]) -> None:
    """Wait until one of the servers accepts a connection.

    Raises:
        NotStartedError: none does within `seconds`, or the password can't be read.

    """
    try:
        cluster = cluster_of(settings)
    except KafkaPasswordError as error:
        raise NotStartedError(str(error)) from error
    servers = cluster.bootstrap_servers
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    notified = False
    while reason := await cluster.refusal(CONNECT_TIMEOUT_SECONDS):
        if loop.time() > deadline:
            raise NotStartedError(
                f"ENTREPOT_BOOTSTRAP_SERVERS: can't connect to Kafka at {servers} ({reason}): check that it is "
                "running, and the settings ENTREPOT_KAFKA_…"
            )
        if not notified:
            notify(f"waiting for Kafka at {servers} ({reason})")
            notified = True
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
