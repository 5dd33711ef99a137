"""A file that is caught in the middle of a line: a job that comes again leaves that line until it is whole."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Batch, Limits
from connectors.providers.file import Config, read
from connectors.text.config import TextConfig
from connectors.text.importer import QUIET_SECONDS
from tests.unit.connectors.texts import LIMITS, NOW, outcome

AGAIN = replace(LIMITS, comes_again=True)
TEXTS = {
    "a.csv": b'id,name\n1,Ann\n2,"B\nb"\n3,Cy\n',
    "a.ndjson": b'{"id":1}\n\n{"id":2,"name":"B"}\n{"id":3}\n',
    "large.csv": b"id,name\n1,Ann\n2," + b"x" * 999 + b"\n3,Cy\n",
}


def one_pass(data: bytes, path: str, cursor: Any, limits: Limits = AGAIN, modified: float | None = NOW) -> Any:
    return asyncio.run(outcome(data, TextConfig(stream="s"), path, cursor, limits, modified))


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("step", [1, 5, 11])
def test_however_a_growing_file_is_caught_its_records_are_those_of_the_whole(path: str, step: int) -> None:
    text = TEXTS[path]
    whole = one_pass(text, path, {})
    assert whole.lines
    lines, rejects, cursor = [], [], {}
    for size in range(0, len(text) + step, step):
        found = one_pass(text[:size], path, cursor)
        assert found.error is None
        lines += found.lines
        rejects += found.rejects
        cursor = found.batches[-1].cursor if found.batches else cursor
    assert (lines, rejects) == (whole.lines, whole.rejects)


@pytest.mark.parametrize(
    ("limits", "modified"),
    [(LIMITS, NOW), (AGAIN, NOW - QUIET_SECONDS), (AGAIN, NOW + QUIET_SECONDS), (AGAIN, None)],
    ids=["once", "quiet for long", "a clock gone mad", "unknown"],
)
def test_a_line_that_will_hardly_go_on_is_taken_as_it_is(limits: Limits, modified: float | None) -> None:
    assert one_pass(b"id\n1\n23", "a.csv", {}, limits, modified).lines == [b'{"id":"1"}\n', b'{"id":"23"}\n']


def test_json_that_is_cut_off_is_tried_again_as_ever() -> None:
    assert one_pass(b'[{"id":1},{"id"', "a.json", {}).error.code == "truncated"


async def batches(config: Config, cursor: Any, limits: Limits) -> list[Batch]:
    return [each async for each in read(config, cursor, limits)]


async def test_the_time_of_a_file_says_whether_it_is_still_written(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id\n1\n2")
    limits, config = Limits(file_roots=(tmp_path,), comes_again=True), Config(source="a.csv", stream="s")
    (first,) = await batches(config, {}, limits)
    assert first.payload == b'{"id":"1"}\n'
    file.write_bytes(b"id\n1\n23")
    assert await batches(config, first.cursor, limits) == []
    os.utime(file, (0, 0))
    (last,) = await batches(config, first.cursor, limits)
    assert last.payload == b'{"id":"23"}\n'
