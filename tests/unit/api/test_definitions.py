"""Definitions over HTTP: drafted, compared, previewed and applied, with read-your-writes."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiokafka import TopicPartition

from app.api.definitions.commands import definition_refusal_problem
from app.api.services.access import LOAD_SECONDS
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from schemas.definitions import PARTITION, DefinitionRefused, FieldRefused
from schemas.topics import DEFINITIONS_EVENTS, LANES
from tests.clock import ManualMonotonic
from tests.integration.api.rig import Answer, Client
from tests.unit.api.conftest import Control, WallClock, serving, until_sent

IDENTITY = "/v2/definition/identity"
TAIL = {"kind": "tail", "rank": 0, "title": "Tail number"}


def mapping(**merges: str) -> dict[str, Any]:
    attributes = [{"name": name, "field": name, "type": "string", "merge": merge} for name, merge in merges.items()]
    return {"identities": [{"field": "tailnum", "kind": "tail"}], "attributes": attributes, "timestamp": None}


def path(rest: str = "", stream: str = "flights") -> str:
    return f"/v2/definition/{quote(f'mapping:{stream}', safe='')}{rest}"


async def draft(client: Client, body: Any, version: int = 0, stream: str = "flights") -> Answer:
    return await client.ask("PUT", path("/draft", stream), body, If_Match=f'"{version}"')


@pytest.mark.usefixtures("identity")
async def test_an_applied_draft_is_active_at_once(client: Client, clock: WallClock) -> None:
    drafted = await draft(client, mapping())
    assert (drafted.status, drafted.headers["ETag"], drafted.body["message"]) == (200, '"1"', "drafted")
    assert (drafted.data["applied"], drafted.data["draft"]["body"]) == (None, mapping())
    clock.advance(hours=1)
    applied = await client.ask("POST", path("/apply"))
    assert (applied.data["applied_version"], applied.data["draft"]) == (1, None)
    assert applied.data["applied"] == {
        "version": 1, "status": "applied", "body": mapping(),
        "drafted_at": "2026-05-04T12:00:00Z", "drafted_by": "user:admin",
        "applied_at": "2026-05-04T13:00:00Z", "applied_by": "user:admin",
    }  # fmt: skip
    assert applied.body["message"] == "version 1 is active"
    shown = await client.ask("GET", path())
    assert (shown.data, shown.headers["ETag"]) == (applied.data, '"1"')
    listed = {item["id"]: item for item in await client.get("/v2/definition")}
    assert {name: item["kind"] for name, item in listed.items()} == {
        "identity": "identity",
        "mapping:flights": "mapping",
    }
    assert listed["mapping:flights"]["stream"] == "flights"


@pytest.mark.parametrize("kinds", [[{"kind": "tail", "rank": 5}], [{"kind": "email", "rank": 0}]])
@pytest.mark.usefixtures("identity")
async def test_identity_rules_that_change_ranks_are_refused(client: Client, kinds: Any) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", {"kinds": kinds}, If_Match="*")
    refused = await client.ask("POST", f"{IDENTITY}/apply")
    assert (refused.status, refused.body["code"], refused.body["allowed"]) == (409, "ranks_in_use", ["rebuild"])
    assert "the rank of tail would change" in refused.body["detail"]
    assert "entrepot rebuild start --identity 2" in refused.body["detail"]


@pytest.mark.usefixtures("identity")
async def test_identity_rules_that_change_formats_are_refused(client: Client) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", {"kinds": [TAIL | {"format": "exact"}]}, If_Match="*")
    refused = await client.ask("POST", f"{IDENTITY}/apply")
    assert (refused.status, refused.body["code"], refused.body["allowed"]) == (409, "formats_in_use", ["rebuild"])
    assert "the format of tail would change" in refused.body["detail"]


@pytest.mark.usefixtures("identity")
async def test_identity_rules_may_block_more_values(client: Client) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", {"kinds": [TAIL | {"blocked_values": ["N0"]}]}, If_Match="*")
    assert (await client.post(f"{IDENTITY}/apply"))["applied_version"] == 2


async def test_a_new_version_of_identity_rules_shows_its_defaults(client: Client) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", {"kinds": [TAIL, {"kind": "email", "rank": 1}]}, If_Match='"0"')
    body = (await client.get(IDENTITY))["draft"]["body"]
    assert [kind["format"] for kind in body["kinds"]] == ["text", "email"]
    assert {"null", "undefined", "none", "N/A", "NaN", "unknown", "0", "[object Object]"} <= set(body["blocked_values"])
    same = await client.ask("PUT", f"{IDENTITY}/draft", {"kinds": body["kinds"]}, If_Match="*")
    assert same.body["message"] == "nothing to change"


@pytest.mark.usefixtures("identity")
async def test_identity_rules_may_add_kinds(client: Client) -> None:
    more = {"kinds": [TAIL, {"kind": "email", "rank": 1, "title": "E-mail"}]}
    await client.ask("PUT", f"{IDENTITY}/draft", more, If_Match="*")
    assert (await client.post(f"{IDENTITY}/apply"))["applied_version"] == 2


async def test_a_stream_name_may_have_any_printable_character(client: Client) -> None:
    for name in ("a/b", "100%", "%2F", "a:b", "ü {x}", "?#&+", "..", "identity"):
        assert (await draft(client, mapping(), stream=name)).data["stream"] == name
        assert (await client.get(path(stream=name)))["id"] == f"mapping:{name}"
        assert (await client.ask("DELETE", path("/draft", name))).data["draft"] is None


@pytest.mark.usefixtures("identity")
async def test_versions_are_retained_and_compared(client: Client) -> None:
    await draft(client, mapping(a="latest"))
    first = await client.get(path("/diff"))
    assert (first["before"], first["after"], {change["kind"] for change in first["changes"]}) == (0, 1, {"added"})
    await client.post(path("/apply"))
    assert (await client.ask("GET", path("/diff"))).body["code"] == "no_such_draft"
    await draft(client, mapping(), 1)
    await draft(client, mapping(a="first", b="latest"), 2)
    shown = await client.get(path("?version=2"))
    assert [(version["version"], version["status"]) for version in shown["versions"]] == [
        (3, "draft"),
        (2, "discarded"),
        (1, "applied"),
    ]
    assert (shown["requested"]["version"], shown["requested"]["body"]) == (2, mapping())
    assert (await client.get(path()))["requested"] is None
    comparison = await client.get(path("/diff"))
    assert [(change["pointer"], change["kind"]) for change in comparison["changes"]] == [
        ("/attributes/0/merge", "changed"),
        ("/attributes/1", "added"),
    ]
    back = await client.get(path("/diff?from=3&to=2"))
    assert (back["before"], back["after"]) == (3, 2)
    assert [change["kind"] for change in back["changes"]] == ["removed", "removed"]
    assert (await client.get(path("/diff?from=0&to=applied")))["before"] == 0
    for unknown in ("?version=9", "/diff?to=9"):
        assert (await client.ask("GET", path(unknown))).body["code"] == "no_such_version"


async def test_the_body_of_an_old_version_can_be_lost_or_unreachable(client: Client, cluster: MemoryCluster) -> None:
    await draft(client, mapping(a="latest"))
    await draft(client, mapping(), 1)
    cluster.set_available(available=False)
    away = await client.ask("GET", path("?version=1"))
    assert (away.status, away.body["code"]) == (503, "kafka_unreachable")
    assert (await client.get(path("?version=2")))["requested"]["body"] == mapping(), "the draft is in memory"
    cluster.set_available(available=True)
    cluster.delete_records(TopicPartition(DEFINITIONS_EVENTS.name, PARTITION), 1)
    lost = await client.ask("GET", path("?version=1"))
    assert (lost.status, lost.body["code"]) == (404, "no_such_version")


def refusal(code: str, *errors: FieldRefused, definition_id: str = "mapping:a") -> DefinitionRefused:
    return DefinitionRefused(
        event_id="e", definition_id=definition_id, seq=1, occurred_at=WallClock().now, command_id="c",
        command_offset=0, actor="user:ada", rules=1, command="", code=code, params={}, errors=errors, version=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (refusal("no_such_definition"), 404, "no_such_definition"),
        (refusal("no_such_rebuild", definition_id="rebuild:a"), 404, "no_such_rebuild"),
        (refusal("version_mismatch"), 412, "version_mismatch"),
        (refusal("invalid_body", FieldRefused(pointer="/kinds", code="not_a_list", params={})), 422, "invalid"),
        (refusal("conflict", FieldRefused(pointer="/kinds", code="not_a_list", params={})), 409, "conflict"),
    ],
)
def test_a_refusal_has_the_status_of_its_code(event: DefinitionRefused, status: int, code: str) -> None:
    problem = definition_refusal_problem(event)
    assert (problem.status, problem.code) == (status, code)
    assert [error.pointer for error in problem.errors] == ["/kinds"] * len(event.errors)


async def test_a_draft_needs_the_version_that_was_read(client: Client) -> None:
    assert (await client.ask("PUT", path("/draft"), mapping())).body["code"] == "if_match_required"
    stale = await draft(client, mapping(), 3)
    assert (stale.status, stale.body["code"], stale.body["version"], stale.headers["ETag"]) == (
        412, "version_mismatch", 0, '"0"',
    )  # fmt: skip
    await draft(client, mapping())
    again = await draft(client, mapping(), 1)
    assert (again.data["version"], again.body["message"]) == (1, "nothing to change")
    assert (await client.ask("POST", path("/apply"), If_Match='"7"')).status == 412
    assert (await client.ask("DELETE", path("/draft"), If_Match='"7"')).status == 412


async def test_a_refused_change_has_a_reason(client: Client) -> None:
    for unknown in (path(), "/v2/definition/forgotten", "/v2/definition/nonsense"):
        assert (await client.ask("GET", unknown)).body["code"] == "no_such_definition"
    assert (await client.ask("PUT", "/v2/definition/nonsense/draft", {}, If_Match="*")).status == 404
    too_large = await draft(client, mapping() | {"more": "x" * 300_000})
    assert [error["pointer"] for error in too_large.body["errors"]] == [""]
    invalid = await draft(client, mapping() | {"identities": "all"})
    assert [(error["pointer"], error["code"]) for error in invalid.body["errors"]] == [("/identities", "not_a_list")]
    assert (await client.ask("GET", path())).status == 404, "nothing was drafted"
    await draft(client, mapping())
    assert (await client.ask("POST", path("/apply?version=7"))).status == 412
    await client.ask("DELETE", path("/draft"))
    for method, rest in (("DELETE", "/draft"), ("POST", "/apply")):
        refused = await client.ask(method, path(rest))
        assert (refused.status, refused.body["code"], refused.body["allowed"]) == (409, "no_draft", ["draft"])


@pytest.mark.usefixtures("identity")
async def test_conflicting_attribute_types_are_refused_by_the_decider(client: Client) -> None:
    await draft(client, mapping(name="latest"))
    await client.post(path("/apply"))
    await draft(client, mapping(name="union"), stream="other")
    refused = await client.ask("POST", path("/apply", "other"))
    assert (refused.status, refused.body["code"]) == (409, "conflict")
    assert "stream 'flights'" in refused.body["errors"][0]["message"]


async def test_a_mapping_needs_its_identity_types(client: Client) -> None:
    await draft(client, mapping())
    refused = await client.ask("POST", path("/apply"))
    assert refused.status in {409, 422}, refused.body
    assert (await client.get(path()))["applied"] is None


async def test_of_two_concurrent_drafts_one_wins(client: Client, control: Control, cluster: MemoryCluster) -> None:
    control.deciding.clear()
    requests = [asyncio.create_task(draft(client, mapping(**{name: "latest"}))) for name in ("one", "two")]
    await until_sent(cluster, 2)
    control.deciding.set()
    winner, loser = sorted(await asyncio.gather(*requests), key=lambda answer: answer.status)
    assert (winner.status, loser.status) == (200, 412)
    assert (loser.body["code"], loser.body["version"]) == ("version_mismatch", 1)
    assert loser.headers["ETag"] == winner.headers["ETag"] == '"1"'


async def test_an_async_write_returns_its_url(client: Client, control: Control) -> None:
    control.deciding.clear()
    accepted = await client.ask("PUT", path("/draft"), mapping(), If_Match='"0"', Prefer="respond-async")
    assert (accepted.status, accepted.headers["Location"]) == (202, path())
    assert accepted.data == {"id": "mapping:flights", "href": path()}


async def test_before_the_definitions_are_loaded_no_response_is_based_on_a_part_of_them(
    cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    cluster.set_available(available=False)
    monotonic = ManualMonotonic()
    async with serving(cluster, data_dir, clock, monotonic) as api:
        monotonic.now += LOAD_SECONDS
        for method, where in (
            ("GET", "/v2/definition"),
            ("GET", path()),
            ("GET", "/v2/rebuild"),
            ("POST", "/v2/rebuild"),
        ):
            refused = await api.client.ask(method, where, {} if method == "POST" else None)
            assert (refused.status, refused.body["code"]) == (503, "definitions_unknown")
            assert refused.headers["Retry-After"] == "1"


async def test_a_request_right_after_the_start_waits_until_the_definitions_are_loaded(
    cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    cluster.set_available(available=False)
    async with serving(cluster, data_dir, clock, ManualMonotonic()) as api:
        asked = asyncio.create_task(api.client.ask("GET", "/v2/definition"))
        assert (await api.client.ask("GET", "/livez")).status == 200, "only what needs Kafka waits for it"
        assert not asked.done()
        cluster.set_available(available=True)
        assert (await asked).status == 200


# Previews of mappings

VISITS: dict[str, Any] = {
    "identities": [{"field": "email", "kind": "email"}, {"field": "cookie", "kind": "visitor"}],
    "attributes": [
        {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
        {"name": "born", "field": "born", "type": "timestamp", "merge": "latest"},
        {"name": "spent", "field": "spent", "type": "number", "merge": "sum"},
    ],
    "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
}
VISITORS = {"kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}, {"kind": "visitor", "rank": 9, "title": "V"}]}
PREVIEW = "/v2/definition/mapping%3Avisits/preview"


async def test_a_mapping_is_previewed_on_recent_messages(client: Client, clock: WallClock) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", VISITORS, If_Match='"0"')
    assert (await client.ask("POST", PREVIEW)).body["code"] == "no_such_definition"
    assert (await client.post(PREVIEW, VISITS))["messages"] == [], "no message yet"
    for messages in (
        [{"email": f"h{number}@x.example", "age": number} for number in range(30)],
        [{"email": "a@x.example", "cookie": "c1", "age": "old", "spent": 1.5, "born": "1815-12-10"}],
        [{"age": 7}, {"cookie": "c2", "when": "2999-01-01T00:00:00Z"}],
    ):
        await client.post("/collect/json/visits", messages)
        clock.advance(seconds=1)
    await client.post("/collect/json/other", {"email": "b@x.example"})
    preview = await client.post(PREVIEW, VISITS)
    future, unidentified, ada, *older = preview["messages"]
    assert [fault["code"] for fault in future["faults"]] == ["future_timestamp"]
    assert (future["identities"], future["attributes"]) == ([], {})
    assert (unidentified["attributes"], unidentified["faults"]) == ({}, [])
    assert ada["identities"] == ["email:a@x.example", "visitor:c1"]
    assert ada["attributes"] == {"born": "1815-12-10T00:00:00Z", "spent": 1.5}
    assert ada["faults"] == [{"part": "attribute age", "code": "wrong_type", "example": "'old'"}]
    assert [message["attributes"]["age"] for message in older] == list(range(29, -1, -1)), "newest first"
    summary = preview["summary"]
    assert (summary["messages"], summary["mapped"], summary["records"]) == (33, 31, 4)
    assert summary["attributes"] == {"age": 30, "born": 1, "spent": 1}
    assert {"part": "attribute age", "code": "wrong_type", "example": "'old'", "messages": 1} in summary["faults"]


async def test_a_preview_without_a_body_uses_the_draft(client: Client) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", VISITORS, If_Match='"0"')
    await client.post("/collect/json/visits", {"email": "a@x.example", "age": 7})
    await draft(client, VISITS, stream="visits")
    assert await client.post(PREVIEW) == await client.post(PREVIEW, VISITS)
    await client.ask("DELETE", path("/draft", "visits"))
    nothing = await client.ask("POST", PREVIEW)
    assert (nothing.status, nothing.body["code"]) == (409, "no_draft")


async def test_an_unreadable_message_is_a_fault_of_the_message(client: Client, cluster: MemoryCluster) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", VISITORS, If_Match='"0"')
    async with BatchProducer(cluster) as producer:
        headers = (("stream", b"visits"),)
        await producer.write([ProducerRecord(LANES["realtime"].name, b"no JSON", partition=0, headers=headers)])
    (message,) = (await client.post(PREVIEW, VISITS))["messages"]
    assert (message["identities"], [fault["part"] for fault in message["faults"]]) == ([], ["message"])


async def test_while_kafka_is_away_there_is_no_preview(client: Client, cluster: MemoryCluster) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", VISITORS, If_Match='"0"')
    cluster.set_available(available=False)
    away = await client.ask("POST", PREVIEW, VISITS)
    assert (away.status, away.body["code"]) == (503, "kafka_unreachable")


async def test_an_invalid_mapping_is_not_previewed(client: Client) -> None:
    await client.ask("PUT", f"{IDENTITY}/draft", VISITORS, If_Match='"0"')
    wrong = await client.ask("POST", PREVIEW, VISITS | {"identities": [{"field": "x", "kind": "tail"}]})
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (422, "/identities/0/kind")
    assert (await client.ask("POST", f"{IDENTITY}/preview", VISITS)).body["code"] == "no_such_mapping"
