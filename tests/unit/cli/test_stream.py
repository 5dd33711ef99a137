"""Streams in a terminal: field statistics, and a suggested mapping that can be drafted."""

import re
from typing import Any

import pytest
import yaml

from app.cli.client import ApiClient
from app.cli.data.stream import stream_show, stream_suggest
from app.cli.session import Session

AT = "2026-11-25T02:29:39Z"
HOSTILE = "odd\nname: [\x1b[31m\u2028"
TEXTS = {"min_value": None, "max_value": None, "min_length": 2, "max_length": 6, "nulls": 0, "last_seen_at": AT}
FIELDS = [
    TEXTS | {"name": "tailnum", "fill": 0.9967, "types": {"string": 54}, "patterns": {}, "distinct": 1_352},
    TEXTS
    | {"name": "address.city of birth", "fill": 0.001, "types": {"string": 3, "integer": 5, "array": 1}}
    | {"min_value": 0.5, "max_value": 1_400, "patterns": {"integer": 2, "timestamp": 3, "email": 1}}
    | {"distinct": 4_500_000},
    TEXTS | {"name": HOSTILE, "fill": 1, "types": {"boolean": 1}, "patterns": {}, "distinct": 0, "min_length": None},
]  # fmt: skip
LANES = [{"stream": "flights", "lane": lane, "count": 2_699, "bytes": 1} for lane in ("backfill", "realtime")]
STREAM = {
    "stream": "flights", "count": 5_398, "bytes": 2, "last_message_at": AT, "last_arrival_at": AT, "lanes": LANES,
    "sampled": 54, "fields": FIELDS, "more_fields": 93_000,
    "blocked": [{"kind": "email", "value": "n/a", "count": 12_000}],
}  # fmt: skip
MAPPING = {"identities": [{"field": HOSTILE, "kind": "odd"}], "attributes": [], "timestamp": None}
SUGGESTION = {
    "mapping": MAPPING, "identity": {"kinds": [{"kind": "odd", "rank": 0}]}, "sampled": 54,
    "reasons": [{"pointer": "/identities/0", "text": f"`{HOSTILE}` is in 100 % of 54 messages"}],
}  # fmt: skip


class Streams(ApiClient):
    """An API with one stream."""

    def __init__(self) -> None:
        """Needs no session."""

    async def get(self, path: str, **query: object) -> Any:
        return {"/v2/stream/a%2Fb": STREAM, "/v2/stream/a%2Fb/suggestion": SUGGESTION}[path]


async def asked(command: Any, output: Any = "table", **arguments: Any) -> None:
    await command.callback.__wrapped__(Session(Streams(), output), stream="a/b", **arguments)


async def test_a_stream_and_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(stream_show)
    lines = capsys.readouterr().out.splitlines()
    assert "messages        2,699 backfill, 2,699 realtime" in lines
    assert "more fields     about 93,000, not shown" in lines
    table = [re.split(r"  +", line) for line in lines[lines.index("") + 1 :]]
    assert table[0] == ["FIELD", "FILL", "TYPES", "PATTERNS", "DISTINCT", "RANGE", "LAST SEEN"]
    assert table[1][:5] == ["tailnum", "99 %", "string", "1,352", "2 to 6 characters"]
    assert table[2][1:5] == ["1 %", "integer, string, array", "timestamp, integer, email", "4,500,000"]
    assert table[2][5] == "0.5 to 1,400, 2 to 6 characters"
    assert table[3][:4] == [r"odd name: [\x1b[31m", "100 %", "boolean", "0"]
    assert table[-1] == ["email:n/a", "12,000"]
    await asked(stream_show, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == STREAM


async def test_at_80_columns_the_fields_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    await asked(stream_show)
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    assert "FIELD" in out
    assert "DISTINCT" in out


@pytest.mark.parametrize("output", ["table", "yaml", "json"])
async def test_a_suggestion_can_be_drafted(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    await asked(stream_suggest, output, identity=False)
    out = capsys.readouterr().out
    assert yaml.safe_load(out) == MAPPING, "reasons are escaped"
    assert ("# /identities/0: `odd" in out) == (output != "json")
    await asked(stream_suggest, output, identity=True)
    assert yaml.safe_load(capsys.readouterr().out) == SUGGESTION["identity"]
