"""Rebuilds over HTTP: started, shown, promoted and discarded; and requests that name unknown rules."""

from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from app.api.definitions import rebuild_requests
from app.api.definitions.upload_search import unknown_uploads
from app.kafka.clients import Cluster
from app.rebuild.progress import RebuildProgress
from schemas.definitions import REBUILD, ReportRebuilt
from tests.integration.api.rig import UNCHECKED, Client, new_job
from tests.unit.api.conftest import PARTITIONS, Api, Control, WallClock, until_status
from tests.unit.api.test_definitions import draft, mapping, path

pytestmark = pytest.mark.usefixtures("flights")
NO_COUNTS = dict.fromkeys(
    ("unchanged", "changed", "added", "removed", "split", "merged", "changing", "evidence_changed"), 0
)


@pytest.fixture
async def flights(client: Client, identity: None) -> None:
    """Activate a mapping, with a newer draft."""
    del identity
    await draft(client, mapping())
    await client.post(path("/apply"))
    await draft(client, mapping(a="latest"), 1)


async def report(api: Api, rebuild: dict[str, Any], **fields: Any) -> None:
    """Report a comparison, as the builder does."""
    now = api.services.clock()
    command = ReportRebuilt(
        command_id=str(uuid4()), definition_id=f"{REBUILD}{rebuild['id']}", issued_at=now, issued_by="rebuild",
        report=orjson.dumps({"compared_at": now} | fields).decode(),
    )  # fmt: skip
    assert await api.services.gateway.submit(command, wait_seconds=10)


