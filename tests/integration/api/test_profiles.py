"""From a message over HTTP to a profile over HTTP: now, in the past, explained, and forgotten."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from projections.profiles.partitioning import partition_of_key
from projections.profiles.update_codec import encode_mapped
from projections.profiles.updates import Group, MappedMessages
from schemas.instants import EPOCH
from schemas.updates import MappedBatch
from schemas.wire.codec import encode
from tests.integration.api.rig import Client, as_caller, service_with_client, until_ready, url_of
from tests.integration.support.service import TOKEN, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 60.0
SUE = "00:email:sue@example.com"
IDENTITY = {
    "kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}, {"kind": "cookie", "rank": 5, "title": "Cookie"}],
    "max_identities": 1000,
}
VISITS = {
    "identities": [{"expr": "lower(trim(email))", "kind": "email"}, {"field": "cookie", "kind": "cookie"}],
    "attributes": [
        {"name": "city", "field": "city", "type": "string", "merge": "latest"},
        {"name": "visits", "type": "integer", "merge": "count"},
        {"name": "spent", "field": "spent", "type": "number", "merge": "sum"},
    ],
    "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
}


@asynccontextmanager
async def plane(folder: Path, broker: Broker) -> AsyncIterator[tuple[Client, Service]]:
    roles = ("control", "api", "lane-realtime", "profiles")
    async with service_with_client(folder, broker, roles) as (running, client):
        for name, body in (("identity", IDENTITY), ("mapping:visits", VISITS)):
            there = f"/v2/definition/{quote(name, safe='')}"
            drafted = await client.ask("PUT", f"{there}/draft", body, If_Match='"0"')
            assert drafted.status == 200, drafted.body
            applied = await client.ask("POST", f"{there}/apply")
            assert applied.status == 200, applied.body
        await followed(running, rules_offset=4)
        yield client, running


async def followed(running: Service, rules_offset: int) -> None:
    """Wait until the lane maps by the rules at an offset; older rules may still map the next messages."""
    store = await ReadStore.open(running.settings.database())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for number in range(running.settings.partitions):
                pins: Sequence[tuple[int, int]] = ()
                while not pins or pins[-1][1] < rules_offset:
                    await asyncio.sleep(0.05)
                    pins = await store.plane.rules_of("messages.realtime", number)
    finally:
        await store.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> AsyncIterator[tuple[Client, Service]]:
    async with plane(tmp_path_factory.mktemp("plane"), broker) as both:
        yield both


@pytest.fixture(scope="module")
def client(services: tuple[Client, Service]) -> Client:
    return services[0]


async def send(client: Client, *messages: dict[str, Any]) -> str:
    sent = await client.ask("POST", "/collect/json/visits", list(messages))
    assert sent.status in {200, 201}, sent.body
    upload: str = sent.data["upload_id"]
    return upload


async def profile(client: Client, key: str, holds: Callable[[dict[str, Any]], bool], query: str = "") -> dict[str, Any]:
    """Poll until a profile meets a condition: lanes and profiles send no signal."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await client.ask("GET", f"/v2/profile/{quote(key, safe='')}{query}")
                if found.status == 200 and holds(found.data):
                    data: dict[str, Any] = found.data
                    return data
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{key} is {found.body}") from None


def value(data: dict[str, Any], name: str) -> Any:
    return data["attributes"].get(name, {}).get("value")


async def test_a_profile_is_found_by_every_identity_and_explained(client: Client) -> None:
    upload = await send(
        client,
        {"cookie": "c1", "city": "Graz", "when": "2026-01-01T10:00:00Z", "spent": 1.25},
        {"cookie": "c1", "email": " Ada@Example.com", "city": "Vienna", "when": "2026-02-01T10:00:00Z", "spent": 2},
        {"cookie": "c2", "email": "ada@example.com", "when": "2026-03-01T10:00:00Z"},
    )
    found = await profile(client, "cookie:c1", lambda item: value(item, "visits") == 3 and len(item["identities"]) == 3)
    assert found["id"] == "email:ada@example.com"
    assert found["identities"] == ["email:ada@example.com", "cookie:c1", "cookie:c2"]
    assert value(found, "city") == "Vienna"
    assert value(found, "spent") == 3.25
    assert found["attributes"]["city"]["message_id"] == f"{upload}/1/1"
    assert found["attributes"]["city"]["job_id"] == upload
    assert found["attributes"]["city"]["timestamp"] == "2026-02-01T10:00:00Z"
    assert await profile(client, "cookie:c2", lambda item: item["id"] == found["id"]) == found
    then = await profile(client, "cookie:c1", lambda _: True, "?as_of=2026-01-15T00:00:00Z")
    assert (then["id"], value(then, "city"), value(then, "visits")) == ("cookie:c1", "Graz", 1)
    early = await client.ask("GET", "/v2/profile/cookie:c1?as_of=2025-01-01T00:00:00Z")
    assert early.status == 404
    explained = (await client.ask("GET", "/v2/profile/cookie:c2/explain")).data
    assert [message["message"]["when"][:7] for message in explained["messages"]] == ["2026-01", "2026-02", "2026-03"]
    assert explained["messages"][1]["identities"] == ["email:ada@example.com", "cookie:c1"]
    assert explained["profile"]["links"][0]["identities"] == ["cookie:c1", "email:ada@example.com"]


