"""Invalid records on a topic and invalid files: a clear error, no lost rows, and the partition continues."""

import asyncio
import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.records.commands import EXIT_NEWER_RULES
from app.sentences.codes import SENTENCES
from app.sentences.sentence import sentence
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from schemas.commands import RULES, Counts, PauseJob, RenameJob
from schemas.events import CommandRefused, JobCreated, JobErrored, JobEvent, JobFailed, JobProgressed
from schemas.messages import MessageRejected
from schemas.policies import Cadence
from schemas.wire.codec import decode, encode
from tests.golden.samples import full
from tests.integration.support.service import TIMEOUT_SECONDS, Service, has, service

GARBAGE = (b"", b"\x00", b"\x00\xff\xff\xff\xff", b"garbage", b"\x00\x00\x00\x00\x01" + b"\xff" * 40, b"\xf0" * 100_000)
TRUNCATED_ROWS = 10_000


async def dead_letters(running: Service, topic: str, count: int) -> list[MessageRejected]:
    """Wait for `count` dead letters of a topic, and return them."""
    letters: list[MessageRejected] = []
    async with asyncio.timeout(60), running.consumer("messages.rejected") as consumer:
        while len(letters) < count:
            letter = decode((await consumer.getone()).value)
            assert isinstance(letter, MessageRejected)
            if letter.topic == topic:
                letters.append(letter)
    return letters


def ended(events: Sequence[JobEvent]) -> bool:
    return has("JobFailed")(events) or has("JobCompleted")(events)


async def test_garbage_on_a_topic_becomes_dead_letters_and_the_partition_continues(
    tmp_path: Path, empty_broker: Broker
) -> None:
    async with service(tmp_path, empty_broker) as running:
        assert running.producer
        stray = await running.send(PauseJob, "missing")
        garbage = (*GARBAGE, encode(CommandRefused(**envelope_of(stray))))
        for topic in ("jobs.commands", "messages.realtime", "messages.backfill"):
            offsets = {
                (await running.producer.send_and_wait(topic, value, key=b"x", partition=0)).offset for value in garbage
            }
            letters = await dead_letters(running, topic, len(garbage))
            assert {letter.offset for letter in letters} == offsets
            assert all(letter.code in SENTENCES and letter.partition == 0 for letter in letters)
        (tmp_path / "one.csv").write_text("id,name\n1,Ann\n")
        await running.create("after", tmp_path / "one.csv")
        await running.until("after", has("JobCompleted"))


def envelope_of(stray: object) -> dict[str, Any]:
    return {
        "event_id": "e", "job_id": "missing", "seq": 0, "occurred_at": stray.issued_at, "command_id": "c",
        "command_offset": 0, "actor": "user:test", "rules": 1, "command": "PauseJob", "code": "no_such_job",
        "params": {"job_id": "missing"}, "allowed": (), "revision": 0,
    }  # fmt: skip


async def test_forged_events_become_dead_letters_and_stop_no_role(tmp_path: Path, empty_broker: Broker) -> None:
    """Well-formed records with counts that overflow a database column, and with an unknown cadence."""
    (tmp_path / "one.csv").write_text("id,name\n1,Ann\n")
    async with service(tmp_path, empty_broker, ("control", "runner")) as running:
        assert running.producer
        await running.create("before", tmp_path / "one.csv")
        created, *_ = await running.until("before", has("JobCompleted"))
        assert isinstance(created, JobCreated)
        forged = replace(created, job_id="forged", draft=True)
        counts = Counts(read=2**62, accepted=2**62)
        progress = replace(full(JobProgressed), job_id="forged", counts=counts, cursor="{}", imbalance=0)
        invalid = [
            replace(forged, job_id="invalid", cadence=Cadence(kind="zz")),
            replace(progress, seq=2),
            replace(progress, seq=3),
            replace(progress, seq=4, counts=replace(counts, read=-1)),
        ]
        for event in (forged, *invalid):
            await running.producer.send_and_wait("jobs.events", encode(event), key=b"x", partition=0)
        letters = await dead_letters(running, "jobs.events", len(invalid))
        assert all(letter.code == "malformed_event" and letter.params["cause"] in SENTENCES for letter in letters)
        await running.create("after", tmp_path / "one.csv")
        last = (await running.until("after", has("JobCompleted")))[-1]
        store = await ReadStore.open(running.settings.database())
        try:
            await running.visible(store, "after", last.seq)
            assert {job.job_id for job in (await store.jobs.page()).items} == {"before", "forged", "after"}
        finally:
            await store.close()
        assert not any("exited with code" in line for line in running.log_lines)


