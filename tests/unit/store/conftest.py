"""Run every store test on SQLite and on a new PostgreSQL database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.store.read_store import ReadStore
from tests.conftest import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'views.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await server.new_database()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(database_url)
    yield opened
    await opened.close()