async def test_a_forgotten_person_returns_only_with_new_messages(client: Client) -> None:
    await send(client, {"email": "eve@example.com", "cookie": "e1", "city": "Linz", "when": "2026-01-01T10:00:00Z"})
    await profile(client, "cookie:e1", lambda item: item["id"] == "email:eve@example.com")
    forgotten = await client.ask("DELETE", "/v2/profile/cookie:e1", Prefer="wait=15")
    assert (forgotten.status, forgotten.data["identities"], forgotten.data["complete"]) == (200, 2, True), (
        forgotten.body
    )
    for key in ("cookie:e1", "email:eve@example.com"):
        assert (await client.ask("GET", f"/v2/profile/{key}")).status == 404
    await send(client, {"email": "eve@example.com", "city": "Wels", "when": "2026-02-01T10:00:00Z"})
    soon = datetime.now(UTC) + timedelta(hours=1)
    await send(client, {"email": "eve@example.com", "city": "Steyr", "when": soon.isoformat()})
    returned = await profile(client, "email:eve@example.com", lambda _: True)
    assert (value(returned, "city"), value(returned, "visits"), returned["identities"]) == (
        "Steyr",
        1,
        ["email:eve@example.com"],
    )
    explained = (await client.ask("GET", "/v2/profile/email:eve@example.com/explain")).data
    assert [message["message"]["city"] for message in explained["messages"]] == ["Steyr"]
    assert (await client.ask("GET", "/v2/profile/email:eve@example.com?as_of=2026-01-15T00:00:00Z")).status == 404


async def test_a_profile_at_the_limit_of_links_is_forgotten(client: Client) -> None:
    when = "2026-01-01T10:00:00Z"
    messages = [{"email": "many@example.com", "cookie": f"{n:0100}", "when": when} for n in range(1_200)]
    await send(client, *messages)
    await profile(client, "email:many@example.com", lambda item: len(item["identities"]) == 1_001)
    forgotten = await client.ask("DELETE", "/v2/profile/email:many@example.com", Prefer="wait=15")
    assert forgotten.status == 200, forgotten.body
    assert (forgotten.data["identities"], forgotten.data["complete"]) == (1_001, False)
    for item in (messages[0], messages[999]):
        assert (await client.ask("GET", f"/v2/profile/cookie:{item['cookie']}")).status == 404


async def ended(client: Client, href: str) -> dict[str, Any]:
    """Poll until a person is forgotten."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            shown = await client.ask("GET", href)
            if shown.status == 200 and shown.data["status"] == "forgotten":
                forgetting: dict[str, Any] = shown.data
                return forgetting
            await asyncio.sleep(0.05)


def says(number: int, group: Group, *links: tuple[str, str, int, str, int]) -> bytes:
    """The update that a lane sends to profiles for one raw record."""
    payload = encode_mapped(MappedMessages([group], list(links)))
    return encode(
        MappedBatch(
            topic="messages.backfill", partition=9, first_offset=number, next_offset=number + 1, rules_offset=4,
            payload=payload, forgettings_offset=1_000_000,
        )
    )  # fmt: skip


async def test_a_forgotten_person_does_not_return_by_pending_messages(services: tuple[Client, Service]) -> None:
    client, running = services
    await send(client, {"email": "sue@example.com", "cookie": "s1", "when": "2026-01-01T10:00:00Z"})
    await profile(client, "cookie:s1", lambda item: item["id"] == "email:sue@example.com")
    home = partition_of_key("05:cookie:s2", running.settings.partitions)
    before = datetime(2026, 1, 2, tzinfo=UTC)
    at = (before - EPOCH) // timedelta(microseconds=1)
    slow = [["00:email:slow", at, 0, n, 0, f"{999_999 - n:06}" * 10] for n in range(3_000)]
    assert running.producer
    for number in range(50):  # seconds of work in front, for the one partition
        record = says(number, Group("visits", ("union:texts",), number, [f"history/{number}"], slow))
        await running.producer.send("updates.backfill", record, partition=home)
    late = says(50, Group("visits", (), 50, ["history/50"]), ("05:cookie:s2", SUE, at, "h", 0))
    await running.producer.send_and_wait("updates.backfill", late, partition=home)
    accepted = await client.ask("DELETE", "/v2/profile/email:sue@example.com", Prefer="wait=0")
    assert accepted.status == 202, accepted.body
    assert (await ended(client, accepted.data["href"]))["identities"] == 3
    for key in ("cookie:s1", "cookie:s2", "email:sue@example.com"):
        assert (await client.ask("GET", f"/v2/profile/{key}")).status == 404


async def test_forgetting_continues_after_kills_of_the_api_and_of_the_owner(services: tuple[Client, Service]) -> None:
    client, running = services
    await send(client, {"email": "kim@example.com", "cookie": "k1", "when": "2026-01-01T10:00:00Z"})
    await profile(client, "cookie:k1", lambda item: item["id"] == "email:kim@example.com")
    running.signal("lane-realtime", signal.SIGSTOP)  # it can't confirm the rule, so the owner waits
    try:
        accepted = await client.ask("DELETE", "/v2/profile/cookie:k1", Prefer="wait=0")
        assert accepted.status == 202, accepted.body
        (running.settings.data_dir / "api.json").unlink()
        await running.kill("api")
        await running.kill("profiles")
    finally:
        running.signal("lane-realtime", signal.SIGCONT)
    async with as_caller(await url_of(running), TOKEN) as restarted:
        await until_ready(restarted)
        forgetting = await ended(restarted, accepted.data["href"])
        assert (forgetting["identities"], forgetting["profiles"], forgetting["complete"]) == (2, 1, True)
        for key in ("cookie:k1", "email:kim@example.com"):
            assert (await restarted.ask("GET", f"/v2/profile/{key}")).status == 404
