"""From messages over HTTP to profiles over HTTP: now, in the past, explained, and forgotten."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from app.api.services import lag_monitor
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.profiles import forgetting, history
from app.store.models import StreamDelta
from projections.views.lag import MIN_MEASURED_MESSAGES
from schemas.instants import EPOCH
from schemas.topics import LANES
from tests.integration.api.rig import Client
from tests.unit.api.conftest import Api, WallClock, commands, until_status

IDENTITY = {
    "kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}, {"kind": "cookie", "rank": 5, "title": "Cookie"}],
    "max_identities": 1000,
}
VISITS: dict[str, Any] = {
    "identities": [{"expr": "lower(trim(email))", "kind": "email"}, {"field": "cookie", "kind": "cookie"}],
    "attributes": [
        {"name": "city", "field": "city", "type": "string", "merge": "latest"},
        {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
        {"name": "visits", "type": "integer", "merge": "count"},
        {"name": "since", "field": "when", "type": "timestamp", "merge": "first"},
    ],
    "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
}


@dataclass
class TickingClock(WallClock):
    """Advances with each use: later requests have later times."""

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@pytest.fixture
def clock() -> WallClock:
    return TickingClock()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits for other processes."""
    monkeypatch.setattr(lag_monitor, "MAX_AGE_SECONDS", -1.0)
    for name in ("POLL_INTERVAL", "RETRY_DELAY", "MIN_POLL_INTERVAL"):
        monkeypatch.setattr(forgetting, name, 0.001)


@pytest.fixture
async def rules(client: Client) -> None:
    for name, body in (("identity", IDENTITY), ("mapping:visits", VISITS)):
        where = f"/v2/definition/{quote(name, safe='')}"
        await client.ask("PUT", f"{where}/draft", body, If_Match='"0"')
        assert (await client.ask("POST", f"{where}/apply")).status == 200


async def send(client: Client, *messages: dict[str, Any]) -> str:
    upload: str = (await client.post("/collect/json/visits", list(messages)))["upload_id"]
    return upload


def path(key: str, rest: str = "") -> str:
    return f"/v2/profile/{quote(key, safe='')}{rest}"


