"""Jobs: created, read and changed, with read-your-writes."""

from typing import Any

import orjson
import pytest

from app.store.read_store import ReadStore
from tests.integration.api.rig import Answer, Client, House, new_job, until_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_created_job_is_visible_at_once(client: Client) -> None:
    created = await client.ask("POST", "/v2/job", new_job("made"))
    assert created.status == 201
    assert created.headers["ETag"] == '"1"'
    job = created.data
    assert (job["status"], job["name"], job["run"]) == ("Running", "made", 1)
    shown = await client.get(created.headers["Location"])
    assert shown == job | {
        "profiles": {"written": 0, "mapped": 0, "complete": True, "unmapped_stream": "people", "excluded_before": None}
    }
    assert job["id"] in {item["id"] for item in await client.get("/v2/job?search=made")}
    assert [item["kind"] for item in await client.get(f"/v2/job/{job['id']}/logs")] == ["Started", "Created"]


async def test_a_draft_is_paused_until_resumed(client: Client) -> None:
    job = await client.draft()
    assert (job["status"], job["draft"], job["reason"]) == ("Paused", True, "draft")
    assert (await client.post(f"/v2/job/{job['id']}/resume"))["status"] == "Running"


async def test_a_pause_can_have_a_duration(client: Client) -> None:
    job = await client.post("/v2/job", new_job("paused"))
    paused = await client.post(f"/v2/job/{job['id']}/pause?for=1h30m")
    assert paused["status"] == "Paused"
    assert paused["sleep_until"] > paused["since"]
    assert paused["next_at"] == paused["sleep_until"]


async def test_a_conflict_lists_the_allowed_actions(client: Client) -> None:
    job = await client.draft()
    refused = await client.ask("POST", f"/v2/job/{job['id']}/run")
    assert (refused.status, refused.body["code"]) == (409, "not_allowed")
    assert refused.body["allowed"] == ["rename", "configure", "edit_cursor", "pause", "resume", "kill"]
    assert "RunJob" not in refused.body["detail"]


async def test_a_killed_job_leaves_the_list_and_can_be_restored(client: Client) -> None:
    job = await client.draft("killed")
    assert (await client.ask("DELETE", f"/v2/job/{job['id']}")).data["status"] == "Killed"
    assert await client.get("/v2/job?search=killed") == []
    assert [item["id"] for item in await client.get("/v2/job?search=killed&status=Killed")] == [job["id"]]
    assert (await client.post(f"/v2/job/{job['id']}/restore"))["status"] == "Paused"


async def test_a_patch_changes_only_named_fields(client: Client) -> None:
    job = await client.draft("old name", description="stays")
    patch = {
        "name": "new name",
        "configuration": {"stream": "crm"},
        "cadence": {"kind": "interval", "every_seconds": 60},
    }
    patched = await client.patch(job, patch | {"cursor": {}})
    assert patched.data["name"] == "new name"
    assert patched.data["description"] == "stays"
    assert patched.data["configuration"] == {"source": "/nowhere/people.csv", "stream": "crm"}
    assert patched.data["cadence"]["every_seconds"] == 60
    assert patched.headers["ETag"] == '"3"'
    assert [item["version"] for item in await client.get(f"/v2/job/{job['id']}/configurations")] == [2, 1]


async def test_masked_credentials_that_are_sent_back_are_kept(client: Client, house: House) -> None:
    secret = {"source": "https://me:s3cret@data.example.com/people.csv?key=k3y", "stream": "people"}
    job = await client.draft(configuration=secret)
    assert "s3cret" not in str(job)
    patched = await client.patch(job, {"configuration": job["configuration"] | {"stream": "crm"}})
    store = await ReadStore.open(house.service.settings.database())
    try:
        kept = await store.jobs.get(job["id"])
    finally:
        await store.close()
    assert kept
    assert orjson.loads(kept.configuration) == secret | {"stream": "crm"}
    half = patched.data["configuration"]["source"].replace("people", "others")
    refused = await client.patch(patched.data, {"configuration": {"source": half}})
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/configuration/source")
    bare = await client.patch(patched.data, {"configuration": {"source": "https://@data.example.com/people.csv"}})
    assert "s3cret" not in str(bare.data)


