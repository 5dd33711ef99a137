"""A read store of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.store.read_store import ReadStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    yield opened
    await opened.close()