async def profile(client: Client, key: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll until a profile meets a condition: lanes and profiles send no signal."""
    async with asyncio.timeout(10):
        while (answer := await client.ask("GET", path(key))).status != 200 or not holds(answer.data):
            await asyncio.sleep(0.01)
    data: dict[str, Any] = answer.data
    return data


async def pages(client: Client, where: str, limit: int) -> list[dict[str, Any]]:
    found, cursor = [], ""
    while cursor is not None:
        answer = await client.ask("GET", f"{where}?limit={limit}{cursor and f'&cursor={cursor}'}")
        found.append(answer.data)
        cursor = answer.body["next_cursor"]
        assert ("Link" in answer.headers) == (cursor is not None)
    return found


def values(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: attribute["value"] for name, attribute in shown["attributes"].items()}


@pytest.mark.usefixtures("plane", "rules")
async def test_a_profile_is_found_by_every_identity_and_explained(
    client: Client, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await send(
        client,
        {"cookie": "c1", "city": "Graz", "when": "2026-01-01T10:00:00Z"},
        {"cookie": "c1", "email": " Ada@Example.com", "city": "Vienna", "when": "2026-02-01T10:00:00Z"},
        {"cookie": "c2", "email": "ada@example.com", "when": "2026-03-01T10:00:00Z"},
    )
    shown = await profile(client, "cookie:c1", lambda item: len(item["identities"]) == 3)
    assert (shown["id"], shown["identities"]) == (
        "email:ada@example.com",
        ["email:ada@example.com", "cookie:c1", "cookie:c2"],
    )
    assert values(shown) == {"city": "Vienna", "visits": 3, "since": "2026-01-01T10:00:00Z"}
    city = shown["attributes"]["city"]
    assert (city["job_id"], city["message_id"], city["merge"]) == (upload, f"{upload}/1/1", "latest")
    assert await profile(client, "cookie:c2", lambda item: len(item["identities"]) == 3) == shown

    past = await client.get(path("cookie:c1", "?as_of=2026-01-15T00:00:00Z"))
    assert (past["id"], values(past)["city"], values(past)["visits"]) == ("cookie:c1", "Graz", 1)
    early = await client.ask("GET", path("cookie:c1", "?as_of=2025-01-01T00:00:00Z"))
    assert (early.status, early.body["code"]) == (404, "no_such_profile")

    explained = await client.get(path("cookie:c2", "/explain"))
    assert explained["profile"] == shown
    assert [message["message"]["when"][:7] for message in explained["messages"]] == ["2026-01", "2026-02", "2026-03"]
    assert explained["messages"][1]["identities"] == ["email:ada@example.com", "cookie:c1"]
    assert (explained["messages"][0]["stream"], explained["messages"][0]["rules_offset"]) == ("visits", 4)
    paged = await pages(client, path("cookie:c2", "/explain"), limit=2)
    assert [len(page["messages"]) for page in paged] == [2, 1]
    assert [message for page in paged for message in page["messages"]] == explained["messages"]
    monkeypatch.setattr(history, "CHUNK_BYTES", 1)
    assert len(await pages(client, path("cookie:c2", "/explain"), limit=100)) == 3, "a page of large messages has fewer"
    assert await client.get(path("cookie:c1", "?as_of=2026-01-15T00:00:00Z")) == past, "folded in several chunks"
    cluster.set_available(available=False)
    unreachable = await client.ask("GET", path("cookie:c2", "/explain"))
    cluster.set_available(available=True)
    assert (unreachable.status, unreachable.body["code"]) == (503, "kafka_unreachable")
    foreign = await client.ask("GET", path("cookie:c1", "/explain?cursor=WyIiXQ"))
    assert (foreign.status, foreign.body["errors"][0]["code"]) == (422, "bad_cursor")
    monkeypatch.setattr(history, "MAX_RECORDS", 0)
    too_long = await client.ask("GET", path("cookie:c1", "?as_of=2026-01-15T00:00:00Z"))
    assert (too_long.status, too_long.body["code"]) == (422, "too_many_messages")
    monkeypatch.setattr(history, "MAX_MESSAGES", 2)
    too_many = await client.ask("GET", path("cookie:c2", "/explain"))
    assert (too_many.status, too_many.body["code"]) == (422, "too_many_messages")


NIL = "00000000-0000-0000-0000-000000000000"
PLACEHOLDERS = ("null", "undefined", "N/A", "[object Object]", "0", "None", NIL, "\u200b-")


@pytest.mark.usefixtures("plane", "rules")
async def test_placeholders_link_nobody(client: Client) -> None:
    await send(client, *({"email": value, "cookie": f"c{n}"} for n, value in enumerate(PLACEHOLDERS * 2)))
    for number, value in enumerate(PLACEHOLDERS):
        shown = await profile(client, f"cookie:c{number}", lambda item: True)
        assert shown["identities"] == [f"cookie:c{number}"], value
    explained = await client.get(path("cookie:c2", "/explain"))
    assert [message["blocked"] for message in explained["messages"]] == [["email:n/a"]]
    blocked: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while sum(item["count"] for item in blocked) < 2 * len(PLACEHOLDERS):  # the lane counts a moment later
            await asyncio.sleep(0.01)
            stream = await client.ask("GET", "/v2/stream/visits")
            blocked = stream.data["blocked"] if stream.status == 200 else []
    assert {"kind": "email", "value": "0", "count": 4} in blocked
    metrics = (await client.ask("GET", "/metrics")).body.decode()
    assert f'entrepot_blocked_identities{{kind="email",lane="realtime"}} {2 * len(PLACEHOLDERS)}.0' in metrics


@pytest.mark.usefixtures("plane", "rules")
async def test_dead_letters_of_a_lane_are_counted_by_code(client: Client) -> None:
    await send(client, {"email": "ada@example.com", "when": "no time"}, {"email": "eve@example.com", "when": "soon"})
    expected = 'entrepot_lane_dead_letters_total{code="bad_timestamp",lane="realtime"} 2.0'
    async with asyncio.timeout(10):
        while expected not in (await client.ask("GET", "/metrics")).body.decode():  # the lane counts a moment later
            await asyncio.sleep(0.01)


async def suggested_blocks(client: Client, kind: str) -> list[str]:
    """Poll until a suggestion blocks values of a kind: the lane writes field statistics a moment later."""
    async with asyncio.timeout(10):
        while True:
            suggested = await client.ask("GET", "/v2/stream/visits/suggestion")
            kinds = suggested.data["identity"]["kinds"] if suggested.status == 200 else []
            for item in kinds:
                if item["kind"] == kind and "blocked_values" in item:
                    values: list[str] = item["blocked_values"]
                    return values
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("plane", "rules")
async def test_an_identity_that_links_many_others_is_a_finding(client: Client) -> None:
    async with asyncio.timeout(30):
        while (first := await client.ask("GET", "/v2/finding")).status == 503:  # until the partitions have owners
            await asyncio.sleep(0.02)
    assert first.data == []
    shared = "info@shop.example"
    await send(client, *({"email": f"p{number}@shop.example", "cookie": f"p{number}"} for number in range(30)))
    when = "2026-05-03T10:00:{:02}Z".format
    await send(client, *({"email": shared, "cookie": f"c{number}", "when": when(number)} for number in range(50)))
    await profile(client, "cookie:c49", lambda item: len(item["identities"]) == 51)
    await send(client, {"email": shared, "cookie": "c50", "when": "2026-05-02T00:00:00Z"}, {"cookie": "c51"})
    await profile(client, "cookie:c50", lambda item: len(item["identities"]) == 52)
    await profile(client, "cookie:c51", lambda item: True)
    async with asyncio.timeout(10):
        while not (findings := await client.get("/v2/finding")):
            await asyncio.sleep(0.01)
    assert findings == [
        {
            "type": "fan_in", "identity": f"email:{shared}", "profile": f"email:{shared}", "links": 51, "limit": 50,
            "since": "2026-05-03T10:00:49Z", "blocked": False,
        }
    ]  # fmt: skip
    assert await suggested_blocks(client, "email") == [shared]
    body = (await client.get("/v2/definition/identity"))["applied"]["body"]
    body["kinds"][0]["blocked_values"] = ["INFO@shop.example"]
    await client.ask("PUT", "/v2/definition/identity/draft", body, If_Match='"1"')
    await client.post("/v2/definition/identity/apply")
    (finding,) = await client.get("/v2/finding")
    assert (finding["blocked"], finding["links"]) == (True, 51), "a rebuild separates the profiles"
    await send(client, {"email": shared, "cookie": "c52"})
    shown = await profile(client, "cookie:c52", lambda item: True)
    assert shown["identities"] == ["cookie:c52"]


@pytest.mark.usefixtures("plane", "rules", "quick")
async def test_a_profile_is_found_by_every_spelling(client: Client) -> None:
    await send(client, {"email": "Zoe\u0308@Example.com\u200b", "cookie": "z1", "when": "2026-01-01T10:00:00Z"})
    spelled = "email: ZO\u00cb@EXAMPLE.com"
    shown = await profile(client, spelled, lambda item: len(item["identities"]) == 2)
    assert shown["identities"] == ["email:zo\u00eb@example.com", "cookie:z1"]
    refused = await client.ask("GET", path("email:zoe"))
    assert (refused.status, refused.body["code"]) == (404, "no_such_profile")
    assert "not a valid email" in refused.body["detail"]
    assert (await client.ask("DELETE", path(spelled))).data["identities"] == 2
    assert (await client.ask("GET", path("cookie:z1"))).status == 404


@pytest.mark.usefixtures("plane", "rules", "quick")
async def test_a_forgotten_person_returns_only_with_new_messages(client: Client) -> None:
    await send(client, {"email": "eve@example.com", "cookie": "e1", "city": "Linz", "when": "2026-01-01T10:00:00Z"})
    await profile(client, "cookie:e1", lambda item: item["id"] == "email:eve@example.com")
    forgotten = await client.ask("DELETE", path("cookie:e1"))
    assert (forgotten.status, forgotten.body["message"]) == (200, "forgotten"), forgotten.body
    assert (forgotten.data["identities"], forgotten.data["complete"]) == (2, True)
    assert len(set(forgotten.data["key_hashes"])) == 2
    for key in ("cookie:e1", "email:eve@example.com"):
        assert (await client.ask("GET", path(key))).status == 404
    await send(client, {"email": "eve@example.com", "city": "Wels", "when": "2026-02-01T10:00:00Z"})
    await send(client, {"email": "eve@example.com", "city": "Steyr", "when": "2026-05-04T13:00:00Z"})
    returned = await profile(client, "email:eve@example.com", lambda item: "city" in item["attributes"])
    assert (values(returned)["city"], values(returned)["visits"]) == ("Steyr", 1)
    assert returned["identities"] == ["email:eve@example.com"]
    explained = await client.get(path("email:eve@example.com", "/explain"))
    assert [message["message"]["city"] for message in explained["messages"]] == ["Steyr"]


@pytest.mark.usefixtures("plane", "rules", "quick")
async def test_a_person_without_a_profile_can_be_forgotten(client: Client) -> None:
    forgotten = await client.ask("DELETE", path("email:max@example.com"))
    assert forgotten.status == 200, forgotten.body
    assert (forgotten.data["identities"], forgotten.data["profiles"], forgotten.data["complete"]) == (1, 0, True)


@pytest.mark.usefixtures("plane", "rules", "quick")
async def test_the_state_of_a_forgetting_is_shown_without_identities(client: Client) -> None:
    await send(client, {"email": "eve@example.com", "cookie": "e1", "city": "Linz", "when": "2026-01-01T10:00:00Z"})
    await profile(client, "cookie:e1", lambda item: item["id"] == "email:eve@example.com")
    forgotten = await client.ask("DELETE", path("cookie:e1"))
    shown = await client.get(f"/v2/forgetting/{forgotten.data['id']}")
    assert shown == forgotten.data
    assert (shown["status"], shown["requested_by"], shown["profiles"], shown["waiting_for"]) == (
        "forgotten", "user:admin", 1, [],
    )  # fmt: skip
    (item,) = await client.get("/v2/forgetting")
    assert item.items() <= shown.items()
    assert "eve" not in str(shown)
    unknown = await client.ask("GET", "/v2/forgetting/none")
    assert (unknown.status, unknown.body["code"]) == (404, "no_such_forgetting")


@pytest.mark.usefixtures("rules")
async def test_forgetting_goes_on_after_the_response(client: Client, api: Api) -> None:
    await api.services.store.plane.confirm_rules(LANES["backfill"].name, [1], 0)
    accepted = await client.ask("DELETE", path("email:max@example.com"), Prefer="wait=0")
    assert (accepted.status, accepted.headers["Location"]) == (202, accepted.data["href"])
    async with asyncio.timeout(10):
        while (shown := await client.ask("GET", accepted.data["href"])).status != 200:
            await asyncio.sleep(0.001)
    assert (shown.data["status"], shown.data["forgotten_at"]) == ("under_way", None)
    assert shown.data["waiting_for"] == ["messages.backfill/1"]


@pytest.mark.usefixtures("plane", "rules", "quick")
async def test_a_request_with_an_idempotency_key_forgets_once(client: Client, cluster: MemoryCluster) -> None:
    first = await client.ask("DELETE", path("email:max@example.com"), Idempotency_Key="k")
    sent = len(commands(cluster))
    again = await client.ask("DELETE", path("email:max@example.com"), Idempotency_Key="k")
    assert (first.status, again.status, again.data) == (200, 200, first.data)
    other = await client.ask("DELETE", path("email:eve@example.com"), Idempotency_Key="k")
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    assert len(commands(cluster)) == sent


@pytest.mark.usefixtures("rules")
async def test_a_profile_of_no_owner_is_unreachable(client: Client) -> None:
    for rest in ("", "/explain"):
        refused = await client.ask("GET", path("email:ada@example.com", rest))
        assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (
            503, "profiles_unreachable", "1",
        )  # fmt: skip


@pytest.mark.usefixtures("rules")
async def test_an_identity_has_a_known_type_and_a_value(client: Client) -> None:
    for method, key in product(("GET", "DELETE"), ("email", "email:", "ada@example.com")):
        refused = await client.ask(method, path(key))
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/key"), key
    unknown = await client.ask("GET", path("phone:7"))
    assert (unknown.status, unknown.body["code"]) == (404, "no_such_profile")
    assert unknown.body["detail"].endswith("identity types: cookie, email")


# Previews of backfills


@pytest.mark.usefixtures("plane", "rules")
async def test_a_preview_estimates_the_impact_on_profiles(client: Client) -> None:
    await send(
        client,
        {"email": "ada@example.com", "cookie": "c1", "city": "Graz", "when": "2026-03-01T10:00:00Z"},
        {"email": "eve@example.com", "city": "Wien", "when": "2026-03-01T10:00:00Z"},
        {"cookie": "c9", "city": "Linz", "when": "2025-03-01T10:00:00Z"},
    )
    for key in ("cookie:c1", "email:eve@example.com", "cookie:c9"):
        await profile(client, key, lambda item: "city" in item["attributes"])
    await profile(client, "cookie:c1", lambda item: len(item["identities"]) == 2)
    history = (
        b"email,cookie,city,age,when\n"
        b"eve@example.com,c9,Rust,33,2021-01-01T10:00:00Z\n"
        b"max@example.com,,Wels,,2022-01-01T10:00:00Z\n"
    )
    preview = await previewed(client, "?stream=visits&messages=900000", history)
    impact = preview["profiles"]
    assert (preview["messages"], preview["needed"], preview["sample"]["applicable"]) == (900_000, True, 2)
    assert (impact["added"], impact["changed"], impact["merged"], impact["older_messages"]) == (1, 1, 1, 1)
    assert (impact["attributes"]["age"], impact["attributes"]["city"]) == (
        {"filled": 1, "replaced": 0},
        {"filled": 1, "replaced": 0},
    )
    assert (preview["oldest_at"], preview["newest_at"]) == ("2021-01-01T10:00:00Z", "2022-01-01T10:00:00Z")
    assert preview["oldest_age_seconds"] > preview["newest_age_seconds"] > 0
    assert preview["warnings"] == []
    assert (await client.ask("GET", path("email:max@example.com"))).status == 404, "nothing was stored"


async def previewed(client: Client, query: str, sample: bytes = b"") -> dict[str, Any]:
    answer = await client.ask("POST", f"/v2/backfill/preview{query}", raw=sample, Content_Type="text/csv")
    shown: dict[str, Any] = answer.data
    return shown


def codes(preview: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in preview["warnings"]}


@pytest.mark.usefixtures("rules")
async def test_a_preview_warns(client: Client) -> None:
    odd = (
        b"email,city,age,when\n"
        b"ada@example.com,Enns,many,2021-01-01T10:00:00Z\n"
        b",Rust,,2021-01-01T10:00:00Z\n"
        b"max@example.com,Wels,,2150-01-01T10:00:00Z\n"
    )
    preview = await previewed(client, "?stream=visits", odd)
    assert codes(preview) == {"without_identity", "future", "faults", "profiles_unreachable"}
    assert preview["messages"] == 3, "of the sample"
    unmapped = await previewed(client, "?stream=clicks", odd)
    assert ("no_mapping" in codes(unmapped), unmapped["needed"]) == (True, None)
    await client.post("/v2/lane/backfill/pause")
    assert "lane_paused" in codes(await previewed(client, "?stream=visits", odd))


@pytest.mark.usefixtures("rules", "quick")
async def test_a_preview_estimates_the_time_by_the_rate_of_the_lane(client: Client, api: Api) -> None:
    unknown = (await previewed(client, "?stream=visits&messages=5"))["lane"]
    assert (unknown["messages_per_second"], unknown["eta_seconds"]) == (None, None)
    topic = LANES["backfill"].name
    async with BatchProducer(api.cluster) as producer:
        await producer.write([ProducerRecord(topic, b"{}", partition=0)] * 3)
    await client.get("/v2/lane")
    delta = StreamDelta(
        stream="visits",
        lane="backfill",
        count=MIN_MEASURED_MESSAGES,
        bytes=1,
        last_message_at=EPOCH,
        last_arrival_at=EPOCH,
        fields=b"",
    )
    assert await api.services.store.streams.add(topic, 0, 0, 1, [delta])
    lane = (await previewed(client, "?stream=visits&messages=5"))["lane"]
    assert lane["lag"] == 2
    assert lane["messages_per_second"] > 0
    assert lane["eta_seconds"] > 5 / lane["messages_per_second"], "what waits already comes first"


@pytest.mark.usefixtures("rules")
async def test_a_preview_without_a_sample_needs_the_number_of_messages(client: Client) -> None:
    typed = await previewed(client, "?stream=visits&messages=5&since=2020-01-01T00:00:00Z")
    assert (typed["profiles"], typed["sample"], typed["oldest_at"]) == (None, None, "2020-01-01T00:00:00Z")
    assert codes(typed) == {"no_sample"}
    for query, sample, status, code in (
        ("?stream=visits", b"", 422, "invalid"),
        ("?stream=visits&messages=5&since=2020-01-02T00:00:00Z&until=2020-01-01T00:00:00Z", b"", 422, "invalid"),
        ("?stream=visits", b"email,city,when\n", 400, "no_messages"),
        ("?stream=visits", b"email\n" + b"ada@example.com\n" * 300_000, 413, "too_large"),
        ("?stream=visits", b"email,email\n", 400, "duplicate_header"),
    ):
        refused = await client.ask("POST", f"/v2/backfill/preview{query}", raw=sample, Content_Type="text/csv")
        assert (refused.status, refused.body["code"]) == (status, code), query


@pytest.mark.usefixtures("rules")
async def test_a_preview_warns_about_a_file_that_was_uploaded(client: Client) -> None:
    named = "filename=january.csv"
    sample = b"email,city,when\nada@example.com,Graz,2024-01-01T10:00:00Z\n"
    assert "duplicate_file" not in codes(await previewed(client, f"?stream=visits&{named}", sample))
    upload = await client.ask("POST", f"/collect/bulk/visits?{named}", raw=sample, Content_Type="text/csv")
    await until_status(client, upload.data["upload_id"], "Completed")
    warning, *_ = (await previewed(client, f"?stream=visits&{named}", sample))["warnings"]
    assert warning["code"] == "duplicate_file"
    assert f"january.csv was already uploaded to the stream: {upload.data['upload_id']}, 20" in warning["message"]
    for other in (f"?stream=clicks&{named}", "?stream=visits", "?stream=visits&filename=february.csv"):
        assert "duplicate_file" not in codes(await previewed(client, other, sample)), other
