"""From the messages of a stream to field statistics, a suggested mapping, and profiles."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import pytest_asyncio

from app.supervisor.broker.server import Broker
from tests.integration.api.rig import ApiServers, Client, service_with_client
from tests.integration.api.test_definitions import entrepot
from tests.integration.api.test_profiles import followed, profile, value
from tests.integration.support.plane import packed, write_packed
from tests.integration.support.service import Service
from tests.unit.api.test_definitions import VISITORS, VISITS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 60.0
SHOP = [
    {
        "customer_id": 1000 + n % 40,
        "email": f"p{n % 40}@shop.example",
        "city": ("Graz", "Linz", "Wels")[n % 3],
        "ordered_at": f"2026-01-{n % 28 + 1:02d}T10:00:00Z",
        "total": n + 0.5,
        "coupon": "X" if n % 4 == 0 else None,
    }
    for n in range(200)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> AsyncIterator[tuple[Service, Client]]:
    folder = tmp_path_factory.mktemp("sight")
    roles = ("control", "api", "lane-realtime", "lane-backfill", "profiles")
    async with service_with_client(folder, broker, roles) as (running, client):
        yield running, client


async def collect(client: Client, stream: str, *messages: dict[str, Any]) -> None:
    sent = await client.ask("POST", f"/collect/json/{stream}", list(messages))
    assert sent.status in {200, 201}, sent.body


async def shown(client: Client, path: str, holds: Callable[[Any], bool]) -> Any:
    """Poll until a condition holds: lanes send no signal."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := await client.ask("GET", path)).status != 200 or not holds(found.data):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{path} is {found.body}") from None
    return found.data


async def test_from_messages_to_statistics_to_a_mapping_to_profiles(plane: tuple[Service, Client]) -> None:
    running, client = plane
    await collect(client, "shop", *SHOP[:3])
    await shown(client, "/v2/stream/shop", lambda item: item["sampled"] == 3)
    await collect(client, "shop", *SHOP[3:])
    stream = await shown(client, "/v2/stream/shop", lambda item: item["sampled"] >= 50)
    assert stream["count"] == len(SHOP)
    fields = {field["name"]: field for field in stream["fields"]}
    assert list(fields) == sorted(SHOP[0])
    assert (fields["customer_id"]["types"], fields["customer_id"]["fill"]) == ({"integer": stream["sampled"]}, 1)
    assert fields["email"]["patterns"] == {"email": stream["sampled"]}
    assert 0.2 < fields["coupon"]["fill"] < 0.3
    assert fields["city"]["last_seen_at"] == stream["last_message_at"]

    suggested = await client.get("/v2/stream/shop/suggestion")
    for name, body in (("identity", suggested["identity"]), ("mapping:shop", suggested["mapping"])):
        there = f"/v2/definition/{quote(name, safe='')}"
        drafted = await client.ask("PUT", f"{there}/draft", body, If_Match='"0"')
        assert drafted.status == 200, drafted.body
        applied = await client.ask("POST", f"{there}/apply")
        assert applied.status == 200, applied.body
    await followed(running, rules_offset=4)

    await collect(client, "shop", *SHOP)
    (by_mail,) = (identity for identity in suggested["mapping"]["identities"] if identity["kind"] == "email")
    names = {attribute.get("field"): attribute["name"] for attribute in suggested["mapping"]["attributes"]}
    ada = await profile(client, f"{by_mail['kind']}:p7@shop.example", lambda item: value(item, names[None]) == 5)
    assert value(ada, names["city"]) in {"Graz", "Linz", "Wels"}


async def test_a_mapping_is_previewed_on_recent_messages(plane: tuple[Service, Client], tmp_path: Path) -> None:
    running, client = plane
    there = "/v2/definition/mapping%3Avisits"
    newest = (await client.ask("GET", "/v2/definition/identity")).headers.get("ETag", '"0"')
    drafted = await client.ask("PUT", "/v2/definition/identity/draft", VISITORS, If_Match=newest)
    assert drafted.status == 200, drafted.body
    assert (await client.ask("POST", f"{there}/preview")).body["code"] == "no_such_definition"
    assert (await client.post(f"{there}/preview", VISITS))["messages"] == [], "no message yet"

    history = [{"email": f"h{n}@x.example", "age": n} for n in range(30)]
    await write_packed(running, "backfill", [packed("visits", "upload/1", history)])
    await collect(client, "visits", {"email": "a@x.example", "cookie": "c1", "age": "old", "spent": 1.5})
    await collect(client, "visits", {"age": 7}, {"cookie": "c2", "when": "2999-01-01T00:00:00Z"})
    found = await client.post(f"{there}/preview", VISITS)
    assert [message["identities"] for message in found["messages"][:3]] == [
        [], [], ["email:a@x.example", "visitor:c1"],
    ]  # fmt: skip
    future, unidentified, ada, *older = found["messages"]
    assert [fault["code"] for fault in future["faults"]] == ["future_timestamp"]
    assert (unidentified["attributes"], unidentified["faults"]) == ({}, [])
    assert ada["attributes"] == {"spent": 1.5}
    assert ada["faults"] == [{"part": "attribute age", "code": "wrong_type", "example": "'old'"}]
    assert [item["message_id"] for item in older] == [f"upload/1/{n}" for n in range(29, -1, -1)]
    summary = found["summary"]
    assert (summary["messages"], summary["mapped"]) == (33, 31)
    assert summary["attributes"] == {"age": 30, "spent": 1}
    assert {"part": "attribute age", "code": "wrong_type", "example": "'old'", "messages": 1} in summary["faults"]
    assert (await client.ask("GET", "/v2/profile/email%3Aa%40x.example")).status == 404, "nothing was stored"

    wrong = await client.ask("POST", f"{there}/preview", VISITS | {"identities": [{"field": "x", "kind": "tail"}]})
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "/identities/0/kind")
    assert (await client.ask("POST", "/v2/definition/identity/preview", VISITS)).status == 404

    api_servers, file = ApiServers([client], running), tmp_path / "visits.json"
    file.write_text(orjson.dumps(VISITS).decode())
    code, output = await entrepot(api_servers, "mapping", "preview", "visits", str(file))
    assert code == 0
    assert all(item in output for item in ("a@x.example", "31 of 33", "wrong_type"))
    assert (await entrepot(api_servers, "mapping", "draft", "visits", str(file)))[0] == 0
    code, output = await entrepot(api_servers, "mapping", "preview", "visits", "-o", "json")
    assert (code, orjson.loads(output)) == (0, await client.post(f"{there}/preview")), "the draft"
    dropped = await client.ask("DELETE", "/v2/definition/identity/draft")
    assert dropped.status == 200


async def test_the_deepest_accepted_message_can_be_shown(plane: tuple[Service, Client]) -> None:
    """After the stream `shop` has been mapped."""
    running, client = plane
    assert running.producer
    message = b'{"email":"deep@shop.example","x":' + b"[" * 199 + b"]" * 199 + b"}"
    await running.producer.send_and_wait("messages.realtime", message, partition=0, headers=[("stream", b"shop")])
    await profile(client, "email:deep@shop.example", lambda item: bool(item["attributes"]))
    explained = await client.get("/v2/profile/email:deep%40shop.example/explain")
    assert orjson.dumps(explained["messages"][0]["message"]["x"]) == b"[" * 199 + b"]" * 199
