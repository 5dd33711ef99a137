"""Ingestion over HTTP: messages and files are stored once, and what is invalid has a reason."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.api.collect import json, uploads
from app.api.http import request_body
from app.api.services import idempotent_writer
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.records.partitioning import partition_of
from app.store.tables import idempotency_records
from schemas.commands import RULES, PauseJob
from schemas.instants import micros
from schemas.json_values import MAX_JSON_DEPTH
from schemas.messages import MessageBatch
from schemas.topics import JOBS_COMMANDS, LANES, MESSAGES_REJECTED
from schemas.wire.codec import decode, encode
from tests.integration.api.rig import Answer, Client
from tests.unit.api.conftest import PARTITIONS, Api, Control, WallClock, commands, serving, until_sent, until_status

CSV = b"id,name\n1,Ann\n2,Bob\n"
JSON = "application/json"


class Collect:
    """Sends messages and files, and reads what is stored."""

    def __init__(self, client: Client, cluster: MemoryCluster) -> None:
        self.client = client
        self.cluster = cluster

    async def json(self, body: Any, query: str = "", **headers: str) -> Answer:
        return await self.client.ask("POST", f"/collect/json/people{query}", body, **headers)

    async def bulk(self, body: bytes | AsyncIterator[bytes], query: str = "", **headers: str) -> Answer:
        sent = {"Content-Type": "text/csv"} | {name.replace("_", "-"): value for name, value in headers.items()}
        data = BytesIO(body) if isinstance(body, bytes) else body
        url = f"{self.client.url}/collect/bulk/people{query}"
        async with self.client.session.post(url, data=data, headers=sent) as answer:
            return Answer(answer.status, answer.headers, orjson.loads(await answer.read()))

    def batches(self, lane: str) -> list[MessageBatch]:
        partitions = [self.cluster.records(LANES[lane].name, number) for number in range(PARTITIONS)]
        decoded = [decode(record.value or b"") for records in partitions for record in records]
        batches = [batch for batch in decoded if isinstance(batch, MessageBatch)]
        return sorted(batches, key=lambda batch: (batch.job_id, int(batch.batch_id.rpartition("/")[2]), batch.first))

    def stored(self, lane: str) -> list[dict[str, Any]]:
        """Return the messages of a lane, in the order of each upload."""
        return [orjson.loads(line) for batch in self.batches(lane) for line in batch.payload.splitlines()]


@pytest.fixture
def collect(client: Client, cluster: MemoryCluster) -> Collect:
    return Collect(client, cluster)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the intervals of uploads whose client pauses."""
    monkeypatch.setattr(uploads, "POLL_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(request_body, "GATHER_TIMEOUT_SECONDS", 0.01)


# Messages


async def test_messages_are_stored_when_they_are_acknowledged(collect: Collect) -> None:
    one = (await collect.json({"id": 1})).data
    assert (one["message_count"], one["rejected_count"], one["duplicate_count"], one["dead_letters"]) == (1, 0, 0, None)
    assert (one["dryrun"], one["first_rejects"]) == (False, [])
    assert collect.stored("realtime") == [{"id": 1}]
    await collect.json([{"id": 2}, {"id": 3}], "?lane=backfill&append=%7B%22source%22%3A%22crm%22%7D")
    assert collect.stored("backfill") == [{"id": 2, "source": "crm"}, {"id": 3, "source": "crm"}]
    (batch,) = collect.batches("realtime")
    assert (batch.batch_id, batch.stream) == (f"{one['upload_id']}/1", "people")


async def test_the_time_of_a_message_is_that_of_its_field(collect: Collect) -> None:
    await collect.json([{"at": "2026-01-01T00:00:00Z"}, {"at": 1_700_000_000}, {}], "?timestamp_field=at")
    (batch,) = collect.batches("realtime")
    micros = [int.from_bytes(batch.timestamps[at : at + 8], "little") for at in range(0, 24, 8)]
    assert micros == [1_767_225_600_000_000, 1_700_000_000_000_000, 1_777_896_000_000_000], "by default, now"
    bad = await collect.json([{"at": "2026-01-01T00:00:00Z"}, {"at": "soon"}], "?timestamp_field=at")
    assert (bad.status, bad.body["errors"][0]["pointer"]) == (400, "/1")


async def test_compressed_messages_are_accepted(collect: Collect) -> None:
    packed = gzip.compress(b'[{"id": 1}]')
    sent = await collect.client.ask("POST", "/collect/json/people", raw=packed, Content_Encoding="gzip")
    assert (sent.data["message_count"], collect.stored("realtime")) == (1, [{"id": 1}])


async def test_a_large_body_is_parsed_like_a_small_one(collect: Collect) -> None:
    messages = [{"id": number, "text": "x" * 1_000} for number in range(300)]
    assert (await collect.json(messages)).data["message_count"] == 300
    assert collect.stored("realtime") == messages


@pytest.mark.parametrize("body", [b'{"id": 1}', b'[{"id": 1}]', b'\r\n[ {"id": 1} ]\r\n'])
async def test_a_byte_order_mark_before_messages_is_dropped(collect: Collect, body: bytes) -> None:
    sent = await collect.client.ask("POST", "/collect/json/people", raw=b"\xef\xbb\xbf" + body)
    assert (sent.status, collect.stored("realtime")) == (200, [{"id": 1}])


@pytest.mark.parametrize(
    ("query", "status", "rejected", "letters"),
    [
        ("", 400, 0, 0),
        ("?on_error=drop", 200, 2, 0),
        ("?droperrors=true", 200, 2, 0),
        ("?on_error=quarantine", 200, 2, 2),
    ],
)
async def test_invalid_messages_abort_or_are_dropped_or_become_dead_letters(
    collect: Collect, query: str, status: int, rejected: int, letters: int
) -> None:
    answer = await collect.json([{"id": 1}, 2, {"id": 3}, "four"], query)
    assert answer.status == status
    assert len(collect.stored("realtime")) == (2 if status == 200 else 0)
    if status == 200:
        assert (answer.data["message_count"], answer.data["rejected_count"]) == (2, rejected)
        assert (answer.data["dead_letters"] is not None) == bool(letters)
    assert len(await collect.client.get("/v2/dead-letters")) == letters


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", JSON, 400, "malformed_json"),
        (b"[", JSON, 400, "malformed_json"),
        (b"{", JSON, 400, "invalid_json"),
        (b'[{"a": 1}, {"a": NaN}]', JSON, 400, "invalid_json"),
        (b'[{"a": 1}, {"a": 1, "a": 2}]', JSON, 400, "duplicate_key"),
        (b'[{"a": 1}, {"a": "\xff"}]', JSON, 400, "broken_encoding"),
        (b'[{"a": 1}, 2]', JSON, 400, "not_an_object"),
        (b'[{"a": 1}, {"a": ' + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH + b"}]", JSON, 400, "too_deep"),
        (b"[" + b"{}," * 100_000 + b"{}]", JSON, 413, "too_many_messages"),
        (b"[" + b"[" * 1_000_000, JSON, 413, "too_many_messages"),
        (b'{"a": "' + b"x" * 10 * 1024 * 1024 + b'"}', JSON, 413, "too_large"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "wrong_content_type"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else str(value),
)
@pytest.mark.asyncio(loop_scope="session")
async def test_an_invalid_body_is_rejected_as_a_whole(
    unchanged: Api, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = await unchanged.client.ask("POST", "/collect/json/people", raw=body, Content_Type=kind)
    assert (answer.status, answer.body["code"]) == (status, code), answer.body
    if code in {"not_an_object", "too_deep", "duplicate_key", "broken_encoding"}:
        assert answer.body["errors"][0]["pointer"] == "/1"
        assert answer.body["detail"].startswith("element 2: ")


async def test_too_many_dead_letters_are_refused(collect: Collect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "MAX_REJECTS", 2)
    assert (await collect.json([1, 2], "?on_error=quarantine")).data["rejected_count"] == 2
    refused = await collect.json([{"id": 1}, 2, 3, 4], "?on_error=quarantine")
    assert (refused.status, refused.body["code"]) == (400, "too_many_rejects")
    assert collect.stored("realtime") == []


async def test_a_dry_run_stores_nothing(collect: Collect) -> None:
    for answer in (
        await collect.json([{"id": 1}, 2], "?dryrun=true&on_error=drop"),
        await collect.bulk(b"id\n1\n2,3\n", "?dryrun=true"),
    ):
        assert (answer.data["message_count"], answer.data["rejected_count"]) == (1, 1)
        assert (answer.data["upload_id"], answer.data["dead_letters"], answer.data["dryrun"]) == (None, None, True)
    invalid = await collect.bulk(b"id,id\n1,2\n", "?dryrun=true")
    assert (invalid.status, invalid.body["code"]) == (400, "duplicate_header")
    assert "upload_id" not in invalid.body
    assert (collect.stored("realtime"), collect.stored("backfill")) == ([], [])
    assert not commands(collect.cluster)


@pytest.mark.parametrize("name", ["-people", "a%20b", "a" * 101, "%C3%BC"])
@pytest.mark.parametrize("route", ["json", "bulk"])
@pytest.mark.asyncio(loop_scope="session")
async def test_a_stream_has_a_plain_name(unchanged: Api, route: str, name: str) -> None:
    url = f"/collect/{route}/{name}"
    refused = await unchanged.client.ask("POST", url, raw=b"{}", Content_Type=JSON)
    assert (refused.status, refused.body["errors"][0]["code"]) == (422, "bad_stream")


async def test_a_request_with_a_key_is_carried_out_once(collect: Collect) -> None:
    sent, query = [{"id": 1, "when": 1_600_000_000}, {"id": 2}], "?timestamp_field=when"
    answers = await asyncio.gather(*(collect.json(sent, query, Idempotency_Key="k") for _ in range(4)))
    assert sorted(answer.data["duplicate_count"] for answer in answers) == [0, 2, 2, 2]
    assert sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers) == ["", *["true"] * 3]
    assert len({answer.data["upload_id"] for answer in answers}) == 1
    for body, options in ((sent[:1], query), (sent, "")):
        reused = await collect.json(body, options, Idempotency_Key="k")
        assert (reused.status, reused.body["code"]) == (422, "idempotency_key_reused")
    assert collect.stored("realtime") == sent


async def test_a_request_in_progress_is_not_repeated(
    collect: Collect, api: Api, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotent_writer, "WAIT_TIMEOUT_SECONDS", 0.0)
    first = (await collect.json({"id": 1}, Idempotency_Key="k")).data["upload_id"]
    async with api.services.store.database.writing() as connection:
        changes = {"answer": b"", "claimed_at": micros(clock())}
        await connection.execute(idempotency_records.update().filter_by(upload_id=first).values(**changes))
    refused = await collect.json({"id": 1}, Idempotency_Key="k")
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (409, "in_progress", "1")


@pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k"}], ids=["no key", "a key"])
async def test_while_kafka_is_away_messages_are_not_confirmed(collect: Collect, key: dict[str, str]) -> None:
    collect.cluster.set_available(available=False)
    refused = await collect.json({"id": 1}, **key)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert refused.body["code"] == ("kafka_unreachable" if key else "not_confirmed"), "the offset is read first"


async def test_before_kafka_is_connected_nothing_is_stored(
    cluster: MemoryCluster, data_dir: Path, clock: WallClock
) -> None:
    cluster.set_available(available=False)
    async with serving(cluster, data_dir, clock) as api:
        refused = await api.client.ask("POST", "/collect/json/people", {"id": 1})
    assert (refused.status, refused.body["code"]) == (503, "kafka_unreachable")


# Files


async def test_a_file_is_stored_by_a_completed_job(collect: Collect) -> None:
    done = (await collect.bulk(CSV, "?filename=people.csv")).data
    assert (done["message_count"], done["rejected_count"], done["duplicate_count"]) == (2, 0, 0)
    assert collect.stored("backfill") == [{"id": "1", "name": "Ann"}, {"id": "2", "name": "Bob"}]
    job = await until_status(collect.client, done["upload_id"], "Completed")
    assert (job["name"], job["provider"], job["job_type"]) == ("people.csv", "collect", "bulk_csv")
    assert job["total_counts"]["accepted"] == 2
    unnamed = (await collect.bulk(CSV, "?lane=realtime")).data
    assert (await collect.client.get(f"/v2/job/{unnamed['upload_id']}"))["name"] == "Upload into people"
    assert len(collect.stored("realtime")) == 2


async def test_an_uploads_data_comes_only_from_requests(collect: Collect) -> None:
    job_id = (await collect.bulk(CSV)).data["upload_id"]
    job = await until_status(collect.client, job_id, "Completed")
    assert job["allowed"] == ["rename", "kill"]
    for answer in (
        await collect.client.ask("POST", f"/v2/job/{job_id}/run"),
        await collect.client.ask("POST", f"/v2/job/{job_id}/revert/1?validate=false"),
        await collect.client.patch(job, {"configuration": {"stream": "other"}}),
        await collect.client.patch(job, {"cursor": {}}),
    ):
        assert (answer.status, answer.body["code"]) == (409, "pushed_job")
        assert answer.body["allowed"] == job["allowed"]
    assert (await collect.client.patch(job, {"name": "renamed"})).data["name"] == "renamed"


BOMB = gzip.compress(b"id\n" + b"1" * 70_000_000)
CUT = gzip.compress(b"id\n" + random.Random(1).randbytes(60_000).hex().encode())[:20_000]
BAD_FILES: dict[str, tuple[bytes, str, dict[str, str], int, str]] = {
    "nothing": (b"", "", {}, 400, "empty"),
    "a bomb": (BOMB, "", {"Content_Encoding": "gzip"}, 400, "compression_bomb"),
    "half an archive": (CUT, "?filename=a.csv.gz", {}, 400, "truncated"),
    "an archive without its end": (gzip.compress(CSV * 99)[:-9], "?filename=a.csv.gz", {}, 400, "truncated"),
    "no archive": (CSV, "", {"Content_Encoding": "gzip"}, 400, "wrong_compression"),
    "an unknown archive": (CSV, "", {"Content_Encoding": "br"}, 415, "unknown_content_encoding"),
    "a page": (b"<!DOCTYPE html><html></html>", "", {}, 400, "html_page"),
    "a workbook": (b"PK\3\4" + b"xl/workbook.xml" * 9, "?filename=people.csv", {}, 400, "workbook"),
    "JSON instead of CSV": (b'[{"id": 1}]', "", {}, 400, "json_not_csv"),
    "a multipart form": (CSV, "?filename=a.csv", {"Content_Type": "multipart/form-data; boundary=b"}, 415, "form_body"),
    "a form": (
        b"id=1&name=Ann",
        "?format=csv",
        {"Content_Type": "application/x-www-form-urlencoded"},
        415,
        "form_body",
    ),
    "a multipart body of another kind": (
        b"--b\r\nContent-Type: text/csv\r\n\r\nid\n1\n--b--",
        "?filename=a.csv",
        {"Content_Type": "Multipart/Related; boundary=b"},
        415,
        "form_body",
    ),
    "a form without its type": (
        b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nid\n1\n--b--',
        "",
        {},
        400,
        "multipart_form",
    ),
    "too few columns": (b"id,name\n1\n", "?on_error=abort", {}, 400, "record_rejected"),
    "a picture": (b"\x89PNG", "", {"Content_Type": "image/png"}, 415, "wrong_content_type"),
    "no such stream": (CSV, "/..", {}, 404, "no_such_path"),
    "no such option": (CSV, "?separator=,", {}, 422, "invalid"),
    "half an array": (b'[{"a":1}', "?filename=a.json", {"Content_Type": JSON}, 400, "truncated"),
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_an_invalid_file_gets_the_reason(collect: Collect, name: str) -> None:
    body, query, headers, status, code = BAD_FILES[name]
    refused = await collect.bulk(body, query, **headers)
    assert (refused.status, refused.body["code"]) == (status, code), refused.body
    assert len(refused.body["detail"]) > 20
    if "upload_id" in refused.body:
        job = await until_status(collect.client, refused.body["upload_id"], "Failed")
        assert (job["reason"], job["total_counts"]["accepted"]) == (code, refused.body["message_count"])


@pytest.mark.parametrize(
    ("body", "query", "content_type"),
    [
        (b'[{"id": "1"}, {"id": "2"}]', "", "application/x-ndjson"),
        (b' [\n{"id": "1"},\n{"id": "2"}\n]\n', "", JSON),
        (b'{"id": "1"}\n{"id": "2"}\n', "?filename=lines.json", "application/octet-stream"),
        (b'{"id": "1"}\n{"id": "2"}\n', "?format=json_array", ""),
        (gzip.compress(gzip.compress(b"id\n1\n2\n", mtime=0), mtime=0), "?filename=a.csv.gz", "application/gzip"),
        (b"id\n1\n2\n", "?filename=a.csv.gz", "application/gzip"),
        (b"1\n2\n", "?headers=id", "text/csv; header=absent"),
        (b"x\n1\n2\n", "?headers=id&header=present", "text/csv"),
        ("id\n1\n2\n".encode("utf-16"), "?encoding=utf-16&format=csv", "application/vnd.ms-excel"),
        (b"'id'\n'1'\n'2'\n", "?quote='", "text/csv"),
        (b"\xef\xbb\xbfid\n1\n2\n", "", "text/csv; charset=iso-8859-1"),
        (b'\xef\xbb\xbf\r\n [{"id": "1"},{"id": "2"}]', "", JSON),
        (b"sep=;\r\nid;\r\n1;\r\n\r\n2;\r\n", "", "text/csv"),
        (b"Report\n# of today\nid\n1\n#\n2\n", "?skip_lines=1&comment=%23", "text/csv"),
    ],
)
async def test_the_content_decides_and_options_describe_it(
    collect: Collect, body: bytes, query: str, content_type: str
) -> None:
    done = await collect.bulk(body, query, Content_Type=content_type)
    assert (done.status, collect.stored("backfill")) == (200, [{"id": "1"}, {"id": "2"}]), done.body


@pytest.mark.parametrize(
    ("code", "body"),
    {
        "nul_byte": b"id,name\n1,a\0b\n2,b\n",
        "broken_encoding": b"id,name\n1,Zo\xeb\n2,b\n",
        "wrong_column_count": b"id,name\n1\n2,b\n",
        "text_after_quote": b'id,name\n1,"a"b\n2,b\n',
        "unclosed_quote": b'id,name\n1,"6 inch\n2,b\n',
        "record_too_large": b"id,name\n1," + b"x" * 50 * 2**20 + b"\n2,b\n",
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_invalid_row_does_not_affect_others(collect: Collect, code: str, body: bytes) -> None:
    done = (await collect.bulk(body)).data
    assert (done["message_count"], done["rejected_count"]) == (1, 1)
    assert [reject["code"] for reject in done["first_rejects"]] == [code]
    assert done["dead_letters"].startswith(f"/v2/dead-letters?upload_id={done['upload_id']}&since=")


async def test_a_completed_upload_is_replayed(collect: Collect) -> None:
    first = (await collect.bulk(b"id,name\n1,Ann\n2\n", Idempotency_Key="file")).data
    again = await collect.bulk(b"id,name\n1,Ann\n2\n", Idempotency_Key="file")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.data == first | {"duplicate_count": 1, "first_rejects": []}
    other = await collect.bulk(b"id,name\n1,Ann\n2\n", Idempotency_Key="other")
    assert other.data["upload_id"] != first["upload_id"]
    for body, query in (
        (b"id,name\n1,Ann\n", ""),
        (b"id,name\n1,Ann\n2\n3,Cy\n", ""),
        (b"id,name\n1,Ann\n2\n", "?lane=realtime"),
    ):
        reused = await collect.bulk(body, query, Idempotency_Key="file")
        assert (reused.status, reused.body["code"]) == (422, "idempotency_key_reused"), (body, query)
    assert len(collect.stored("backfill")) == 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"id;name\n1;Ann\n2;Bob\n", "one_column"),
        (b"id|name\n1|Ann\n", "one_column"),
        (b"id,name\n1\n2\n", "all_records_rejected"),
    ],
)
@pytest.mark.parametrize("dry_run", ["", "&dryrun=true"])
async def test_an_upload_is_refused_like_the_creation_of_a_job(
    collect: Collect, body: bytes, code: str, dry_run: str
) -> None:
    refused = await collect.bulk(body, f"?filename=people.csv{dry_run}")
    assert (refused.status, refused.body["code"]) == (400, code)
    assert collect.stored("backfill") == []
    assert (await collect.bulk(body, f"?validate=false{dry_run}")).status == 200


async def test_an_upload_shows_its_columns(collect: Collect) -> None:
    assert (await collect.bulk(b"id,full name\n1,Ann\n")).data["columns"] == ["id", "full name"]
    assert (await collect.bulk(b"id,name\n1,Ann\n", "?dryrun=true")).data["columns"] == ["id", "name"]
    lines = await collect.bulk(b'{"id":1}\n', Content_Type="application/x-ndjson")
    assert lines.data["columns"] is None


async def test_a_duplicate_upload_warns(collect: Collect) -> None:
    people = "?filename=people.csv"
    first = (await collect.bulk(b"id,name\n1,Ann\n", people)).data
    assert first["duplicate_of"] is None
    for body, query in (
        (b"id,name\n1,Eve\n", people),
        (b"id,name\n1,Ann\n", "?filename=others.csv"),
        (b"id,name\n1,Ann\n", ""),
    ):
        assert (await collect.bulk(body, query)).data["duplicate_of"] is None, (body, query)
    again = await collect.bulk(b"id,name\n1,Ann\n", people)
    assert again.data["duplicate_of"] == first["upload_id"]
    assert first["upload_id"] in again.body["message"]


async def test_an_upload_does_not_wait_for_control(collect: Collect, control: Control) -> None:
    control.deciding.clear()
    done = await collect.bulk(CSV, Idempotency_Key="file", Prefer="wait=0")
    assert done.data["message_count"] == 2
    control.deciding.set()
    await until_status(collect.client, done.data["upload_id"], "Completed")


async def test_an_upload_under_newer_rules_needs_an_upgrade(
    collect: Collect, clock: WallClock, control: Control
) -> None:
    first = (await collect.bulk(b"id,id\n", Idempotency_Key="file")).body
    job_id = first["upload_id"]
    await until_status(collect.client, job_id, "Failed")
    control.deciding.clear()
    newer = PauseJob(command_id="c", job_id=job_id, issued_at=clock(), issued_by="user:ada", rules=RULES + 1)
    record = ProducerRecord(
        JOBS_COMMANDS.name, encode(newer), key=job_id.encode(), partition=partition_of(job_id, PARTITIONS)
    )
    async with BatchProducer(collect.cluster) as producer:
        await producer.write([record])
    refused = await collect.bulk(CSV, Idempotency_Key="file", Prefer="wait=0")
    assert (refused.status, refused.body["code"]) == (503, "newer_rules")
    assert "upgrade it" in refused.body["detail"]
    assert collect.stored("backfill") == []


# Files whose client pauses


def people(count: int) -> list[bytes]:
    return [b"id,name\n", *(b"%d,Name %d\n" % (number, number) for number in range(count))]


async def halves(rows: Sequence[bytes], resumed: asyncio.Event) -> AsyncIterator[bytes]:
    """Send most of the rows, and the rest once it is resumed."""
    most = len(rows) * 4 // 5
    yield b"".join(rows[:most])
    await resumed.wait()
    yield b"".join(rows[most:])


@pytest.fixture
def rows() -> list[bytes]:
    return people(10_000)  # several batches


async def until_stored(collect: Collect) -> str:
    """Wait until an upload has committed a batch, and return its job."""
    async with asyncio.timeout(10):
        while not (batches := collect.batches("backfill")):
            await asyncio.sleep(0.001)
    job: str = batches[0].job_id
    return job


@pytest.mark.usefixtures("quick")
async def test_a_paused_upload_stops_and_resumes_after_the_stored_rows(collect: Collect, rows: list[bytes]) -> None:
    sending = asyncio.create_task(collect.bulk(halves(rows, asyncio.Event()), Idempotency_Key="file"))
    job_id = await until_stored(collect)
    await collect.client.post(f"/v2/job/{job_id}/pause")
    stopped = await sending
    assert (stopped.status, stopped.body["code"], stopped.body["upload_id"]) == (409, "job_paused", job_id)
    assert (await collect.bulk(b"".join(rows), Idempotency_Key="file")).body["code"] == "job_paused"
    await collect.client.post(f"/v2/job/{job_id}/resume")
    done = (await collect.bulk(b"".join(rows), Idempotency_Key="file")).data
    assert (done["upload_id"], done["message_count"]) == (job_id, 10_000)
    assert 0 < done["duplicate_count"] < 10_000
    assert [int(row["id"]) for row in collect.stored("backfill")] == list(range(10_000))


@pytest.mark.usefixtures("quick")
async def test_an_archived_upload_needs_a_new_key(collect: Collect, rows: list[bytes]) -> None:
    sending = asyncio.create_task(collect.bulk(halves(rows, asyncio.Event()), Idempotency_Key="file"))
    await collect.client.post(f"/v2/job/{await until_stored(collect)}/kill")
    assert (await sending).body["code"] == "job_killed"
    again = await collect.bulk(b"".join(rows), Idempotency_Key="file")
    assert (again.body["code"], "use a new Idempotency-Key" in again.body["detail"]) == ("job_killed", True)


@pytest.mark.usefixtures("quick")
async def test_a_disconnected_upload_fails_and_can_be_resumed(collect: Collect, rows: list[bytes]) -> None:
    sending = asyncio.create_task(collect.bulk(halves(rows, asyncio.Event()), Idempotency_Key="file"))
    job_id = await until_stored(collect)
    sending.cancel()
    job = await until_status(collect.client, job_id, "Failed")
    assert (job["reason"], job["allowed"]) == ("upload_disconnected", ["rename", "kill"])
    assert (await collect.client.ask("POST", f"/v2/job/{job_id}/resume")).body["code"] == "pushed_job"
    assert (await collect.bulk(b"".join(rows), Idempotency_Key="file")).data["message_count"] == 10_000
    assert [int(row["id"]) for row in collect.stored("backfill")] == list(range(10_000))


@pytest.mark.usefixtures("quick")
async def test_a_later_request_takes_over_an_upload(collect: Collect, rows: list[bytes]) -> None:
    resumed = asyncio.Event()
    sending = asyncio.create_task(collect.bulk(halves(rows, resumed), Idempotency_Key="file"))
    await until_stored(collect)
    assert (await collect.bulk(b"".join(rows), Idempotency_Key="file")).data["message_count"] == 10_000
    resumed.set()
    fenced = await sending
    assert (fenced.status, fenced.body["code"]) == (409, "upload_taken_over")
    assert [int(row["id"]) for row in collect.stored("backfill")] == list(range(10_000))


@pytest.mark.usefixtures("quick")
async def test_an_idle_upload_reports_that_it_is_alive(
    collect: Collect, rows: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "HEARTBEAT_INTERVAL_SECONDS", 0.01)
    resumed = asyncio.Event()
    sending = asyncio.create_task(collect.bulk(halves(rows, resumed)))
    job_id = await until_stored(collect)
    await until_sent(collect.cluster, len(commands(collect.cluster)) + 3)
    resumed.set()
    assert (await sending).data["message_count"] == 10_000
    assert (await until_status(collect.client, job_id, "Completed"))["total_counts"]["accepted"] == 10_000


@pytest.mark.usefixtures("quick")
async def test_too_many_concurrent_uploads_are_rejected(collect: Collect, rows: list[bytes], api: Api) -> None:
    resumed = asyncio.Event()
    count = api.services.settings.max_concurrent_uploads
    sending = [asyncio.create_task(collect.bulk(halves(rows, resumed))) for _ in range(count)]
    async with asyncio.timeout(10):
        while len(await collect.client.get("/v2/job?status=Running")) < count:
            await asyncio.sleep(0.001)
    refused = await collect.bulk(CSV)
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (429, "too_many_uploads", "10")
    resumed.set()
    assert [(await upload).data["message_count"] for upload in sending] == [10_000] * count


async def test_while_kafka_is_away_no_upload_is_confirmed(collect: Collect) -> None:
    collect.cluster.set_available(available=False)
    refused = await collect.bulk(CSV)
    assert (refused.status, refused.body["code"]) == (503, "kafka_unreachable")


@pytest.mark.usefixtures("quick")
async def test_an_upload_whose_commit_fails_is_not_confirmed(collect: Collect, rows: list[bytes]) -> None:
    resumed = asyncio.Event()
    sending = asyncio.create_task(collect.bulk(halves(rows, resumed), Idempotency_Key="file"))
    await until_stored(collect)
    collect.cluster.set_available(available=False)
    resumed.set()
    refused = await sending
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, "not_confirmed", "5")
    collect.cluster.set_available(available=True)
    assert (await collect.bulk(b"".join(rows), Idempotency_Key="file")).data["message_count"] == 10_000
    assert len(collect.stored("backfill")) == 10_000