async def test_a_revert_is_a_new_version(client: Client) -> None:
    job = await client.draft()
    await client.patch(job, {"configuration": {"stream": "other"}})
    reverted = await client.post(f"/v2/job/{job['id']}/revert/1")
    assert (reverted["configuration"]["stream"], reverted["configuration_version"]) == ("people", 3)
    versions = await client.get(f"/v2/job/{job['id']}/configurations")
    assert versions[0]["reverted_from"] == 1
    assert (await client.ask("POST", f"/v2/job/{job['id']}/revert/9")).status == 404


async def test_an_edit_needs_the_revision_that_was_read(client: Client) -> None:
    job = await client.draft()
    bare = await client.ask("PATCH", f"/v2/job/{job['id']}", {"name": "x"}, Content_Type="application/merge-patch+json")
    assert (bare.status, bare.body["code"]) == (428, "if_match_required")


async def test_a_cursor_can_be_edited_only_while_paused(client: Client) -> None:
    job = await client.post("/v2/job", new_job("cursor"))
    refused = await client.patch(job, {"cursor": {}, "name": "both"})
    assert (refused.status, "pause it first" in refused.body["detail"]) == (409, True)
    assert (await client.get(f"/v2/job/{job['id']}"))["name"] == "cursor"


PLACE = {"byte": 40, "row": 3, "head": "a" * 24, "tail": "b" * 24, "source_bytes": 40, "plain": True}


async def test_a_cursor_is_replaced_as_a_whole(client: Client) -> None:
    job = await client.draft("replaced")
    moved = (await client.patch(job, {"cursor": PLACE})).data
    assert moved["cursor"] == PLACE
    half = await client.patch(moved, {"cursor": {"row": 7}})
    assert (half.status, half.body["errors"][0]["pointer"]) == (422, "/cursor/row")
    begin = await client.patch(moved, {"cursor": {}})
    assert (begin.data["cursor"], begin.body["message"]) == ({}, "changed")
    behind = await client.patch(moved, {"cursor": {"row": 7}}, revision=moved["revision"])
    assert behind.body["changed"]["cursor"] == {"current": {}, "yours": {"row": 7}}


async def test_a_schedule_that_takes_effect_later_has_a_hint(client: Client) -> None:
    hourly = {"cadence": {"kind": "interval", "every_seconds": 3600}}
    job = await client.draft("inert")
    paused = await client.patch(job, hourly)
    assert paused.body["message"].endswith("the job is Paused, so its schedule starts when it is resumed: use `resume`")
    again = await client.patch(paused.data, hourly)
    assert again.body["message"] == "nothing to change"
    once = await client.patch(paused.data, {"cadence": {"kind": "once"}})
    assert once.body["message"] == "changed", "it takes effect at once"


async def test_a_job_at_a_point_in_time(client: Client) -> None:
    job = await client.draft("before")
    later = (await client.patch(job, {"name": "after"})).data
    assert (await client.get(f"/v2/job/{job['id']}?as_of={job['updated_at']}"))["name"] == "before"
    assert (await client.get(f"/v2/job/{job['id']}?as_of={later['updated_at']}"))["name"] == "after"
    early = await client.ask("GET", f"/v2/job/{job['id']}?as_of=1999-01-01T00:00:00Z")
    assert (early.status, early.body["code"]) == (404, "no_such_job")
    assert early.body["detail"].startswith("after did not exist"), "its current name"