async def test_a_command_under_the_key_of_another_job_is_rejected(tmp_path: Path, empty_broker: Broker) -> None:
    async with service(tmp_path, empty_broker, ("control",)) as running:
        assert running.producer
        rename = await running.send(RenameJob, "missing", name="x", description="")
        await running.producer.send_and_wait("jobs.commands", encode(rename), key=b"other", partition=0)
        (letter,) = await dead_letters(running, "jobs.commands", 1)
        assert (letter.code, letter.params["cause"]) == ("malformed_command", "misplaced_command")


async def test_unreadable_rows_are_quarantined_with_file_row_and_reason(tmp_path: Path, empty_broker: Broker) -> None:
    rows = [
        b"1,Ann,2013-01-01",
        b"2,Bob",
        b"3,\xff\xfe,2013-01-03",
        b"4,Cy\x00,2013-01-04",
        b"5,Di,2999-01-01",
        b"6,Ed,never",
        b"7,Flo,2013-01-07",
    ]
    file = tmp_path / "rows.csv"
    file.write_bytes(b"id,name,when\n" + b"\n".join(rows) + b"\n")
    async with service(tmp_path, empty_broker) as running:
        await running.create("rows", file, timestamp_field="when")
        events = await running.until("rows", has("JobCompleted"))
        counts = [event.counts for event in events if isinstance(event, JobProgressed)]
        assert sum(count.read for count in counts) == 7
        assert sum(count.rejected for count in counts) == 5
        imported = [int(row["id"]) for rows in (await running.rows()).values() for row in rows]
        assert imported == [1, 7]
        rejected = [letter for letters in (await running.committed("messages.rejected")).values() for letter in letters]
        assert sorted(letter.position for letter in rejected) == [f"row {n}" for n in (2, 3, 4, 5, 6)]
        assert all(
            letter.code in SENTENCES and letter.job_id == "rows" and "rows.csv" in letter.source for letter in rejected
        )


async def test_a_permanent_source_error_fails_the_job_at_once_with_advice(tmp_path: Path, empty_broker: Broker) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "twice.csv").write_text("id,id\n1,2\n")
    (tmp_path / "wide.csv").write_text(",".join(f"c{n}" for n in range(1_000_000)) + "\n")
    sources = {
        "folder": tmp_path / "folder",
        "outside": Path("/etc/passwd"),
        "absent": tmp_path / "absent.csv",
        "twice": tmp_path / "twice.csv",
        "wide": tmp_path / "wide.csv",
    }
    async with service(tmp_path, empty_broker, ("control", "runner")) as running:
        for name, source in sources.items():
            await running.create(name, source)
        for name in sources:
            events = await running.until(name, ended)
            assert isinstance(events[-1], JobFailed), (name, events[-1])
            assert events[-1].reason == "incurable"
            assert events[-1].code in SENTENCES, events[-1].code
            print(f"{name}: {sentence(events[-1].code, events[-1].params)}")


async def test_the_readable_rows_of_a_truncated_file_are_imported_and_the_job_retries(
    tmp_path: Path, empty_broker: Broker
) -> None:
    (tmp_path / "cut.csv.gz").write_bytes(
        gzip.compress(b"id\n" + b"".join(b"%d\n" % n for n in range(TRUNCATED_ROWS)))[:-4_000]
    )
    async with service(tmp_path, empty_broker, ("control", "runner")) as running:
        await running.create("cut", tmp_path / "cut.csv.gz")
        events = await running.until("cut", has("JobErrored", "JobSlept"))
        (error,) = (event for event in events if isinstance(event, JobErrored))
        assert (error.code, error.advice) == ("truncated", "retry")
        imported = [int(row["id"]) for rows in (await running.rows()).values() for row in rows]
        assert imported == list(range(len(imported)))
        assert 0 < len(imported) < TRUNCATED_ROWS


async def test_a_command_of_a_newer_version_stops_control_and_waits_for_an_upgrade(
    tmp_path: Path, empty_broker: Broker
) -> None:
    async with service(tmp_path, empty_broker, ("control",)) as running:
        await running.send(PauseJob, "tomorrow", rules=RULES + 1)
        exited = f"control exited with code {EXIT_NEWER_RULES}"
        async with asyncio.timeout(TIMEOUT_SECONDS):  # and again after the restart: the offset was not committed
            while sum(exited in line for line in running.log_lines) < 2:
                await asyncio.sleep(0.1)
        assert any("supports 1; upgrade it" in line for line in running.log_lines if exited in line)
        assert not any((await running.committed("jobs.events")).values())
        assert not any((await running.committed("messages.rejected")).values())