# Dead letters


async def test_dead_letters_are_listed_by_upload_and_stream(collect: Collect, clock: WallClock) -> None:
    one = (await collect.json([{"id": 1}, 2, {"id": 3}, "four"], "?on_error=quarantine")).data
    clock.advance(hours=1)
    two = (await collect.bulk(b"id,name\n1,Ann\n2\n3,Bob,x\n4,Cy\n")).data
    client = collect.client

    async def positions(path: str) -> list[str]:
        return [letter["position"] for letter in await client.get(path)]

    assert await positions(one["dead_letters"]) == ["element 2", "element 4"]
    assert await positions(f"/v2/dead-letters?job_id={two['upload_id']}") == ["row 2", "row 3"]
    assert len(await positions("/v2/dead-letters?stream=people")) == 4
    assert await positions("/v2/dead-letters?stream=other") == []
    assert sorted(await positions("/v2/dead-letters?since=2026-05-04T13:00:00Z")) == ["row 2", "row 3"]
    assert await positions(f"/v2/dead-letters?upload_id={one['upload_id']}&since=2026-05-04T13:00:00Z") == []
    contradiction = await client.ask("GET", "/v2/dead-letters?upload_id=a&job_id=b")
    assert contradiction.body["errors"][0]["code"] == "contradiction"
    (letter,) = await client.get(f"/v2/dead-letters?upload_id={two['upload_id']}&limit=1")
    assert (letter["excerpt"], letter["code"], letter["stream"]) == ("2\n", "wrong_column_count", "people")
    assert (letter["job_id"], letter["run"], letter["rejected_at"]) == (two["upload_id"], 1, "2026-05-04T13:00:00Z")


