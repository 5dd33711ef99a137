"""The cause of a failed write is named: a full disk with its directory, a clock that differs from the broker's."""

import errno
from pathlib import Path

import pytest
from aiokafka.errors import KafkaStorageError, KafkaTimeoutError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.api.http import write_failures
from app.api.http.problems import ApiProblem
from app.api.http.write_failures import write_problem
from app.kafka.memory.cluster import MemoryCluster
from app.settings import Settings
from app.store.database import open_database
from schemas.topics import FUTURE_BOUND_MS
from tests.integration.api.rig import Client
from tests.unit.api.conftest import WallClock


def test_a_full_disk_of_a_file(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left") as written:
        full.write(b"x")
    problem = write_problem(written.value, settings)
    assert problem
    assert (problem.status, problem.code) == (507, "disk_full")
    assert str(tmp_path) in problem.detail
    elsewhere = write_problem(OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file"), settings)
    assert elsewhere
    assert "/elsewhere " in elsewhere.detail


async def test_a_full_disk_of_the_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = open_database(settings.database())
    async with database.writing() as connection:
        await connection.execute(text("PRAGMA max_page_count = 2"))
        await connection.execute(text("CREATE TABLE a (b)"))
        with pytest.raises(DBAPIError) as raised:
            await connection.execute(text("CREATE TABLE c (d)"))
    await database.close()
    problem = write_problem(raised.value, settings)
    assert problem
    assert (problem.code, str(tmp_path) in problem.detail) == ("disk_full", True)


def test_other_errors_are_no_full_disk(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "denied"), DBAPIError("", {}, Exception()), ValueError()):
        assert write_problem(error, Settings(data_dir=tmp_path)) is None


def test_a_full_disk_of_the_embedded_broker_is_read_from_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, unconfirmed = Settings(data_dir=tmp_path), ApiProblem(503, "not_confirmed", "")
    unconfirmed.__cause__ = KafkaTimeoutError()
    monkeypatch.setattr(write_failures, "MIN_FREE_BYTES", 2**62)
    assert write_problem(unconfirmed, settings) is None, "the broker is elsewhere"
    (tmp_path / "broker").mkdir()
    problem = write_problem(unconfirmed, settings)
    assert problem
    assert (problem.status, problem.code, str(tmp_path) in problem.detail) == (507, "disk_full", True)
    monkeypatch.setattr(write_failures, "MIN_FREE_BYTES", 0)
    assert write_problem(unconfirmed, settings) is None
    unconfirmed.__cause__ = KafkaStorageError()
    problem = write_problem(unconfirmed, settings)
    assert problem
    assert problem.code == "disk_full"


async def test_a_clock_that_is_ahead_of_the_broker_s_is_named(
    client: Client, cluster: MemoryCluster, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = int(clock().timestamp() * 1000) - FUTURE_BOUND_MS - 60_000
    monkeypatch.setattr(cluster._broker, "clock", lambda: behind)
    for where, content_type, body in (
        ("/collect/json/people", "application/json", b'{"a":1}'),
        ("/collect/bulk/people", "text/csv", b"a\n1\n"),
    ):
        refused = await client.ask("POST", where, raw=body, Content_Type=content_type)
        assert (refused.status, refused.body["code"]) == (503, "clock_skew"), where