async def test_a_rebuild_with_other_rules_is_started_and_promoted(api: Api, client: Client, clock: WallClock) -> None:
    started = await client.ask("POST", "/v2/rebuild", {"mappings": {"flights": 2}, "note": "with a"})
    rebuild = started.data
    assert (started.status, started.headers["Location"]) == (202, f"/v2/rebuild/{rebuild['id']}")
    assert (rebuild["status"], rebuild["note"], rebuild["started_by"]) == ("under_way", "with a", "user:admin")
    assert (rebuild["spec"]["identity"], rebuild["spec"]["mappings"]) == (1, {"flights": 2})
    assert "mapping of flights: version 2; active: version 1" in rebuild["spec"]["in_words"]
    assert (rebuild["progress"], rebuild["report"], rebuild["generation"], rebuild["live"]) == (None, None, None, False)
    early = await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/promote")
    assert (early.status, early.body["code"]) == (409, "not_ready")

    clock.advance(hours=1)
    samples = {"changed": [{"profile": "tail:N1", "before": {}, "after": {}}]}
    await report(api, rebuild, equal=False, counts=NO_COUNTS | {"changed": 1}, samples=samples)
    ready = await client.ask("GET", f"/v2/rebuild/{rebuild['id']}")
    assert (ready.data["status"], ready.data["ready_at"]) == ("ready", "2026-05-04T13:00:00Z")
    assert (ready.data["report"]["counts"]["changed"], ready.data["report"]["samples"]) == (1, samples)
    await report(api, rebuild, skipped_reason="too large")
    stale = await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/promote", If_Match=ready.headers["ETag"])
    assert (stale.status, stale.body["code"]) == (412, "version_mismatch")

    newest = (await client.ask("GET", f"/v2/rebuild/{rebuild['id']}")).headers["ETag"]
    promoted = (await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/promote", If_Match=newest)).data
    assert (promoted["status"], promoted["generation"], promoted["ended_by"]) == ("promoted", 1, "user:admin")
    assert promoted["live"] is False, "the lanes do not use its rules yet"
    definition = await client.get(path())
    assert (definition["applied_version"], definition["draft_version"]) == (2, None)
    late = await client.ask("POST", f"/v2/rebuild/{rebuild['id']}/discard")
    assert (late.status, late.body["code"]) == (409, "not_under_way")


async def test_one_rebuild_runs_at_a_time(api: Api, client: Client) -> None:
    first = await client.post("/v2/rebuild", {})
    busy = await client.ask("POST", "/v2/rebuild", {})
    assert (busy.status, busy.body["code"], busy.body["rebuild"]) == (409, "busy", first["id"])
    assert busy.body["allowed"] == ["promote", "discard"]
    await api.services.store.plane.save_progress(f"{REBUILD}{first['id']}", RebuildProgress(read=1, total=4).encode())
    shown = await client.get(f"/v2/rebuild/{first['id']}")
    assert (shown["progress"]["phase"], shown["progress"]["ratio"]) == ("building", 0.25)
    discarded = await client.ask("POST", f"/v2/rebuild/{first['id']}/discard")
    assert (discarded.data["status"], discarded.data["progress"]) == ("discarded", None)
    second = await client.post("/v2/rebuild", {})
    assert [rebuild["id"] for rebuild in await client.get("/v2/rebuild")] == [second["id"], first["id"]], "newest first"


async def test_a_rollback_restores_the_rules_before_the_promotion(api: Api, client: Client) -> None:
    refused = await client.ask("POST", "/v2/rebuild", {"previous": True})
    assert (refused.status, refused.body["code"]) == (409, "no_previous")
    rebuild = await client.post("/v2/rebuild", {"mappings": {"flights": 2}})
    await report(api, rebuild)
    await client.post(f"/v2/rebuild/{rebuild['id']}/promote")
    back = await client.post("/v2/rebuild", {"previous": True, "note": "it was right"})
    assert back["spec"]["mappings"] == {"flights": 1}


async def test_messages_of_an_interval_are_selected(client: Client, clock: WallClock) -> None:
    times = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    spec = (await client.post("/v2/rebuild", times | {"streams": []}))["spec"]
    assert {name: spec[name] for name in ("since", "until", "until_set_at", "mappings")} == times | {
        "until_set_at": "2026-05-04T12:00:00Z",
        "mappings": {},
    }


async def test_the_messages_of_an_upload_are_excluded(client: Client) -> None:
    upload = await client.ask("POST", "/collect/bulk/flights", raw=b"id\n1\n", Content_Type="text/csv")
    job_id = upload.data["upload_id"]
    await until_status(client, job_id, "Completed")
    started = await client.ask("POST", f"/v2/job/{job_id}/undo")
    assert started.data["spec"]["excluded"] == [{"job_id": job_id, "before": "2026-05-04T12:00:00Z"}]
    assert started.data["note"] == "without the messages of Upload into flights"
    await client.post(f"/v2/rebuild/{started.data['id']}/discard")
    request = await client.post("/collect/json/flights", {"id": 1})
    by_request = await client.ask("POST", f"/v2/job/{request['upload_id']}/undo")
    assert by_request.data["spec"]["excluded"] == [{"job_id": request["upload_id"], "before": "2026-05-04T12:00:00Z"}]


async def test_exclusions_last_until_they_are_included_again(api: Api, client: Client) -> None:
    job_id = (await client.post("/collect/json/flights", {"id": 1}))["upload_id"]
    rebuild = await client.post("/v2/rebuild", {"exclude_jobs": [job_id]})
    await report(api, rebuild)
    await client.post(f"/v2/rebuild/{rebuild['id']}/promote")
    kept = await client.post("/v2/rebuild", {})
    assert [item["job_id"] for item in kept["spec"]["excluded"]] == [job_id]
    await client.post(f"/v2/rebuild/{kept['id']}/discard")
    again = await client.post("/v2/rebuild", {"include_jobs": [job_id]})
    assert again["spec"]["excluded"] == []


async def test_an_impossible_undo_has_a_reason(client: Client) -> None:
    for unknown in ("none", str(uuid4())):
        refused = await client.ask("POST", f"/v2/job/{unknown}/undo")
        assert (refused.status, refused.body["code"]) == (404, "no_such_job")
        errors = (await client.ask("POST", "/v2/rebuild", {"exclude_jobs": [unknown]})).body["errors"]
        assert [(error["pointer"], error["code"]) for error in errors] == [("/exclude_jobs/0", "no_such_job")]
    assert await client.get("/v2/rebuild") == []
    job = await client.draft()
    refused = await client.ask("POST", f"/v2/job/{job['id']}/undo")
    assert (refused.status, refused.body["code"], refused.body["allowed"]) == (409, "no_messages", [])
    for method, rest in (("GET", ""), ("POST", "/promote"), ("POST", "/discard")):
        assert (await client.ask(method, f"/v2/rebuild/none{rest}")).body["code"] == "no_such_rebuild"


async def test_an_undo_of_an_unknown_id_searches_the_messages_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await client.post("/collect/json/flights", {"id": 1})
    searched: list[list[str]] = []

    async def search(cluster: Cluster, upload_ids: list[str], partitions: int) -> frozenset[str]:
        searched.append(list(upload_ids))
        return await unknown_uploads(cluster, upload_ids, partitions)

    monkeypatch.setattr(rebuild_requests, "unknown_uploads", search)
    unknown = str(uuid4())
    for job_id, status in ((unknown, 404), (upload["upload_id"], 202)):
        assert (await client.ask("POST", f"/v2/job/{job_id}/undo")).status == status
    assert searched == [[unknown], [upload["upload_id"]]]


async def test_a_search_for_an_upload_that_takes_too_long_refuses_nothing(api: Api, client: Client) -> None:
    await client.post("/collect/json/flights", {"id": 1})
    upload_ids = [str(UUID(int=number)) for number in range(PARTITIONS)]
    assert await unknown_uploads(api.cluster, upload_ids, PARTITIONS) == set(upload_ids)
    assert await unknown_uploads(api.cluster, upload_ids, PARTITIONS, seconds=-1) == frozenset()


async def test_a_rebuild_is_accepted_while_control_is_away(client: Client, control: Control) -> None:
    control.deciding.clear()
    accepted = await client.ask("POST", "/v2/rebuild", {}, Prefer="respond-async")
    assert (accepted.status, accepted.headers["Location"]) == (202, accepted.data["href"])


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({"identity": 9}, "/identity", "no_such_version"),
    ({"mappings": {"flights": 900}}, "/mappings/flights", "no_such_version"),
    ({"mappings": {"nothing/here": 1}}, "/mappings/nothing~1here", "no_such_version"),
    ({"streams": ["flights", "clicks"]}, "/streams/1", "no_mapping"),
    ({"streams": [], "mappings": {"flights": 1}}, "/mappings/flights", "other_stream"),
    ({"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "/since", "bad_range"),
    ({"since": "2026-02-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}, "/since", "bad_range"),
    ({"exclude_jobs": ["no-such-job"]}, "/exclude_jobs/0", "no_such_job"),
    ({"exclude_jobs": ["no such job"]}, "/exclude_jobs/0", "no_such_job"),
    ({"include_jobs": ["no-such-job"]}, "/include_jobs/0", "not_excluded"),
    ({"previous": True, "since": None}, "", "value_error"),
    ({"until": "tomorrow"}, "/until", "value_error"),
    ({"note": "a\0b"}, "/note", "value_error"),
]


async def test_invalid_rebuild_rules_are_reported_by_field(client: Client) -> None:
    for body, pointer, code in INVALID:
        refused = await client.ask("POST", "/v2/rebuild", body)
        assert (refused.status, refused.body["code"]) == (422, "invalid"), body
        assert [(error["pointer"], error["code"]) for error in refused.body["errors"]] == [(pointer, code)], body
    assert await client.get("/v2/rebuild") == []


async def test_every_job_without_messages_is_reported(client: Client) -> None:
    job = await client.post(f"{UNCHECKED}&run_job=false", new_job())
    refused = await client.ask("POST", "/v2/rebuild", {"exclude_jobs": [job["id"], "none"]})
    assert [error["code"] for error in refused.body["errors"]] == ["no_messages", "no_such_job"]
