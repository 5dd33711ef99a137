"""Edits of jobs: merge patches, whole cursors, masked secrets, and concurrent edits."""

import asyncio
from typing import Any

import orjson
import pytest

from app.api.jobs import edits
from app.api.jobs.commands import job_refusal_problem
from app.api.jobs.sealing import MAX_SECRETS
from app.kafka.memory.cluster import MemoryCluster
from app.store.tables import sealing_key
from app.vault.master_key import KeyRing
from app.vault.sealed_json import job_owner, open_secrets
from schemas.events import CommandRefused
from tests.integration.api.rig import MERGE_PATCH, UNCHECKED, Client, new_job
from tests.unit.api.conftest import MASTER_KEY, Api, Control, WallClock, commands, until_sent
from tests.unit.api.test_jobs import HOURLY

CURSOR = {"byte": 40, "row": 3, "head": "a" * 24, "tail": "b" * 24, "source_bytes": 40, "plain": True}
SECRET = {"source": "https://me:s3cret@data.example.com/people.csv?key=k3y", "stream": "people"}


async def test_a_patch_changes_only_named_fields(client: Client) -> None:
    job = await client.draft("old name", description="stays")
    patch = {"name": "new name", "configuration": {"stream": "crm"}, "cadence": HOURLY, "retry": {"cap_seconds": 90}}
    patched = await client.patch(job, patch | {"cursor": {}})
    assert (patched.data["name"], patched.data["description"]) == ("new name", "stays")
    assert patched.data["configuration"] == {"source": "/nowhere/people.csv", "stream": "crm"}
    assert patched.data["cadence"] == job["cadence"] | HOURLY
    assert patched.data["retry"] == job["retry"] | {"cap_seconds": 90}
    assert patched.headers["ETag"] == '"3"', "renamed and configured"
    versions = await client.get(f"/v2/job/{job['id']}/configurations")
    assert [(version["version"], version["configuration"]["stream"]) for version in versions] == [
        (2, "crm"),
        (1, "people"),
    ]


@pytest.mark.parametrize(
    "patch",
    [{}, {"name": "same"}, {"configuration": {"stream": "people"}}, {"cadence": {}}, {"retry": {}}, {"cursor": {}}],
)
async def test_a_patch_without_effect_changes_no_revision(client: Client, patch: dict[str, Any]) -> None:
    job = await client.draft("same")
    unchanged = await client.patch(job, patch)
    assert (unchanged.body["message"], unchanged.data) == ("nothing to change", job)


@pytest.mark.parametrize("patch", [{"name": "new"}, {"description": "new"}])
async def test_a_name_and_a_description_are_edited_separately(client: Client, patch: dict[str, Any]) -> None:
    job = await client.draft("old", description="old")
    patched = (await client.patch(job, patch)).data
    assert (patched["name"], patched["description"]) == (patch.get("name", "old"), patch.get("description", "old"))
    assert patched["revision"] == job["revision"] + 1


async def test_an_edit_needs_the_revision_that_was_read(client: Client) -> None:
    job = await client.draft()
    bare = await client.ask("PATCH", f"/v2/job/{job['id']}", {"name": "x"}, Content_Type=MERGE_PATCH)
    assert (bare.status, bare.body["code"]) == (428, "if_match_required")
    blind = await client.ask("PATCH", f"/v2/job/{job['id']}", {"name": "x"}, Content_Type=MERGE_PATCH, If_Match="*")
    assert (blind.status, blind.data["name"]) == (200, "x")


@pytest.mark.parametrize(
    ("patch", "pointers"),
    [
        ({"configuration": {"source": None}}, ["/configuration/source"]),
        ({"cadence": {"kind": "cron", "cron": "at noon"}}, ["/cadence/cron"]),
        ({"cadence": {"kind": "sometimes"}, "retry": {"base_seconds": 0}}, ["/cadence/kind", "/retry/base_seconds"]),
        ({"cursor": {"row": 7}}, ["/cursor/row"]),
        ({"name": ""}, ["/name"]),
    ],
)
async def test_an_invalid_patch_is_reported_by_field_and_becomes_no_command(
    client: Client, cluster: MemoryCluster, patch: dict[str, Any], pointers: list[str]
) -> None:
    job = await client.draft()
    refused = await client.patch(job, patch)
    assert refused.status == 422
    assert [error["pointer"] for error in refused.body["errors"]] == pointers
    assert len(commands(cluster)) == 1, "the creation"


def opened(configuration: str, job_id: str) -> Any:
    """Return a configuration as the runner sees it."""
    assert "s3cret" not in configuration
    ring = KeyRing({MASTER_KEY.key_id: MASTER_KEY})
    return open_secrets(orjson.loads(configuration), ring.open, job_owner(job_id))


