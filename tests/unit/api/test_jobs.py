"""Jobs over HTTP: created, listed, shown and acted on, with read-your-writes."""

import asyncio
from typing import Any

import pytest

from app.kafka.memory.cluster import MemoryCluster
from tests.integration.api.rig import UNCHECKED, Answer, Client, new_job
from tests.unit.api.conftest import Api, Control, WallClock, commands, until_sent

HOURLY = {"kind": "interval", "every_seconds": 3600}


async def test_a_created_job_is_visible_at_once(client: Client) -> None:
    created = await client.ask("POST", UNCHECKED, new_job("Orders"))
    assert (created.status, created.headers["ETag"]) == (201, '"1"')
    job = created.data
    assert (job["status"], job["name"], job["run"]) == ("Running", "Orders", 1)
    assert created.headers["Location"] == f"/v2/job/{job['id']}"
    progress = {"written": 0, "mapped": 0, "complete": False, "unmapped_stream": "people", "excluded_before": None}
    shown = await client.ask("GET", f"/v2/job/{job['id']}")
    assert (shown.data, shown.headers["ETag"]) == (job | {"profiles": progress}, '"1"')
    assert [item["id"] for item in await client.get("/v2/job")] == [job["id"]]


async def test_a_draft_is_paused_until_resumed(client: Client) -> None:
    job = await client.draft()
    assert (job["status"], job["draft"], job["reason"]) == ("Paused", True, "draft")
    resumed = await client.post(f"/v2/job/{job['id']}/resume")
    assert (resumed["status"], resumed["draft"], resumed["reason"]) == ("Running", False, "")


async def test_a_scheduled_job_answers_when_it_runs_next(client: Client, clock: WallClock) -> None:
    created = await client.ask("POST", UNCHECKED, new_job(cadence={"kind": "cron", "cron": "@daily"}))
    assert (created.data["status"], created.data["next_at"]) == ("Sleeping", "2026-05-05T00:00:00Z")
    assert created.body["message"] == "created; next run at 2026-05-05T00:00:00Z"
    job = created.data
    await client.post(f"/v2/job/{job['id']}/pause")
    clock.advance(days=2)
    resumed = await client.ask("POST", f"/v2/job/{job['id']}/resume")
    assert (resumed.data["status"], resumed.body["message"]) == (
        "Sleeping",
        "resumed; next run at 2026-05-07T00:00:00Z",
    )


async def test_a_slot_within_a_blackout_window_waits_for_its_end(client: Client) -> None:
    cadence = HOURLY | {"blackout_windows": [{"start": "12:30", "end": "15:00"}]}
    created = await client.ask("POST", UNCHECKED, new_job(cadence=cadence))
    assert (created.data["sleep_until"], created.data["next_at"]) == ("2026-05-04T13:00:00Z", "2026-05-04T15:00:00Z")
    assert created.body["message"] == "created; next run at 2026-05-04T15:00:00Z"


@pytest.mark.parametrize("cadence", [HOURLY, {"kind": "cron", "cron": "0 3 * * *"}])
async def test_a_scheduled_job_runs_now_on_request(client: Client, cadence: dict[str, Any]) -> None:
    job = await client.post(f"{UNCHECKED}&run_now=true", new_job(cadence=cadence))
    assert job["status"] == "Running"
    for action in ("resume", "bounce"):
        await client.post(f"/v2/job/{job['id']}/pause")
        assert (await client.post(f"/v2/job/{job['id']}/{action}?run_now=true"))["status"] == "Running"


async def test_a_pause_can_have_a_duration(client: Client) -> None:
    job = await client.post(UNCHECKED, new_job())
    paused = await client.post(f"/v2/job/{job['id']}/pause?for=1h30m")
    assert (paused["status"], paused["since"]) == ("Paused", "2026-05-04T12:00:00Z")
    assert paused["sleep_until"] == paused["next_at"] == "2026-05-04T13:30:00Z"
    assert (await client.post(f"/v2/job/{job['id']}/pause"))["sleep_until"] is None
    refused = await client.ask("POST", f"/v2/job/{job['id']}/pause?for=0s")
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "?for")


async def test_a_conflict_lists_the_allowed_actions(client: Client) -> None:
    job = await client.draft()
    refused = await client.ask("POST", f"/v2/job/{job['id']}/run")
    assert (refused.status, refused.body["code"]) == (409, "not_allowed")
    assert refused.body["allowed"] == ["rename", "configure", "edit_cursor", "pause", "resume", "kill"]
    assert "RunJob" not in refused.body["detail"]


