"""Statistics of streams over HTTP, and mappings suggested from them."""

import csv
import gzip
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.store.models import StreamDelta
from app.store.read_store import ReadStore
from projections.fields.field_stats import FieldStats
from schemas.instants import EPOCH, moment
from tests.integration.api.rig import Client
from tests.unit.api.conftest import Api
from tests.unit.api.test_definitions import path as definition_path

FLIGHTS = Path(__file__).resolve().parents[3] / "examples" / "flights-2013-01.csv.gz"


def path(stream: str, rest: str = "") -> str:
    return f"/v2/stream/{quote(stream, safe='')}{rest}"


@pytest.fixture
def store(api: Api) -> ReadStore:
    return api.services.store


async def add(
    store: ReadStore, stream: str, lane: str, count: int, messages: list[dict[str, Any]], at: int = 7
) -> None:
    """Write what a lane writes to the read store."""
    stats = FieldStats()
    for message in messages:
        stats.add(message, at)
    delta = StreamDelta(
        stream=stream, lane=lane, count=count, bytes=10, last_message_at=moment(at), last_arrival_at=EPOCH,
        fields=stats.to_json() if messages else b"",
    )  # fmt: skip
    topic = f"messages.{lane}"
    start = await store.streams.next_offset(topic, 0)
    assert await store.streams.add(topic, 0, start, start + 1, [delta])


async def test_a_stream_shows_its_lanes_and_fields(client: Client, store: ReadStore) -> None:
    stream = "a/b {x}"
    await add(store, stream, "realtime", 500, [{"id": 1, "who": {"email": "a@b.example"}}, {"id": 2.5, "who": None}])
    await add(store, stream, "backfill", 50, [{"id": 3, "note": ""}, {"id": "4"}], at=9)
    shown = await client.get(path(stream))
    assert (shown["stream"], shown["count"], shown["bytes"]) == (stream, 550, 20)
    assert (shown["sampled"], shown["more_fields"]) == (4, 0)
    assert (shown["last_message_at"], shown["last_arrival_at"]) == (
        "1970-01-01T00:00:00.000009Z",
        "1970-01-01T00:00:00Z",
    )
    assert [(lane["lane"], lane["count"]) for lane in shown["lanes"]] == [("backfill", 50), ("realtime", 500)]
    assert await client.get("/v2/stream") == shown["lanes"]
    fields = {field["name"]: field for field in shown["fields"]}
    assert list(fields) == ["id", "note", "who", "who.email"]
    assert fields["id"] == {
        "name": "id", "path": ["id"], "fill": 1, "seen": 4, "nulls": 0, "distinct": 4, "patterns": {"integer": 1},
        "types": {"integer": 2, "number": 1, "string": 1}, "last_seen_at": "1970-01-01T00:00:00.000009Z",
        "min_length": 1, "max_length": 1, "min_value": 1, "max_value": 3,
    }  # fmt: skip
    assert (fields["who"]["fill"], fields["who"]["nulls"], fields["who"]["seen"]) == (0.25, 1, 2)
    assert "null" not in fields["who"]["types"]
    assert (fields["note"]["fill"], fields["note"]["patterns"]) == (0, {"blank": 1})
    assert fields["who.email"]["path"] == ["who", "email"]


async def test_an_unknown_stream_is_not_found(client: Client, store: ReadStore) -> None:
    await add(store, "quiet", "realtime", 5, [])
    shown = await client.get(path("quiet"))
    assert (shown["count"], shown["sampled"], shown["fields"]) == (5, 0, [])
    for where, code in (
        (path("unknown"), "no_such_stream"),
        (path("unknown", "/suggestion"), "no_such_stream"),
        (path("quiet", "/suggestion"), "no_fields_known"),
    ):
        refused = await client.ask("GET", where)
        assert (refused.status, refused.body["code"]) == (404, code)


async def test_a_suggestion_can_be_applied_as_it_is(client: Client, store: ReadStore) -> None:
    with gzip.open(FLIGHTS, "rt") as file:
        flights: list[dict[str, Any]] = list(csv.DictReader(file))[:200]
    for stream in ("flights", "other"):
        await add(store, stream, "backfill", 2_699, flights)
    suggestion = await client.get(path("flights", "/suggestion"))
    assert suggestion["mapping"]["identities"] == [{"field": "tailnum", "kind": "tail"}]
    assert suggestion["mapping"]["timestamp"]["field"] == "time_hour"
    assert {"pointer": "/attributes/0", "text": "the number of messages of this stream"} in suggestion["reasons"]
    assert suggestion["reasons"][-1]["text"].startswith("profiles are unavailable")
    assert suggestion["sampled"] == 200
    for name, body in (("identity", "identity"), ("mapping:flights", "mapping")):
        where = f"/v2/definition/{quote(name, safe='')}"
        await client.ask("PUT", f"{where}/draft", suggestion[body], If_Match='"0"')
        assert (await client.post(f"{where}/apply"))["applied_version"] == 1
    assert (await client.get(definition_path()))["applied"]["body"] == suggestion["mapping"]
    attributes = (await client.get(path("other", "/suggestion")))["mapping"]["attributes"]
    assert "other_carrier" in {attribute["name"] for attribute in attributes}, "`carrier` is used by the first mapping"
    again = await client.get(path("flights", "/suggestion"))
    assert again["mapping"] == suggestion["mapping"], "a mapping may use its own names"