async def test_a_configuration_with_very_many_secrets_is_refused(client: Client) -> None:
    fields = [f"a://?k{number}" for number in range(MAX_SECRETS)]
    refused = await client.ask("POST", UNCHECKED, new_job(configuration=SECRET | {"fields": fields}))
    error = refused.body["errors"][0]
    assert (refused.status, error["pointer"], error["code"]) == (422, "/configuration", "too_many_secrets")


async def test_a_secret_that_is_sent_back_as_shown_is_kept(client: Client, api: Api) -> None:
    job = await client.draft(configuration=SECRET)
    assert "s3cret" not in str(job)
    patched = await client.patch(job, {"configuration": job["configuration"] | {"stream": "crm"}})
    stored = await api.services.store.jobs.get(job["id"])
    assert stored
    assert opened(stored.configuration, job["id"]) == SECRET | {"stream": "crm"}
    half = patched.data["configuration"]["source"].replace("people", "others")
    refused = await client.patch(patched.data, {"configuration": {"source": half}})
    error = refused.body["errors"][0]
    assert (refused.status, error["pointer"], error["code"]) == (422, "/configuration/source", "masked_value")
    bare = await client.patch(patched.data, {"configuration": {"source": "https://data.example.com/people.csv"}})
    assert bare.data["configuration"]["source"] == "https://data.example.com/people.csv"
    back = await client.ask("POST", f"/v2/job/{job['id']}/revert/1?validate=false")
    assert back.data["configuration"] == job["configuration"]
    reverted = await api.services.store.jobs.get(job["id"])
    assert reverted
    assert opened(reverted.configuration, job["id"]) == SECRET


async def test_an_edit_without_the_secret_keeps_it(client: Client, api: Api) -> None:
    job = await client.draft(configuration=SECRET)
    before = await api.services.store.jobs.get(job["id"])
    patched = await client.patch(job, {"name": "other", "configuration": {"stream": "crm"}})
    after = await api.services.store.jobs.get(job["id"])
    assert patched.data["configuration"]["source"] == job["configuration"]["source"]
    assert before
    assert after
    sealed = [orjson.loads(configuration)["source"] for configuration in (before.configuration, after.configuration)]
    assert sealed[0] == sealed[1]
    unchanged = await client.patch(patched.data, {"configuration": patched.data["configuration"]})
    assert unchanged.body["message"] == "nothing to change"


async def test_a_sealed_value_cannot_be_sent_by_a_client(client: Client, api: Api) -> None:
    job = await client.draft(configuration=SECRET)
    stored = await api.services.store.jobs.get(job["id"])
    assert stored
    stolen = {"configuration": orjson.loads(stored.configuration)}
    created = await client.ask("POST", UNCHECKED, new_job(**stolen))
    patched = await client.patch(job, stolen)
    shown = await client.patch(job, {"configuration": {"source": {"shown": "https://elsewhere"}}})
    assert [answer.status for answer in (created, patched, shown)] == [422, 422, 422]


async def test_without_a_master_key_secrets_are_refused_and_other_jobs_are_created(client: Client, api: Api) -> None:
    async with api.services.store.database.writing() as connection:
        await connection.execute(sealing_key.delete())
    refused = await client.ask("POST", UNCHECKED, new_job(configuration=SECRET))
    assert (refused.status, refused.body["code"]) == (503, "no_master_key")
    assert (await client.ask("POST", UNCHECKED, new_job())).status == 201


async def test_a_cursor_can_be_edited_only_while_paused(client: Client) -> None:
    job = await client.post(UNCHECKED, new_job("running"))
    refused = await client.patch(job, {"cursor": {}, "name": "both"})
    assert (refused.status, refused.body["code"]) == (409, "not_allowed")
    assert refused.body["detail"].startswith("edit cursor is not allowed while the job is Running; pause it first")
    assert "pause" in refused.body["allowed"]
    assert (await client.get(f"/v2/job/{job['id']}"))["name"] == "running"


async def test_a_killed_job_cannot_be_edited(client: Client) -> None:
    job = (await client.ask("DELETE", f"/v2/job/{(await client.draft())['id']}")).data
    refused = await client.patch(job, {"name": "x", "configuration": {}, "cursor": {}})
    assert refused.body["detail"] == "edit cursor and rename and configure is not allowed while the job is Killed"
    assert refused.body["allowed"] == ["restore"]