@pytest.mark.parametrize(("method", "action"), [("DELETE", ""), ("POST", "/kill")])
async def test_a_killed_job_leaves_the_list_and_can_be_restored(client: Client, method: str, action: str) -> None:
    job = await client.draft()
    assert (await client.ask(method, f"/v2/job/{job['id']}{action}")).data["status"] == "Killed"
    assert await client.get("/v2/job") == []
    assert [item["id"] for item in await client.get("/v2/job?status=Killed&status=Failed")] == [job["id"]]
    assert (await client.post(f"/v2/job/{job['id']}/restore"))["status"] == "Paused"


@pytest.mark.parametrize(
    ("method", "action"),
    [("DELETE", ""), ("POST", "/kill"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/revert/1?validate=false")],
)
async def test_an_action_can_depend_on_the_revision_that_was_read(client: Client, method: str, action: str) -> None:
    job = await client.draft()
    await client.patch(job, {"name": "renamed"})
    stale = await client.ask(method, f"/v2/job/{job['id']}{action}", If_Match='"1"')
    assert (stale.status, stale.body["code"], stale.headers["ETag"]) == (412, "revision_mismatch", '"2"')
    done = await client.ask(method, f"/v2/job/{job['id']}{action}", If_Match='"2"')
    assert done.status == 200


async def test_a_revert_is_a_new_version_with_the_old_policies(client: Client) -> None:
    job = await client.draft(cadence=HOURLY)
    await client.patch(job, {"configuration": {"stream": "other"}, "cadence": {"kind": "once"}})
    reverted = await client.ask("POST", f"/v2/job/{job['id']}/revert/1?validate=false")
    assert reverted.data["configuration"]["stream"] == "people"
    assert (reverted.data["cadence"]["every_seconds"], reverted.data["configuration_version"]) == (3600, 3)
    assert reverted.body["message"].startswith("reverted to version 1, as a new version; the job is Paused")
    newest, *_ = await client.get(f"/v2/job/{job['id']}/configurations")
    assert (newest["version"], newest["reverted_from"]) == (3, 1)
    unknown = await client.ask("POST", f"/v2/job/{job['id']}/revert/9")
    assert unknown.body["code"] == "no_such_configuration_version"


@pytest.mark.asyncio(loop_scope="session")
async def test_an_unknown_job_is_not_found(unchanged: Api) -> None:
    for method, path in (
        ("GET", ""), ("GET", "/logs"), ("GET", "/history"), ("GET", "/configurations"),
        ("POST", "/pause"), ("POST", "/run"), ("POST", "/revert/1"), ("DELETE", ""),
    ):  # fmt: skip
        assert (await unchanged.client.ask(method, f"/v2/job/unknown{path}")).body["code"] == "no_such_job", (
            method,
            path,
        )


async def test_a_job_at_a_point_in_time(client: Client, clock: WallClock) -> None:
    job = await client.draft("before")
    clock.advance(hours=1)
    await client.patch(job, {"name": "after"})
    past = await client.get(f"/v2/job/{job['id']}?as_of=2026-05-04T12:59:59Z")
    assert (past["name"], past["profiles"]) == ("before", None)
    assert (await client.get(f"/v2/job/{job['id']}?as_of=2026-05-04T13:00:00Z"))["name"] == "after"
    early = await client.ask("GET", f"/v2/job/{job['id']}?as_of=1999-01-01T00:00:00Z")
    assert (early.status, early.body["code"]) == (404, "no_such_job")
    assert "after did not exist at 1999-01-01T00:00:00Z; it was created 2026-05-04T12:00:00Z" in early.body["detail"]


async def test_the_list_is_paged_and_sorted(client: Client) -> None:
    names = [f"page {number}" for number in range(5)]
    for name in names:
        await client.draft(name)
    await client.draft("other")
    listed, path = [], "/v2/job?search=page&limit=2&sort=-name"
    while path:
        page = await client.ask("GET", path)
        listed += [item["name"] for item in page.data]
        path = page.headers["Link"].split(">")[0].lstrip("<") if "Link" in page.headers else ""
    assert listed == names[::-1]
    assert [item["name"] for item in await client.get("/v2/job?limit=1")] == ["other"], "by name"
    cursor = (await client.ask("GET", "/v2/job?search=page&limit=2&sort=-name")).body["next_cursor"]
    assert (await client.ask("GET", f"/v2/job?limit=2&cursor={cursor}")).body["errors"][0]["pointer"] == "?cursor"


async def test_the_list_is_filtered_and_sorted_by_time(client: Client, clock: WallClock) -> None:
    first = await client.post(UNCHECKED, new_job("z first"))
    clock.advance(hours=1)
    second = await client.draft("a second")
    await client.post(f"/v2/job/{first['id']}/pause?for=1h")
    for query, expected in {
        "sort=created": [first, second],
        "sort=-created": [second, first],
        "sort=next_at": [first, second],
        "updated_since=2026-05-04T13:00:00Z": [second, first],
        "status=Running": [],
        "provider=file&job_type=import&kind=import": [second, first],
        "kind=export": [],
    }.items():
        listed = [item["id"] for item in await client.get(f"/v2/job?{query}")]
        assert listed == [job["id"] for job in expected], query


async def test_a_write_is_accepted_while_control_is_away(client: Client, control: Control) -> None:
    job = await client.post(UNCHECKED, new_job())
    control.deciding.clear()
    accepted = await client.ask("POST", f"/v2/job/{job['id']}/pause", Prefer="wait=0")
    assert (accepted.status, accepted.data) == (202, {"id": job["id"], "href": f"/v2/job/{job['id']}"})
    assert accepted.headers["Location"] == f"/v2/job/{job['id']}"
    control.deciding.set()
    assert (await client.post(f"/v2/job/{job['id']}/resume"))["status"] == "Running"
    kinds = [line["kind"] for line in await client.get(f"/v2/job/{job['id']}/logs?order=oldest_first")]
    assert kinds == ["Created", "Started", "Paused", "Resumed", "Started"]


async def test_while_kafka_is_away_a_write_may_be_repeated(client: Client, cluster: MemoryCluster) -> None:
    cluster.set_available(available=False)
    refused = await client.ask("POST", UNCHECKED, new_job())
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, "kafka_unreachable", "5")


async def test_a_trace_is_propagated_to_the_command(client: Client, cluster: MemoryCluster) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.post(UNCHECKED, new_job(), traceparent=trace)
    (record,) = commands(cluster)
    headers = dict(record.headers)
    assert (headers["traceparent"], headers["ce_type"]) == (trace.encode(), b"entrepot.jobs.commands.CreateJob")


# Idempotency keys


async def test_a_repeated_creation_returns_the_first_job(client: Client, cluster: MemoryCluster) -> None:
    first = await client.ask("POST", UNCHECKED, new_job(), Idempotency_Key="key")
    again = await client.ask("POST", UNCHECKED, new_job(), Idempotency_Key="key")
    assert (again.status, again.data, again.headers["Idempotency-Replayed"]) == (201, first.data, "true")
    assert len(commands(cluster)) == 1
    other = await client.post(UNCHECKED, new_job(), Idempotency_Key="another")
    assert other["id"] != first.data["id"]


async def test_a_key_belongs_to_one_body_of_one_token(client: Client) -> None:
    first = await client.post(UNCHECKED, new_job("first"), Idempotency_Key="key")
    for path, body in ((UNCHECKED, new_job("second")), (f"{UNCHECKED}&run_job=false", new_job("first"))):
        reused = await client.ask("POST", path, body, Idempotency_Key="key")
        assert (reused.status, reused.body["code"]) == (422, "idempotency_key_reused")
    token = (await client.post("/v2/token", {"name": "ada", "role": "editor"}))["token"]
    other = await client.ask(
        "POST", UNCHECKED, new_job("first"), Idempotency_Key="key", Authorization=f"Bearer {token}"
    )
    assert other.data["id"] != first["id"]


@pytest.mark.parametrize(("names", "statuses"), [(("one", "one"), [201, 201]), (("one", "other"), [201, 422])])
async def test_of_concurrent_creations_with_one_key_one_is_carried_out(
    client: Client, control: Control, cluster: MemoryCluster, names: tuple[str, str], statuses: list[int]
) -> None:
    control.deciding.clear()
    requests = [
        asyncio.create_task(client.ask("POST", UNCHECKED, new_job(name), Idempotency_Key="key")) for name in names
    ]
    await until_sent(cluster, 2)
    control.deciding.set()
    answers = await asyncio.gather(*requests)
    assert sorted(answer.status for answer in answers) == statuses
    assert len(await client.get("/v2/job")) == 1


# Validation


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"provider": "gopher"}, "/provider", "no_such_provider"),
        ({"job_type": "export"}, "/job_type", "no_such_job_type"),
        ({"provider": "collect", "job_type": "bulk_csv"}, "/job_type", "pushed"),
        ({"name": "  "}, "/name", "string_pattern_mismatch"),
        ({"name": "a\0b"}, "/name", "value_error"),
        ({"configuration": {"source": "a"}}, "/configuration/stream", "missing"),
        ({"configuration": {"source": "a" * 1_000_000}}, "/configuration", "too_large"),
        ({"cadence": {"kind": "cron", "cron": "9 9 9"}}, "/cadence/cron", "bad_cron"),
        ({"cadence": {"kind": "interval"}}, "/cadence/every_seconds", "bad_interval"),
        ({"retry": {"base_seconds": 0}}, "/retry/base_seconds", "greater_than_equal"),
        ({"configuraton": {}}, "/configuraton", "extra_forbidden"),
    ],
)
@pytest.mark.asyncio(loop_scope="session")
async def test_an_invalid_job_is_reported_by_field(
    unchanged: Api, change: dict[str, Any], pointer: str, code: str
) -> None:
    refused = await unchanged.client.ask("POST", UNCHECKED, new_job() | change)
    assert (refused.status, refused.body["code"]) == (422, "invalid"), refused.body
    assert [(error["pointer"], error["code"]) for error in refused.body["errors"]] == [(pointer, code)]
    assert refused.body["errors"][0]["message"]
    assert refused.headers["Content-Type"] == "application/problem+json"


