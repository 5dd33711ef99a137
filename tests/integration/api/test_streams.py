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
from tests.integration.api.rig import ApiServers
from tests.integration.api.test_definitions import entrepot

pytestmark = pytest.mark.asyncio(loop_scope="session")

FLIGHTS = Path(__file__).resolve().parents[3] / "examples" / "flights-2013-01.csv.gz"


def path(stream: str, rest: str = "") -> str:
    return f"/v2/stream/{quote(stream, safe='')}{rest}"


async def seen(api_servers: ApiServers, stream: str, lane: str, count: int, messages: list[dict[str, Any]]) -> None:
    """Write to the read store what a lane would write."""
    stats = FieldStats()
    for message in messages:
        stats.add(message, 7)
    delta = StreamDelta(
        stream=stream, lane=lane, count=count, bytes=10, last_message_at=EPOCH, last_arrival_at=EPOCH,
        fields=stats.to_json() if messages else b"",
    )  # fmt: skip
    store = await ReadStore.open(api_servers.service.settings.database())
    topic = f"messages.{lane}"
    start = await store.streams.next_offset(topic, 0)
    assert await store.streams.add(topic, 0, start, start + 1, [delta])
    await store.close()


async def test_a_suggestion_can_be_applied_as_it_is(api_servers: ApiServers, tmp_path: Path) -> None:
    stream, other, client = f"flights {uuid4().hex[:8]}", f"other {uuid4().hex[:8]}", api_servers.client
    with gzip.open(FLIGHTS, "rt") as file:
        flights: list[dict[str, Any]] = list(csv.DictReader(file))[:200]
    for item in (stream, other):
        await seen(api_servers, item, "backfill", 2_699, flights)
    found = await client.get(path(stream, "/suggestion"))
    assert found["mapping"]["identities"] == [{"field": "tailnum", "kind": "tail"}]
    assert found["mapping"]["timestamp"]["field"] == "time_hour"
    assert {"pointer": "/attributes/0", "text": "the number of messages of this stream"} in found["reasons"]
    for name, option in (("identity", ["--identity"]), ("mapping", [])):
        file, where = tmp_path / f"{name}.yaml", [stream] if name == "mapping" else []
        code, output = await entrepot(api_servers, "stream", "suggest", stream, *option)
        assert code == 0
        file.write_text(output)
        assert (await entrepot(api_servers, name, "draft", *where, str(file)))[0] == 0
        assert (await entrepot(api_servers, name, "apply", *where))[0] in {0, 4}, "the active version is no draft"
    applied = await client.get(f"/v2/definition/{quote(f'mapping:{stream}', safe='')}")
    assert applied["applied"]["body"] == found["mapping"]
    names = {attribute["name"] for attribute in (await client.get(path(other, "/suggestion")))["mapping"]["attributes"]}
    assert f"{other}_carrier" in names, "the name of the first mapping"
    again = await client.get(path(stream, "/suggestion"))
    assert again["mapping"] == found["mapping"]
    code, output = await entrepot(api_servers, "stream", "suggest", other, "-o", "json")
    assert (code, {attribute["name"] for attribute in orjson.loads(output)["attributes"]}) == (0, names)
    code, output = await entrepot(api_servers, "stream", "show", stream)
    assert (code, "time_hour" in output, "timestamp" in output) == (0, True, True)
    assert (await entrepot(api_servers, "stream", "show", "unknown"))[0] == 3
