"""A recurring job skips an unterminated last line until the line is complete."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Batch, Limits
from connectors.providers.file import Config, read
from connectors.text.config import TextConfig
from connectors.text.importer import QUIET_SECONDS
from tests.unit.connectors.texts import LIMITS, NOW, inline_runner, outcome

RECURRING = replace(LIMITS, recurring=True)
TEXTS = {
    "a.csv": b'id,name\n1,Ann\n2,"B\nb"\n3,Cy\n',
    "a.ndjson": b'{"id":1}\n\n{"id":2,"name":"B"}\n{"id":3}\n',
    "large.csv": b"id,name\n1,Ann\n2," + b"x" * 999 + b"\n3,Cy\n",
}


def one_pass(data: bytes, path: str, cursor: Any, limits: Limits = RECURRING, modified: float | None = NOW) -> Any:
    return inline_runner().run(outcome(data, TextConfig(stream="s"), path, cursor, limits, modified))


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("step", [1, 5, 11])
def test_a_growing_file_gives_the_records_of_the_complete_file(path: str, step: int) -> None:
    text = TEXTS[path]
    whole = one_pass(text, path, {})
    assert whole.lines
    lines, rejects, cursor = [], [], {}
    for size in range(0, len(text) + step, step):
        result = one_pass(text[:size], path, cursor)
        assert result.error is None
        lines += result.lines
        rejects += result.rejects
        cursor = result.batches[-1].cursor if result.batches else cursor
    assert (lines, rejects) == (whole.lines, whole.rejects)


@pytest.mark.parametrize(
    ("limits", "modified"),
    [(LIMITS, NOW), (RECURRING, NOW - QUIET_SECONDS), (RECURRING, NOW + QUIET_SECONDS), (RECURRING, None)],
    ids=["once", "unchanged for long", "modified in the future", "unknown"],
)
def test_a_line_that_is_probably_complete_is_imported(limits: Limits, modified: float | None) -> None:
    assert one_pass(b"id\n1\n23", "a.csv", {}, limits, modified).lines == [b'{"id":"1"}\n', b'{"id":"23"}\n']


def test_truncated_json_is_retried() -> None:
    assert one_pass(b'[{"id":1},{"id"', "a.json", {}).error.code == "truncated"


async def batches(config: Config, cursor: Any, limits: Limits) -> list[Batch]:
    return [batch async for batch in read(config, cursor, limits)]


async def test_the_modification_time_decides_whether_a_line_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id\n1\n2")
    limits, config = Limits(file_roots=(tmp_path,), recurring=True), Config(source="a.csv", stream="s")
    (first,) = await batches(config, {}, limits)
    assert first.payload == b'{"id":"1"}\n'
    file.write_bytes(b"id\n1\n23")
    assert await batches(config, first.cursor, limits) == []
    os.utime(file, (0, 0))
    (last,) = await batches(config, first.cursor, limits)
    assert last.payload == b'{"id":"23"}\n'
