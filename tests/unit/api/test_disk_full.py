"""A full disk is named with its directory, whether a file or the database reports it."""

import errno
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.api.http.disk_full import disk_full_problem
from app.settings import Settings
from app.store.database import open_database


def test_a_full_disk_of_a_file(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left") as written:
        full.write(b"x")
    problem = disk_full_problem(written.value, settings)
    assert problem
    assert (problem.status, problem.code) == (507, "disk_full")
    assert str(tmp_path) in problem.detail
    elsewhere = disk_full_problem(OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file"), settings)
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
    problem = disk_full_problem(raised.value, settings)
    assert problem
    assert (problem.code, str(tmp_path) in problem.detail) == ("disk_full", True)


def test_other_errors_are_no_full_disk(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "denied"), DBAPIError("", {}, Exception()), ValueError()):
        assert disk_full_problem(error, Settings(data_dir=tmp_path)) is None
