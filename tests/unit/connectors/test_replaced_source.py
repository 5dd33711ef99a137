"""A file that is replaced between two passes is read whole; what was only appended is read alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import FixConfiguration, Limits
from connectors.kit import local_source
from connectors.providers.file import Config, read

ROWS = [f"{number:06},new,{'x' * 80}" for number in range(4_000)]  # more than both fingerprints, 128 KiB


def csv(rows: list[str], header: str = "id,status,note") -> bytes:
    return "".join(f"{line}\n" for line in (header, *rows)).encode()


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def exchange(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


async def new_rows(path: Path, cursor: Any, **limits: Any) -> tuple[list[bytes], Any]:
    """The rows of a pass of a job that runs again, and the cursor after it."""
    allowed = replace(Limits(file_roots=(path.parent,), rereads=True), **limits)
    rows: list[bytes] = []
    async for batch in read(Config(source=str(path), stream="people"), cursor, allowed):
        rows += batch.payload.splitlines()
        cursor = batch.cursor
    return rows, cursor


@pytest.mark.parametrize("place", [put, exchange])
@pytest.mark.parametrize(
    ("changed", "count"),
    [
        (csv(ROWS), 0),
        (csv([*ROWS, "last,new,"]), 1),
        (csv([*ROWS[:2_000], ROWS[2_000].replace("new", "old"), *ROWS[2_001:]]), 4_000),
        (csv([*ROWS[:2_000], ROWS[2_000].replace("new", "old"), *ROWS[2_001:], "last,new,"]), 4_001),
        (csv(ROWS[1:]), 3_999),
        (csv(["1,new,"]), 1),
        (csv(ROWS[:9], "status,id,note"), 9),
        (csv([]), 0),
        (b"", 0),
    ],
    ids=["same", "appended", "middle", "middle and appended", "first", "short", "columns", "no rows", "empty"],
)
async def test_a_pass_reads_what_is_new(
    tmp_path: Path, place: Callable[[Path, bytes], None], changed: bytes, count: int
) -> None:
    path = tmp_path / "people.csv"
    put(path, csv(ROWS))
    rows, cursor = await new_rows(path, {})
    assert len(rows) == len(ROWS)
    place(path, changed)
    rows, after = await new_rows(path, cursor)
    assert len(rows) == count
    assert (await new_rows(path, after))[0] == []


async def test_a_file_that_was_emptied_for_a_moment_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    put(path, csv(ROWS[:3]))
    _, cursor = await new_rows(path, {})
    put(path, b"")
    rows, cursor = await new_rows(path, cursor)
    put(path, csv(["4,new,"]))
    rows, _ = await new_rows(path, cursor)
    assert rows == [b'{"id":"4","status":"new","note":""}']


async def test_an_import_that_runs_once_stops_at_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    put(path, csv(ROWS))
    _, cursor = await new_rows(path, {})
    put(path, csv(ROWS[1:]))
    with pytest.raises(FixConfiguration) as caught:
        await new_rows(path, cursor, rereads=False)
    assert caught.value.code == "source_changed"


async def test_a_large_file_that_grows_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_source, "MAX_COMPARED_BYTES", 1_000)
    path = tmp_path / "people.csv"
    put(path, csv(ROWS))
    _, cursor = await new_rows(path, {})
    received: list[int] = []
    put(path, csv([*ROWS, "last,new,"]))
    rows, cursor = await new_rows(path, cursor, received=received.append)
    assert len(rows) == 1
    assert sum(received) < 100_000
    put(path, csv([*ROWS[:2_000], ROWS[2_000].replace("new", "old"), *ROWS[2_001:], "last,new,"]))
    assert len((await new_rows(path, cursor))[0]) == 4_001, "it did not grow"


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    put(path, csv(ROWS))
    _, cursor = await new_rows(path, {})
    received: list[int] = []
    assert (await new_rows(path, cursor, received=received.append))[0] == []
    assert sum(received) < 100_000
