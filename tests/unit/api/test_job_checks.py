"""What is checked at creation is checked at every change; a name that exists is asked about."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.rig import MERGE_PATCH, Answer, Client, new_job

GONE, SEMICOLONS = "gone.csv", "semicolons.csv"


@pytest.fixture
def files(client: Client, data_dir: Path) -> Client:
    """A client of an API whose jobs may read some files."""
    (data_dir / "people.csv").write_text("id,email\n1,ada@example.com\n")
    (data_dir / SEMICOLONS).write_text("id;email\n1;ada@example.com\n")
    return client


def job_of(source: str, name: str = "people", **facts: Any) -> dict[str, Any]:
    return new_job(name, configuration={"source": source, "stream": "people"}, **facts)


def codes(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 422, answer.body
    return [(error["pointer"], error["code"]) for error in answer.body["errors"]]


async def patch(client: Client, job: dict[str, Any], source: str, query: str = "") -> Answer:
    headers = {"If_Match": "*", "Content_Type": MERGE_PATCH}
    return await client.ask("PATCH", f"/v2/job/{job['id']}{query}", {"configuration": {"source": source}}, **headers)


MISTAKES = [(GONE, "/configuration/source", "file_not_found"), (SEMICOLONS, "/configuration/delimiter", "one_column")]


@pytest.mark.parametrize(("source", "pointer", "code"), MISTAKES)
@pytest.mark.parametrize("query", ["", "?run_job=false"])
async def test_a_job_is_checked_before_it_is_created(
    files: Client, source: str, pointer: str, code: str, query: str
) -> None:
    assert codes(await files.ask("POST", f"/v2/job{query}", job_of(source))) == [(pointer, code)]
    assert await files.get("/v2/job") == []
    unchecked = f"/v2/job?validate=false{query.replace('?', '&')}"
    assert (await files.ask("POST", unchecked, job_of(source))).status == 201


@pytest.mark.parametrize(("source", "pointer", "code"), MISTAKES)
async def test_a_job_is_checked_before_it_is_changed(files: Client, source: str, pointer: str, code: str) -> None:
    job = await files.post("/v2/job", job_of("people.csv"))
    assert codes(await patch(files, job, source)) == [(pointer, code)]
    assert (await patch(files, job, source, "?validate=false")).data["configuration"]["source"] == source
    assert (await patch(files, job, "people.csv")).status == 200
    revert = f"/v2/job/{job['id']}/revert/2"
    assert codes(await files.ask("POST", revert)) == [(pointer, code)]
    assert (await files.ask("POST", f"{revert}?validate=false")).data["configuration"]["source"] == source


async def test_a_change_of_something_else_needs_no_source(files: Client) -> None:
    job = await files.post("/v2/job?validate=false", job_of(GONE))
    headers = {"If_Match": "*", "Content_Type": MERGE_PATCH}
    renamed = await files.ask("PATCH", f"/v2/job/{job['id']}", {"name": "renamed"}, **headers)
    assert renamed.data["name"] == "renamed"


async def test_a_repeated_creation_is_not_checked_again(files: Client, data_dir: Path) -> None:
    created = await files.ask("POST", "/v2/job", job_of("people.csv"), Idempotency_Key="k")
    (data_dir / "people.csv").unlink()
    repeated = await files.ask("POST", "/v2/job", job_of("people.csv"), Idempotency_Key="k")
    assert (repeated.status, repeated.data["id"]) == (201, created.data["id"])


async def test_a_name_that_exists_is_asked_about(files: Client) -> None:
    job = await files.post("/v2/job", job_of("people.csv", "People"))
    refused = await files.ask("POST", "/v2/job", job_of("people.csv", "People"))
    assert (refused.status, refused.body["code"], refused.body["job_id"]) == (409, "name_exists", job["id"])
    assert "allow_duplicate_name" in refused.body["detail"]
    for name in ("people", "Peo", job["id"][:8]):
        assert (await files.ask("POST", "/v2/job", job_of("people.csv", name))).status == 201, name
    same = "/v2/job?allow_duplicate_name=true"
    assert (await files.ask("POST", same, job_of("people.csv", "People"))).status == 201


async def test_the_names_of_uploads_and_archived_jobs_are_free(files: Client) -> None:
    upload = "/collect/bulk/people?filename=people.csv"
    assert (await files.ask("POST", upload, raw=b"id\n1\n", Content_Type="text/csv")).status == 200
    job = await files.post("/v2/job", job_of("people.csv", "people.csv"))
    await files.post(f"/v2/job/{job['id']}/kill")
    assert (await files.ask("POST", "/v2/job", job_of("people.csv", "people.csv"))).status == 201