async def test_as_many_quiet_windows_are_accepted_as_the_domain_allows(client: Client) -> None:
    def blackouts(count: int) -> dict[str, Any]:
        windows = [{"start": f"{hour % 24:02}:00", "end": f"{hour % 24:02}:30"} for hour in range(count)]
        return new_job(cadence=HOURLY | {"blackout_windows": windows})

    assert len((await client.post(UNCHECKED, blackouts(50)))["cadence"]["blackout_windows"]) == 50
    refused = await client.ask("POST", UNCHECKED, blackouts(51))
    assert [error["pointer"] for error in refused.body["errors"]] == ["/cadence/blackout_windows"]


@pytest.mark.asyncio(loop_scope="session")
async def test_an_unknown_field_gets_the_existing_ones(unchanged: Api) -> None:
    def message(answer: Answer) -> str:
        (error,) = answer.body["errors"]
        return f"{error['pointer']}: {error['message']}"

    body = message(await unchanged.client.ask("POST", UNCHECKED, new_job() | {"jobtype": "import"}))
    assert body.startswith("/jobtype: unknown field; expected one of: job_type, ")
    configuration = new_job()["configuration"] | {"delimeter": ";"}
    fields = message(await unchanged.client.ask("POST", UNCHECKED, new_job(configuration=configuration)))
    assert fields.startswith("/configuration/delimeter: unknown field; expected one of: delimiter, ")
    query = message(await unchanged.client.ask("GET", "/v2/job?state=Failed"))
    assert query.startswith("?state: unknown field; expected one of: status, ")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_configuration_is_validated_before_a_job_is_created(unchanged: Api) -> None:
    path = "/v2/provider/file/import/validate"
    file = unchanged.services.settings.data_dir / "people.csv"
    file.write_text("id\n1\n")
    good = {"source": str(file), "stream": "people"}
    for body, pointers in (
        ({"configuration": good}, []),
        ({"configuration": {"stream": "people"}}, ["/configuration/source"]),
        ({"configuration": good | {"source": "/nowhere.csv"}}, ["/configuration/source"]),
        ({"configuration": good, "cadence": {"kind": "cron"}}, ["/cadence/cron"]),
    ):
        verdict = (await unchanged.client.ask("PUT", path, body)).data
        assert (verdict["valid"], [error["pointer"] for error in verdict["errors"]]) == (not pointers, pointers)
    pushed = (
        await unchanged.client.ask("PUT", "/v2/provider/collect/bulk_csv/validate", {"configuration": {"stream": "a"}})
    ).data
    assert [error["code"] for error in pushed["errors"]] == ["pushed"]
    for unknown, code in (("gopher/import", "no_such_provider"), ("file/export", "no_such_job_type")):
        answer = await unchanged.client.ask("PUT", f"/v2/provider/{unknown}/validate", {"configuration": {}})
        assert (answer.status, answer.body["code"]) == (404, code)


@pytest.mark.asyncio(loop_scope="session")
async def test_providers_describe_their_job_types(unchanged: Api) -> None:
    providers = {provider["name"]: provider for provider in await unchanged.client.get("/v2/provider")}
    assert providers["file"] == await unchanged.client.get("/v2/provider/file")
    (import_type,) = (item for item in providers["file"]["job_types"] if item["name"] == "import")
    assert {"source", "stream"} <= set(import_type["configuration"]["properties"])
    assert (await unchanged.client.ask("GET", "/v2/provider/gopher")).body["code"] == "no_such_provider"
