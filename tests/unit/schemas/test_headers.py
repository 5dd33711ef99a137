"""Record headers follow CloudEvents, so consumers can route without decoding."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from schemas.commands import KillJob
from schemas.definitions import PromoteRebuild, RebuildPromoted
from schemas.events import JobKilled
from schemas.instants import rfc3339
from schemas.messages import MessageBatch, MessageRejected
from schemas.wire.headers import headers_of
from tests.golden.samples import MOMENT, full

KILL = KillJob(command_id="c-1", job_id="job-1", issued_at=MOMENT, issued_by="user:ada")
KILLED = replace(full(JobKilled), event_id="e-1", job_id="job-1", occurred_at=MOMENT)
PROMOTE = PromoteRebuild(command_id="c-2", definition_id="rebuild:1", issued_at=MOMENT, issued_by="user:ada")
PROMOTED = replace(full(RebuildPromoted), event_id="e-2", definition_id="rebuild:1", occurred_at=MOMENT)
BATCH = replace(full(MessageBatch), batch_id="job-1/4", stream="orders", ingested_at=MOMENT)
REJECTED = replace(full(MessageRejected), source="orders.csv", position="row 12", stream="orders", rejected_at=MOMENT)


@pytest.mark.parametrize(
    ("record", "identifier", "kind", "subject"),
    [
        (KILL, b"c-1", b"entrepot.jobs.commands.KillJob", b"job-1"),
        (KILLED, b"e-1", b"entrepot.jobs.events.JobKilled", b"job-1"),
        (PROMOTE, b"c-2", b"entrepot.definitions.commands.PromoteRebuild", b"rebuild:1"),
        (PROMOTED, b"e-2", b"entrepot.definitions.events.RebuildPromoted", b"rebuild:1"),
        (BATCH, b"job-1/4", b"entrepot.messages.MessageBatch", b"orders"),
        (REJECTED, b"orders.csv#row 12", b"entrepot.messages.MessageRejected", b"orders"),
    ],
)
def test_headers_are_cloud_events(record: Any, identifier: bytes, kind: bytes, subject: bytes) -> None:
    assert dict(headers_of(record)) == {
        "ce_specversion": b"1.0",
        "ce_id": identifier,
        "ce_type": kind,
        "ce_source": b"/entrepot",
        "ce_time": b"2026-11-03T14:03:00.123456Z",
        "ce_subject": subject,
        "content-type": b"application/avro",
    }


def test_the_trace_context_is_a_header() -> None:
    assert dict(headers_of(KILL, "00-abc-def-01"))["traceparent"] == b"00-abc-def-01"


def test_an_unknown_subject_has_no_header() -> None:
    assert "ce_subject" not in dict(headers_of(replace(REJECTED, stream="")))


def test_times_are_written_in_utc() -> None:
    local = datetime(2026, 11, 3, 16, 3, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(local) == "2026-11-03T14:03:00.000000Z"
