"""A record that control can never have written tells nothing, to any reader, however well it is written."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from projections.jobs.event_checks import UnreadableEventError, read_definition_event, read_event
from projections.verification import Audit, DefinitionsReplay, JobsReplay
from schemas.commands import Counts, PauseJob
from schemas.events import (
    CommandRefused,
    JobCompleted,
    JobConfigured,
    JobCreated,
    JobCursorEdited,
    JobErrored,
    JobEvent,
    JobFailed,
    JobKilled,
    JobPaused,
    JobProgressed,
    JobRenamed,
    JobSlept,
    JobStarted,
    JobSynced,
)
from schemas.policies import Cadence, QuietWindow, RetryPolicy
from schemas.wire.codec import encode
from tests.golden.samples import full
from tests.unit.projections.telling import START, a

LONG = "x" * 300_000
MUCH = 2**62
EARLY = datetime(1969, 12, 31, tzinfo=UTC)
LATE = datetime(9999, 12, 31, tzinfo=UTC)
NEVER_QUIET = Cadence(kind="interval", every_seconds=60)

FITTING: dict[str, Any] = {
    "seq": 2, "occurred_at": START, "command_offset": 7, "configuration": "{}", "cadence": NEVER_QUIET,
    "retry": RetryPolicy(), "cursor": "{}", "previous": "{}", "counts": Counts(read=3, accepted=3), "imbalance": 0,
    "first_error_at": START, "sleep_until": START, "until": START, "backoff_ceiling_seconds": 60.0,
    "retry_after_seconds": 60.0,
}  # fmt: skip

ABSURD: list[tuple[type, dict[str, Any]]] = [
    (JobKilled, {"job_id": ""}),
    (JobKilled, {"job_id": "a\nb"}),
    (JobKilled, {"job_id": LONG}),
    (JobKilled, {"event_id": LONG}),
    (JobKilled, {"command_id": LONG}),
    (JobKilled, {"actor": LONG}),
    (JobKilled, {"seq": 0}),
    (JobKilled, {"seq": -1}),
    (JobKilled, {"seq": MUCH}),
    (JobKilled, {"command_offset": -1}),
    (JobKilled, {"command_offset": MUCH}),
    (JobKilled, {"occurred_at": EARLY}),
    (JobKilled, {"occurred_at": LATE}),
    (JobCreated, {"seq": 2}),
    (JobCreated, {"name": " "}),
    (JobCreated, {"provider": LONG}),
    (JobCreated, {"kind": LONG}),
    (JobCreated, {"description": LONG}),
    (JobCreated, {"configuration": "[]"}),
    (JobCreated, {"configuration": '{"a":NaN}'}),
    (JobCreated, {"cadence": Cadence(kind="zz")}),
    (JobCreated, {"cadence": Cadence(kind="cron", cron="zz")}),
    (JobCreated, {"cadence": Cadence(cron=LONG)}),
    (JobCreated, {"cadence": Cadence(time_zone="Europe/Nowhere")}),
    (JobCreated, {"cadence": Cadence(quiet=(QuietWindow(start="25:00", end="x"),))}),
    (JobCreated, {"retry": RetryPolicy(base_seconds=MUCH)}),
    (JobRenamed, {"name": LONG}),
    (JobConfigured, {"version": MUCH}),
    (JobConfigured, {"reverted_from": -1}),
    (JobConfigured, {"cadence": Cadence(kind="interval")}),
    (JobStarted, {"run": MUCH}),
    (JobStarted, {"reason": "zz"}),
    (JobCompleted, {"run": -1}),
    (JobProgressed, {"counts": Counts(read=MUCH, accepted=MUCH)}),
    (JobProgressed, {"counts": Counts(read=-1, accepted=-1)}),
    (JobProgressed, {"imbalance": 1}),
    (JobProgressed, {"report": MUCH}),
    (JobProgressed, {"run": -1}),
    (JobProgressed, {"cursor": "7"}),
    (JobProgressed, {"cursor": '{"a":"' + LONG + '"}'}),
    (JobProgressed, {"cursor": '{"a":' + "[" * 200 + "]" * 200 + "}"}),
    (JobProgressed, {"stream": "a\0b"}),
    (JobProgressed, {"lane": LONG}),
    (JobProgressed, {"bytes_read": -1}),
    (JobProgressed, {"bytes_total": MUCH}),
    (JobSynced, {"counts": Counts(read=MUCH)}),
    (JobErrored, {"consecutive": MUCH}),
    (JobErrored, {"fault": "zz"}),
    (JobErrored, {"advice": "zz"}),
    (JobErrored, {"code": LONG}),
    (JobErrored, {"detail": LONG}),
    (JobErrored, {"first_error_at": EARLY}),
    (JobSlept, {"reason": "zz"}),
    (JobSlept, {"code": LONG}),
    (JobSlept, {"params": {"a": LONG}}),
    (JobSlept, {"sleep_until": EARLY}),
    (JobSlept, {"retry_after_seconds": float("nan")}),
    (JobSlept, {"backoff_ceiling_seconds": float("inf")}),
    (JobFailed, {"reason": "zz"}),
    (JobFailed, {"params": {"a": float("nan")}}),
    (JobFailed, {"params": {"a": (LONG,)}}),
    (JobPaused, {"until": EARLY}),
    (JobCursorEdited, {"report": MUCH}),
    (JobCursorEdited, {"previous": "{"}),
    (CommandRefused, {"params": {LONG: 1}}),
    (CommandRefused, {"params": dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFG")}),
    (CommandRefused, {"allowed": ("PauseJob",) * 99}),
    (CommandRefused, {"allowed": (LONG,)}),
    (CommandRefused, {"revision": MUCH}),
]  # fmt: skip


def fitting(kind: type[JobEvent]) -> JobEvent:
    event = full(kind)
    first = {"seq": 1} if kind is JobCreated else {}
    known = {name: value for name, value in (FITTING | first).items() if hasattr(event, name)}
    told: JobEvent = replace(event, **known)
    return told


@pytest.mark.parametrize("kind", get_args(JobEvent))
def test_what_control_can_have_written_is_read(kind: type[JobEvent]) -> None:
    assert read_event(encode(fitting(kind))) == fitting(kind)


@pytest.mark.parametrize(("kind", "facts"), ABSURD, ids=lambda each: getattr(each, "__name__", None) or str(each)[:60])
def test_what_no_command_leads_to_tells_nothing_and_is_shown_as_forged(
    kind: type[JobEvent], facts: dict[str, Any]
) -> None:
    value = encode(replace(fitting(kind), **facts))
    with pytest.raises(UnreadableEventError, match=kind.__name__) as refused:
        read_event(value)
    assert len(str(refused.value)) < 500
    audit = Audit(JobsReplay())
    audit.event(7, value)
    assert [(each.kind, each.offset) for each in audit.close().differences] == [("unreadable", 7)]


def test_a_pause_may_be_for_ever_and_a_refusal_where_there_is_no_job_has_the_time_of_its_command() -> None:
    for event in (
        replace(fitting(JobPaused), until=None),
        replace(fitting(JobPaused), until=LATE),
        replace(fitting(CommandRefused), seq=0, occurred_at=EARLY),
        replace(fitting(JobConfigured), reverted_from=None),
        replace(fitting(JobProgressed), stream="", bytes_total=None),
        replace(fitting(JobSlept), backoff_ceiling_seconds=None, retry_after_seconds=None),
    ):
        assert read_event(encode(event)) == event


@pytest.mark.parametrize("value", [None, b"", b"\0", b"garbage", encode(a(PauseJob))])
def test_what_is_no_event_at_all_is_refused(value: bytes | None) -> None:
    with pytest.raises(UnreadableEventError):
        read_event(value)
    with pytest.raises(UnreadableEventError):
        read_definition_event(value)
    audit = Audit(DefinitionsReplay())
    audit.event(7, value or b"")
    assert audit.close().found == 1
