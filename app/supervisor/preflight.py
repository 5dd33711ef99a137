"""What a process needs around it, looked at before it starts: what is wrong is one sentence that names its setting."""

import asyncio
import errno
import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from app.settings import Settings, address_of
from app.supervisor.restarts import NotStartedError

POLL_INTERVAL_SECONDS: Final = 0.5
CONNECT_SECONDS: Final = 5.0
CONTAINER_TIMEOUT_SECONDS: Final = 30.0  # containers start in any order
INTERACTIVE_TIMEOUT_SECONDS: Final = 5.0
BROKEN: Final = ("not a database", "malformed")  # as SQLite says it


def check_file_roots(settings: Settings) -> None:
    """Make sure that the directories of files are there.

    Raises:
        NotStartedError: one isn't.

    """
    for each in settings.file_roots:
        if not each.is_dir():
            raise NotStartedError(f"ENTREPOT_FILE_ROOTS: {each} is not a directory")


def check_address(settings: Settings) -> None:
    """Make sure that the API can listen where it is told to.

    Raises:
        NotStartedError: it can't.

    """
    if bound(settings.api_host, settings.api_port) == 0:
        raise NotStartedError(f"ENTREPOT_API_PORT: port {settings.api_port} on {settings.api_host} is in use")


def bound(host: str, port: int) -> int:
    """Return the port that the system gave to the API, or 0 when it is taken.

    Raises:
        NotStartedError: there can't be any.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except UnicodeError as error:
        raise NotStartedError(f"ENTREPOT_API_HOST: {host[:100]!r} is no name of a host") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return 0
        why = str(error.strerror).partition(" (while")[0]  # names the address again, as Python's tuple
        raise NotStartedError(
            f"ENTREPOT_API_HOST: the API can't listen at {host}, port {port}: {why}; choose another"
        ) from error


async def check_store(settings: Settings) -> None:
    """Make sure that the read store opens.

    Raises:
        NotStartedError: it doesn't.

    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # half a second that only those who start something pay

    from app.store.database import UnknownDatabaseError  # noqa: PLC0415
    from app.store.read_store import ReadStore  # noqa: PLC0415

    try:
        url = make_url(settings.database())
    except ValueError as error:
        raise NotStartedError(f"ENTREPOT_DATABASE_URL: its port is none ({error})") from error
    if not settings.database_url:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    elif url.drivername.startswith("sqlite") and not Path(url.database or "").parent.is_dir():
        raise NotStartedError(f"ENTREPOT_DATABASE_URL: there is no directory {Path(url.database or '').parent}")
    try:
        if url.drivername.startswith("sqlite") and url.database:
            _look_into(url.database)
        store = await ReadStore.open(settings.database())
    except UnknownDatabaseError as error:
        raise NotStartedError(f"ENTREPOT_DATABASE_URL: {error}") from error
    except Exception as error:  # whatever the driver raises is what is wrong
        raise NotStartedError(store_trouble(settings, error)) from error
    await store.close()


def _look_into(path: str) -> None:
    """Read a byte of an SQLite file, before a thread is there that would fail by itself as well."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA schema_version").fetchone()


def store_trouble(settings: Settings, error: Exception) -> str:
    """Return what an error of the database's driver means, for a person; without the address: it has a password."""
    why = str(getattr(error, "orig", None) or error) or type(error).__name__
    if settings.database_url.startswith("postgresql"):
        return f"ENTREPOT_DATABASE_URL: the database can't be used: {why}"
    path = settings.database().partition("///")[2]
    if any(each in why for each in BROKEN):
        return f"{path} is broken ({why}): move it away, and the views are made of the events again"
    name = "ENTREPOT_DATABASE_URL" if settings.database_url else "ENTREPOT_DATA_DIR"
    return f"{name}: the database {path} can't be used: {why}"


async def wait_for_kafka(servers: str, seconds: float, say: Callable[[str], None]) -> None:
    """Return when one of the servers takes a connection.

    Raises:
        NotStartedError: none does for so long.

    """
    loop = asyncio.get_running_loop()
    until, said = loop.time() + seconds, False
    while wrong := await _none_answers(servers):
        if loop.time() > until:
            raise NotStartedError(
                f"ENTREPOT_BOOTSTRAP_SERVERS: no Kafka answers at {servers} ({wrong}): check that the cluster runs"
            )
        if not said:
            say(f"no Kafka answers at {servers} yet ({wrong})")
            said = True
        await asyncio.sleep(POLL_INTERVAL_SECONDS)


async def _none_answers(servers: str) -> str:
    """Return why none of the servers takes a connection, or "" when one does."""
    why = ""
    for each in servers.split(","):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(*address_of(each))
        except TimeoutError:
            why = "it does not answer"
        except (OSError, UnicodeError) as error:
            number = error.errno if isinstance(error, OSError) else None
            why = os.strerror(number) if number and number > 0 else str(error)
        else:
            writer.close()
            return ""
    return why
