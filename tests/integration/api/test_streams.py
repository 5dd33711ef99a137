"""Field statistics of a stream, and a suggested mapping that can be applied unchanged."""

import csv
import gzip
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest

from app.store.models import StreamDelta
from app.store.read_store import ReadStore
from projections.fields.field_stats import FieldStats
from schemas.instants import EPOCH
from tests.integration.api.rig import House, as_caller
from tests.integration.api.test_definitions import entrepot

pytestmark = pytest.mark.asyncio(loop_scope="session")

FLIGHTS = Path(__file__).resolve().parents[3] / "examples" / "flights-2013-01.csv.gz"


def path(stream: str, rest: str = "") -> str:
    return f"/v2/stream/{quote(stream, safe='')}{rest}"


async def seen(house: House, stream: str, lane: str, count: int, messages: list[dict[str, Any]]) -> None:
    """Write to the read store what a lane would write."""
    stats = FieldStats()
    for message in messages:
        stats.add(message, 7)
    delta = StreamDelta(
        stream=stream, lane=lane, count=count, bytes=10, last_message_at=EPOCH, last_arrival_at=EPOCH,
        fields=stats.to_json() if messages else b"",
    )  # fmt: skip
    store = await ReadStore.open(house.service.settings.database())
    topic = f"messages.{lane}"
    start = await store.streams.next_offset(topic, 0)
    assert await store.streams.add(topic, 0, start, start + 1, [delta])
    await store.close()


async def test_a_stream_shows_its_lanes_and_fields(house: House) -> None:
    stream = f"a/b {uuid4().hex[:8]} {{x}}"
    await seen(house, stream, "realtime", 500, [{"id": 1, "who": {"email": "a@b.example"}}, {"id": 2.5, "who": None}])
    await seen(house, stream, "backfill", 50, [{"id": 3, "note": ""}, {"id": "4"}])
    found = await house.client.get(path(stream))
    assert (found["stream"], found["count"], found["sampled"], found["more_fields"]) == (stream, 550, 4, 0)
    assert [(lane["lane"], lane["count"]) for lane in found["lanes"]] == [("backfill", 50), ("realtime", 500)]
    fields = {field["name"]: field for field in found["fields"]}
    assert list(fields) == ["id", "note", "who", "who.email"]
    assert fields["id"] == {
        "name": "id", "path": ["id"], "fill": 1, "seen": 4, "nulls": 0, "distinct": 4, "patterns": {"integer": 1},
        "types": {"integer": 2, "number": 1, "string": 1}, "last_seen": "1970-01-01T00:00:00.000007Z",
        "min_length": 1, "max_length": 1, "smallest": 1, "largest": 3,
    }  # fmt: skip
    assert (fields["who"]["fill"], fields["who"]["nulls"], fields["who"]["seen"]) == (0.25, 1, 2)
    assert (fields["note"]["fill"], fields["note"]["patterns"]) == (0, {"blank": 1})
    assert fields["who.email"]["path"] == ["who", "email"]
    async with as_caller(house.client.url, None) as anonymous:
        assert (await anonymous.ask("GET", path(stream))).status == 401


async def test_an_unknown_stream_is_not_found(house: House) -> None:
    quiet = f"quiet {uuid4().hex[:8]}"
    await seen(house, quiet, "realtime", 5, [])
    found = await house.client.get(path(quiet))
    assert (found["count"], found["sampled"], found["fields"]) == (5, 0, [])
    for where, code in (
        (path("nobody's"), "no_such_stream"),
        (path("nobody's", "/suggestion"), "no_such_stream"),
        (path(quiet, "/suggestion"), "no_fields_known"),
    ):
        refused = await house.client.ask("GET", where)
        assert (refused.status, refused.body["code"]) == (404, code)


async def test_a_suggestion_can_be_applied_as_it_is(house: House, tmp_path: Path) -> None:
    stream, other, client = f"flights {uuid4().hex[:8]}", f"other {uuid4().hex[:8]}", house.client
    with gzip.open(FLIGHTS, "rt") as file:
        flights: list[dict[str, Any]] = list(csv.DictReader(file))[:200]
    for item in (stream, other):
        await seen(house, item, "backfill", 2_699, flights)
    found = await client.get(path(stream, "/suggestion"))
    assert found["mapping"]["identities"] == [{"field": "tailnum", "kind": "tail"}]
    assert found["mapping"]["timestamp"]["field"] == "time_hour"
    assert {"pointer": "/attributes/0", "text": "the number of messages of this stream"} in found["reasons"]
    for name, option in (("identity", ["--identity"]), ("mapping", [])):
        file, where = tmp_path / f"{name}.yaml", [stream] if name == "mapping" else []
        code, output = await entrepot(house, "stream", "suggest", stream, *option)
        assert code == 0
        file.write_text(output)
        assert (await entrepot(house, name, "draft", *where, str(file)))[0] == 0
        assert (await entrepot(house, name, "apply", *where))[0] in {0, 4}, "the active version is no draft"
    applied = await client.get(f"/v2/definition/{quote(f'mapping:{stream}', safe='')}")
    assert applied["applied"]["body"] == found["mapping"]
    names = {attribute["name"] for attribute in (await client.get(path(other, "/suggestion")))["mapping"]["attributes"]}
    assert f"{other}_carrier" in names, "the name of the first mapping"
    again = await client.get(path(stream, "/suggestion"))
    assert again["mapping"] == found["mapping"]
    code, output = await entrepot(house, "stream", "suggest", other, "-o", "json")
    assert (code, {attribute["name"] for attribute in orjson.loads(output)["attributes"]}) == (0, names)
    code, output = await entrepot(house, "stream", "show", stream)
    assert (code, "time_hour" in output, "timestamp" in output) == (0, True, True)
    assert (await entrepot(house, "stream", "show", "nobody's"))[0] == 3