async def test_dead_letters_are_paged_over_all_partitions(collect: Collect) -> None:
    for _ in range(6):
        await collect.bulk(b"id,name\n1\n2\n3\n", "?validate=false")
    listed, path = [], "/v2/dead-letters?limit=4"
    while path:
        page = await collect.client.ask("GET", path)
        assert len(page.data) <= 4
        listed += [(letter["job_id"], letter["position"]) for letter in page.data]
        path = page.headers["Link"].split(">")[0].lstrip("<") if "Link" in page.headers else ""
    assert len(listed) == len(set(listed)) == 18


@pytest.mark.parametrize("cursor", ["x", "7b7d7b", b'{"999": 0}'.hex(), b'{"0": "soon"}'.hex()])
@pytest.mark.asyncio(loop_scope="session")
async def test_an_invalid_cursor_of_dead_letters_is_rejected(unchanged: Api, cursor: str) -> None:
    refused = await unchanged.client.ask("GET", f"/v2/dead-letters?cursor={cursor}")
    assert (refused.status, refused.body["errors"][0]["code"]) == (422, "bad_cursor")


async def test_foreign_records_are_no_dead_letters(collect: Collect) -> None:
    upload = (await collect.json([1], "?on_error=quarantine")).data["upload_id"]
    partition = partition_of(upload, PARTITIONS)
    batch = (await collect.json({"id": 1})).data and collect.batches("realtime")[0]
    values = (b"garbage", encode(batch))
    async with BatchProducer(collect.cluster) as producer:
        topic = MESSAGES_REJECTED.name
        await producer.write(ProducerRecord(topic, value, key=upload.encode(), partition=partition) for value in values)
    for path in ("/v2/dead-letters", f"/v2/dead-letters?upload_id={upload}"):
        assert [letter["job_id"] for letter in await collect.client.get(path)] == [upload]


async def test_while_kafka_is_away_dead_letters_are_unknown(collect: Collect) -> None:
    collect.cluster.set_available(available=False)
    refused = await collect.client.ask("GET", "/v2/dead-letters")
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (503, "kafka_unreachable", "5")
