"""Secrets of sources are found nowhere but as ciphertext: topics, read store, responses, pages, logs."""

import pytest

from app.kafka.memory.cluster import MemoryCluster
from schemas.topics import TOPICS
from tests.canary import CANARY, QUOTED, found_in
from tests.integration.api.rig import MERGE_PATCH, UNCHECKED, Client, new_job
from tests.integration.support.service import TOKEN
from tests.unit.api.conftest import PARTITIONS, Api

SOURCES = [
    f"https://user:{QUOTED}@data.example.com/people.csv",
    f"https://{QUOTED}@data.example.com/people.csv#{QUOTED}",
    f"https://data.example.com/people.csv?sv=1&sig={QUOTED}",
    f" https://user:{CANARY}@data.example.com/people.csv",
    f"get https://user:{CANARY}@data.example.com/people.csv?key={QUOTED} first",
]


def stored(api: Api, cluster: MemoryCluster) -> bytes:
    """Return everything that stands on topics and in files."""
    records = [record for topic in TOPICS for number in range(PARTITIONS) for record in cluster.records(topic, number)]
    logs = b"".join((record.value or b"") + repr((record.key, record.headers)).encode() for record in records)
    return logs + b"".join(
        path.read_bytes() for path in sorted(api.services.settings.data_dir.rglob("*")) if path.is_file()
    )


async def answers(client: Client, path: str) -> bytes:
    async with client.session.get(client.url + path) as response:
        return await response.read() + repr(dict(response.headers)).encode()


@pytest.mark.parametrize("source", SOURCES)
async def test_a_secret_of_a_source_is_found_nowhere(
    client: Client, api: Api, cluster: MemoryCluster, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    configuration = {"source": source, "stream": "people"}
    shown = []
    checked = await client.ask("PUT", "/v2/provider/file/import/validate", {"configuration": configuration})
    created = await client.ask(
        "POST", f"{UNCHECKED}&run_job=false", new_job(configuration=configuration), Idempotency_Key="once"
    )
    job = created.data
    for patch in ({"configuration": {"source": f"{source}x"}}, {"configuration": {"stream": "crm"}}, {"name": source}):
        edited = await client.ask(
            "PATCH", f"/v2/job/{job['id']}?validate=false", patch, If_Match="*", Content_Type=MERGE_PATCH
        )
        shown.append(edited)
    conflict = await client.patch(job, {"configuration": {"source": source}}, revision=1)
    assert conflict.status == 412
    shown += [checked, created, conflict, await client.ask("POST", f"/v2/job/{job['id']}/revert/1?validate=false")]
    paths = ("", "/history", "/configurations", "/logs", "?as_of=2026-05-04T12:00:00Z")
    read = [await answers(client, f"/v2/job/{job['id']}{path}") for path in paths]
    read += [await answers(client, path) for path in ("/v2/job", "/v2/job/logs", "/metrics", "/readyz")]
    await client.session.post(f"{client.url}/sign-in", data={"token": TOKEN})  # the session keeps the cookie
    pages = [await answers(client, path) for path in ("/", f"/job/{job['id']}")]
    assert all(b"people" in page for page in pages)
    read += pages
    assert found_in(b"".join(read) + repr([(answer.body, dict(answer.headers)) for answer in shown]).encode()) == []
    assert found_in(stored(api, cluster)) == []
    assert found_in(caplog.text.encode()) == []


@pytest.mark.parametrize("field", ["name", "description"])
async def test_a_text_that_is_not_encrypted_refuses_credentials(client: Client, field: str) -> None:
    for text in ("see https://user:pw@host/ for more", "https://host/people.csv?sv=1&sig=abc"):
        refused = await client.ask("POST", UNCHECKED, new_job() | {field: text})
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, f"/{field}")
    accepted = new_job() | {field: "see https://wiki.example.com/page?id=7"}
    assert (await client.ask("POST", UNCHECKED, accepted)).status == 201


async def test_ids_of_idempotent_requests_allow_no_guess_at_a_secret(client: Client, cluster: MemoryCluster) -> None:
    """A plain digest of the body would: its other parts and the key of the digest are known."""
    del cluster
    job = new_job(configuration={"source": SOURCES[0], "stream": "people"})
    first = await client.ask("POST", f"{UNCHECKED}&run_job=false", job, Idempotency_Key="once")
    again = await client.ask("POST", f"{UNCHECKED}&run_job=false", job, Idempotency_Key="once")
    assert again.data["id"] == first.data["id"]
    other = job | {"configuration": {"source": SOURCES[0].replace("user", "other"), "stream": "people"}}
    refused = await client.ask("POST", f"{UNCHECKED}&run_job=false", other, Idempotency_Key="once")
    assert refused.body["code"] == "idempotency_key_reused"
