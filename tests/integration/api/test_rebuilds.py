"""Rebuilds: an undo, other rules, comparison, promotion, discard and rollback."""

import signal
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import pytest_asyncio

from app.supervisor.broker.server import Broker
from tests.integration.api.rig import service_with_client
from tests.integration.api.test_collect import CollectApi
from tests.integration.api.test_lanes import apply, entrepot, followed, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDENTITY = {"kinds": [{"kind": "id", "rank": 0, "title": "Id"}], "max_identities": 1000}
MAPPING: dict[str, Any] = {
    "identities": [{"field": "id", "kind": "id"}],
    "attributes": [
        {"name": "city", "field": "city", "type": "string", "merge": "latest"},
        {"name": "visits", "type": "integer", "merge": "count"},
    ],
    "timestamp": None,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def collect_api(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> AsyncIterator[CollectApi]:
    folder = tmp_path_factory.mktemp("rebuilds")
    roles = ("control", "api", "lane-realtime", "lane-backfill", "profiles", "rebuild")
    async with service_with_client(folder, broker, roles) as (running, client):
        running_api = CollectApi(running, client)
        await apply(running_api, "identity", IDENTITY)
        await apply(running_api, "mapping:people", MAPPING)
        await followed(running_api, "messages.backfill", rules_offset=4)
        await followed(running_api, "messages.realtime", rules_offset=4)
        yield running_api


async def sent(collect_api: CollectApi, city: str, *people: str) -> str:
    """Upload a file, wait until it is applied to profiles, and return the job id."""
    body = b"id,city\n" + b"".join(f"{person},{city}\n".encode() for person in people)
    upload: str = (await collect_api.bulk("people", body)).data["upload_id"]
    await until(
        collect_api.client,
        f"/v2/job/{upload}",
        lambda job: job["status"] == "Completed" and job["profiles"]["complete"],
    )
    return upload


async def known(collect_api: CollectApi, person: str) -> dict[str, Any]:
    """The attributes of a profile; none when there is no profile."""
    found = await collect_api.client.ask("GET", f"/v2/profile/id:{person}")
    return (
        {name: attribute["value"] for name, attribute in found.data["attributes"].items()}
        if found.status == 200
        else {}
    )


async def became(collect_api: CollectApi, rebuild: dict[str, Any], status: str) -> dict[str, Any]:
    found: dict[str, Any] = await until(
        collect_api.client, f"/v2/rebuild/{rebuild['id']}", lambda item: item["status"] == status
    )
    return found


async def promoted(collect_api: CollectApi, rebuild: dict[str, Any]) -> None:
    await collect_api.client.post(f"/v2/rebuild/{rebuild['id']}/promote")
    await until(collect_api.client, f"/v2/rebuild/{rebuild['id']}", lambda item: item["live"])


async def test_undoing_an_upload_keeps_earlier_undos(collect_api: CollectApi) -> None:
    client = collect_api.client
    await sent(collect_api, "Graz", "ada", "eve")
    bad = await sent(collect_api, "Atlantis", "ada", "zoe")
    assert await known(collect_api, "ada") == {"city": "Atlantis", "visits": 2}
    profile = await client.get("/v2/profile/id:ada")
    assert profile["attributes"]["city"]["job_id"] == bad, "the id of the job"

    started = await client.ask("POST", f"/v2/job/{bad}/undo")
    rebuild = started.data
    assert (started.status, started.headers["Location"]) == (202, f"/v2/rebuild/{rebuild['id']}")
    assert (rebuild["status"], rebuild["started_by"], rebuild["generation"]) == ("under_way", "user:admin", None)
    assert [item["job_id"] for item in rebuild["spec"]["excluded"]] == [bad]
    assert any(
        sentence.startswith(f"without messages of job {bad} that arrived before ")
        for sentence in rebuild["spec"]["in_words"]
    )
    again = await client.ask("POST", "/v2/rebuild", {})
    assert (again.status, again.body["code"], again.body["rebuild"]) == (409, "busy", rebuild["id"])

    ready = await became(collect_api, rebuild, "ready")
    counts = {name: count for name, count in ready["report"]["counts"].items() if count}
    assert counts == {"changed": 1, "removed": 1, "unchanged": 1}
    assert ready["report"]["samples"]["changed"] == [
        {
            "profile": "id:ada",
            "before": {"attributes": {"city": "Atlantis", "visits": 2}},
            "after": {"attributes": {"city": "Graz", "visits": 1}},
        }
    ]
    assert ready["progress"]["phase"] in {"comparing", "caught_up"}
    assert ready["progress"]["messages"] == 4
    assert await known(collect_api, "ada") == {"city": "Atlantis", "visits": 2}, "unchanged before the promotion"
    assert (await client.get(f"/v2/job/{bad}"))["profiles"]["excluded_before"] is None
    await promoted(collect_api, rebuild)
    assert await known(collect_api, "ada") == {"city": "Graz", "visits": 1}
    assert await known(collect_api, "zoe") == {}
    (undone,) = rebuild["spec"]["excluded"]
    assert (await client.get(f"/v2/job/{bad}"))["profiles"]["excluded_before"] == undone["before"]

    corrected = b"id,city\nada,Linz\n"
    await client.ask("POST", "/collect/json/people", {"id": "eve", "city": "Wels"})
    await until(client, "/v2/profile/id:eve", lambda item: item["attributes"]["city"]["value"] == "Wels")
    upload = (await collect_api.bulk("people", corrected)).data["upload_id"]
    await until(client, f"/v2/job/{upload}", lambda job: job["status"] == "Completed" and job["profiles"]["complete"])
    wels = (await client.get("/v2/profile/id:eve"))["attributes"]["city"]["job_id"]
    assert (await client.ask("GET", f"/v2/job/{wels}")).status == 404, "an upload without a job"
    code, output = await entrepot(collect_api, "job", "undo", wels, "--wait")
    assert code == 0, output
    assert f"without messages of job {bad} that arrived before" in output
    assert f"without messages of job {wels} that arrived before" in output
    code, output = await entrepot(collect_api, "rebuild", "promote", "--wait")
    assert (code, "promoted, live" in output) == (0, True), output
    assert await known(collect_api, "eve") == {"city": "Graz", "visits": 1}
    assert await known(collect_api, "ada") == {"city": "Linz", "visits": 2}

    code, output = await entrepot(
        collect_api, "rebuild", "start", "--previous", "--note", "it was right", "--wait", "-o", "json"
    )
    assert code == 0, output
    assert [item["job_id"] for item in orjson.loads(output)["spec"]["excluded"]] == [bad]
    await promoted(collect_api, orjson.loads(output))
    assert await known(collect_api, "eve") == {"city": "Wels", "visits": 2}
    code, output = await entrepot(collect_api, "rebuild", "list")
    assert (code, "it was right" in output, output.count("promoted")) == (0, True, 3), output


async def test_a_rebuild_with_other_rules_is_discarded_or_promoted(collect_api: CollectApi) -> None:
    client, town = collect_api.client, "/v2/definition/" + quote("mapping:people", safe="")
    await sent(collect_api, "Wien", "max")
    body = MAPPING | {"attributes": [MAPPING["attributes"][0] | {"name": "town"}]}
    draft = (await client.ask("PUT", f"{town}/draft", body, If_Match="*")).data["draft_version"]
    body = {"mappings": {"people": draft}, "note": "towns"}
    collect_api.running.signal("rebuild", signal.SIGSTOP)
    rebuild = await client.post("/v2/rebuild", body)
    assert f"mapping of people: version {draft}; active: version 1" in rebuild["spec"]["in_words"]
    early = await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/promote")
    assert (early.status, early.body["code"]) == (409, "not_ready")
    collect_api.running.signal("rebuild", signal.SIGCONT)
    await became(collect_api, rebuild, "ready")
    code, output = await entrepot(collect_api, "rebuild", "show")
    assert (code, "towns" in output, "ready" in output) == (0, True, True), output
    code, output = await entrepot(collect_api, "rebuild", "discard")
    assert (code, "discarded" in output) == (0, True), output
    assert (await known(collect_api, "max"))["city"] == "Wien"
    late = await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/promote")
    assert (late.status, late.body["code"]) == (409, "not_under_way")
    assert (await entrepot(collect_api, "rebuild", "promote"))[0] == 4

    code, output = await entrepot(collect_api, "rebuild", "start", "--mapping", f"people={draft}", "--wait")
    assert code == 0, output
    stale = await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/promote", If_Match='"7"')
    assert stale.status == 412
    assert (await entrepot(collect_api, "rebuild", "promote", "--wait"))[0] == 0
    assert await known(collect_api, "max") == {"town": "Wien"}
    definition = await client.get(town)
    assert (definition["applied_version"], definition["draft_version"]) == (draft, None)
    newest, *_ = await client.get("/v2/rebuild")
    assert (newest["live"], newest["spec"]["mappings"]) == (True, {"people": draft})


async def test_forgetting_during_a_promotion_ends_in_the_next_generation(collect_api: CollectApi) -> None:
    client = collect_api.client
    await sent(collect_api, "Wien", "sue")
    rebuild = (await client.ask("POST", "/v2/rebuild", {})).data
    await became(collect_api, rebuild, "ready")
    collect_api.running.signal("rebuild", signal.SIGSTOP)
    try:
        await client.post(f"/v2/rebuild/{rebuild['id']}/promote")
        accepted = await client.ask("DELETE", "/v2/profile/id:sue")
        assert accepted.status == 202, accepted.body
        assert await known(collect_api, "sue") == {}
        assert (await client.get(accepted.data["href"]))["status"] == "under_way"
    finally:
        collect_api.running.signal("rebuild", signal.SIGCONT)
    await until(client, f"/v2/rebuild/{rebuild['id']}", lambda item: item["live"])
    forgotten = await until(client, accepted.data["href"], lambda item: item["status"] == "forgotten")
    assert (forgotten["profiles"], forgotten["complete"]) == (1, True)
    assert await known(collect_api, "sue") == {}


async def test_the_command_line_reports_an_impossible_undo(collect_api: CollectApi) -> None:
    assert (await entrepot(collect_api, "job", "undo", "no/ne"))[0] == 3
    assert (await entrepot(collect_api, "rebuild", "show", "none"))[0] == 3
    assert (await entrepot(collect_api, "rebuild", "start", "--mapping", "people"))[0] == 2
    draft = await collect_api.client.draft("without messages")
    code, output = await entrepot(collect_api, "job", "undo", draft["id"])
    assert (code, "nothing to undo" in output) == (4, True), output