async def test_a_cursor_is_replaced_as_a_whole(client: Client) -> None:
    job = await client.draft()
    moved = (await client.patch(job, {"cursor": CURSOR})).data
    assert moved["cursor"] == CURSOR
    begin = await client.patch(moved, {"cursor": {}})
    assert (begin.data["cursor"], begin.body["message"]) == ({}, "changed")
    stale = await client.patch(moved, {"cursor": {"row": 7}})
    assert stale.body["changed"] == {"cursor": {"current": {}, "yours": {"row": 7}}}
    assert (await client.patch(moved, {"name": "x"})).body["changed"] == {}, "a cursor advances by itself"


async def test_a_schedule_that_takes_effect_later_has_a_hint(client: Client) -> None:
    job = await client.draft()
    paused = await client.patch(job, {"cadence": HOURLY})
    assert paused.body["message"].endswith("the job is Paused, so its schedule starts when it is resumed: use `resume`")
    assert (await client.patch(paused.data, {"cadence": HOURLY})).body["message"] == "nothing to change"
    once = await client.patch(paused.data, {"cadence": {"kind": "once"}})
    assert once.body["message"] == "changed", "it takes effect at once"
    running = await client.post(UNCHECKED, new_job())
    assert (await client.patch(running, {"cadence": HOURLY})).body["message"] == "changed"


# Concurrent edits


async def test_a_stale_edit_lists_only_the_changes_of_others(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edits, "FOLD_PAGE", 2)
    job = await client.draft("before", description="mine", configuration=SECRET)
    current = job
    for name in ("first", "second", "theirs"):
        current = (await client.patch(current, {"name": name, "configuration": {"stream": name}})).data
    late = await client.patch(job, {"description": "new", "configuration": {"stream": "mine"}})
    assert (late.status, late.body["code"], late.headers["ETag"]) == (412, "revision_mismatch", '"7"')
    assert late.body["revision"] == 7
    shown = job["configuration"]
    assert late.body["changed"] == {
        "name": {"current": "theirs", "yours": "before"},
        "configuration": {"current": shown | {"stream": "theirs"}, "yours": shown | {"stream": "mine"}},
    }
    assert late.body["detail"].endswith("(revision 7, not 1): name, configuration")


async def test_a_revision_that_never_existed_shares_no_values(client: Client) -> None:
    job = await client.draft("only")
    stale = await client.patch(job, {"name": "mine"}, revision=9)
    assert stale.body["changed"]["name"] == {"current": "only", "yours": "mine"}
    assert stale.body["changed"]["description"] == {"current": "", "yours": None}


async def test_of_two_concurrent_edits_one_wins_and_the_other_gets_the_changes(
    client: Client, control: Control, cluster: MemoryCluster
) -> None:
    job = await client.draft("shared")
    control.deciding.clear()
    requests = [asyncio.create_task(client.patch(job, {"name": name})) for name in ("one", "two")]
    await until_sent(cluster, 3)
    control.deciding.set()
    winner, loser = sorted(await asyncio.gather(*requests), key=lambda answer: answer.status)
    assert (winner.status, loser.status, loser.body["code"]) == (200, 412, "revision_mismatch")
    assert loser.body["changed"]["name"]["current"] == winner.data["name"] != loser.body["changed"]["name"]["yours"]
    assert loser.headers["ETag"] == winner.headers["ETag"] == '"2"'


async def test_an_edit_of_a_job_that_is_killed_meanwhile_is_not_allowed(
    client: Client, control: Control, cluster: MemoryCluster
) -> None:
    job = await client.draft()
    control.deciding.clear()
    killing = asyncio.create_task(client.post(f"/v2/job/{job['id']}/kill"))
    await until_sent(cluster, 2)
    editing = asyncio.create_task(client.patch(job, {"name": "late"}))
    await until_sent(cluster, 3)
    control.deciding.set()
    await killing
    late = await editing
    assert (late.status, late.body["code"], late.body["allowed"]) == (409, "not_allowed", ["restore"])


def refused(code: str, **params: Any) -> CommandRefused:
    return CommandRefused(
        event_id="e", job_id="j", seq=1, occurred_at=WallClock().now, command_id="c", command_offset=0, actor="a",
        rules=1, command="RenameJob", code=code, params=params, allowed=("RenameJob",), revision=4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (refused("no_such_job"), 404, "no_such_job"),
        (refused("revision_mismatch", expected=3, revision=4), 412, "revision_mismatch"),
        (refused("bad_name", pointer="/name", max=200), 422, "invalid"),
        (refused("not_allowed", command="RenameJob", status="Killed"), 409, "not_allowed"),
    ],
)
def test_a_refusal_has_the_status_of_its_code(event: CommandRefused, status: int, code: str) -> None:
    problem = job_refusal_problem(event)
    assert (problem.status, problem.code) == (status, code)