async def test_an_unknown_field_gets_the_existing_ones(client: Client) -> None:
    async def first_error(answer: Answer) -> str:
        (error,) = answer.body["errors"]
        return f"{error['pointer']}: {error['message']}"

    body = await first_error(await client.ask("POST", "/v2/job", new_job("unknown") | {"jobtype": "import"}))
    assert body.startswith("/jobtype: unknown field; expected one of: job_type, ")
    configuration = new_job()["configuration"] | {"delimeter": ";"}
    fields = await first_error(await client.ask("POST", "/v2/job", new_job(configuration=configuration)))
    assert fields.startswith("/configuration/delimeter: unknown field; expected one of: delimiter, ")
    query = await first_error(await client.ask("GET", "/v2/job?state=Failed"))
    assert query.startswith("?state: unknown field; expected one of: status, ")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"provider": "nobody"}, "/provider"),
        ({"job_type": "export"}, "/job_type"),
        ({"name": "  "}, "/name"),
        ({"name": "a\0b"}, "/name"),
        ({"configuration": {"stream": "people"}}, "/configuration/source"),
        ({"cadence": {"kind": "cron", "cron": "at noon"}}, "/cadence/cron"),
        ({"cadence": {"kind": "interval"}}, "/cadence/every_seconds"),
        ({"retry": {"base_seconds": 0}}, "/retry/base_seconds"),
        ({"surprise": 1}, "/surprise"),
    ],
)
async def test_validation_errors_are_reported_by_field(client: Client, change: dict[str, Any], pointer: str) -> None:
    refused = await client.ask("POST", "/v2/job", new_job("wrong") | change)
    assert refused.status == 422
    assert pointer in [error["pointer"] for error in refused.body["errors"]]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert await client.get("/v2/job?search=wrong") == []


async def test_a_configuration_is_validated_before_a_job_is_created(client: Client) -> None:
    path = "/v2/provider/file/import/validate"
    wrong = (await client.ask("PUT", path, {"configuration": {"stream": "people"}})).data
    assert (wrong["valid"], wrong["errors"][0]["pointer"]) == (False, "/configuration/source")
    missing = (await client.ask("PUT", path, {"configuration": new_job()["configuration"]})).data
    assert (missing["valid"], missing["errors"][0]["pointer"]) == (False, "/configuration/source")


async def test_the_list_is_paged_and_sorted(client: Client) -> None:
    names = [f"page {number}" for number in range(5)]
    for name in names:
        await client.draft(name)
    found, path = [], "/v2/job?search=page&limit=2&sort=-name"
    while path:
        answer = await client.ask("GET", path)
        found += [item["name"] for item in answer.data]
        path = answer.headers["Link"].split(">")[0].lstrip("<") if "Link" in answer.headers else ""
    assert found == names[::-1]
    stolen = (await client.ask("GET", "/v2/job?search=page&limit=2&sort=-name")).body["next_cursor"]
    assert (await client.ask("GET", f"/v2/job?limit=2&cursor={stolen}")).body["errors"][0]["pointer"] == "?cursor"


async def test_a_write_without_control_is_accepted(house: House, client: Client) -> None:
    job = await client.post("/v2/job", new_job("patient"))
    await house.service.stop_role("control")
    assert "control" in (await until_ready(client, status=503)).body["parts"]
    accepted = await client.ask("POST", f"/v2/job/{job['id']}/pause", Prefer="wait=0")
    assert (accepted.status, accepted.data["id"]) == (202, job["id"])
    assert accepted.headers["Location"] == f"/v2/job/{job['id']}"
    await house.service.start_role("control")
    await until_ready(client)
    # The answer to this one is behind the answer to the other in the same partition.
    assert (await client.post(f"/v2/job/{job['id']}/resume", Prefer="wait=30"))["status"] == "Running"
    kinds = [item["kind"] for item in await client.get(f"/v2/job/{job['id']}/logs?order=oldest_first")]
    assert kinds == ["Created", "Started", "Paused", "Resumed", "Started"]
