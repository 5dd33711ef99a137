"""Every reader rejects a well-formed record that the control worker cannot have written."""

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
from schemas.policies import BlackoutWindow, Cadence, RetryPolicy
from schemas.wire.codec import encode
from tests.golden.samples import full
from tests.unit.projections.scenario import START, a

LONG = "x" * 300_000
HUGE = 2**62
EARLY = datetime(1969, 12, 31, tzinfo=UTC)
LATE = datetime(9999, 12, 31, tzinfo=UTC)
NEVER_BLACKOUT = Cadence(kind="interval", every_seconds=60)

VALID_FIELDS: dict[str, Any] = {
    "seq": 2, "occurred_at": START, "command_offset": 7, "configuration": "{}", "cadence": NEVER_BLACKOUT,
    "retry": RetryPolicy(), "cursor": "{}", "previous": "{}", "counts": Counts(read=3, accepted=3), "imbalance": 0,
    "first_error_at": START, "sleep_until": START, "until": START, "backoff_ceiling_seconds": 60.0,
    "retry_after_seconds": 60.0,
}  # fmt: skip

INVALID: list[tuple[type, dict[str, Any]]] = [
    (JobKilled, {"job_id": ""}),
    (JobKilled, {"job_id": "a\nb"}),
    (JobKilled, {"job_id": LONG}),
    (JobKilled, {"event_id": LONG}),
    (JobKilled, {"command_id": LONG}),
    (JobKilled, {"actor": LONG}),
    (JobKilled, {"seq": 0}),
    (JobKilled, {"seq": -1}),
    (JobKilled, {"seq": HUGE}),
    (JobKilled, {"command_offset": -1}),
    (JobKilled, {"command_offset": HUGE}),
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
    (JobCreated, {"cadence": Cadence(blackout_windows=(BlackoutWindow(start="25:00", end="x"),))}),
    (JobCreated, {"retry": RetryPolicy(base_seconds=HUGE)}),
    (JobRenamed, {"name": LONG}),
    (JobConfigured, {"version": HUGE}),
    (JobConfigured, {"reverted_from": -1}),
    (JobConfigured, {"cadence": Cadence(kind="interval")}),
    (JobStarted, {"run": HUGE}),
    (JobStarted, {"reason": "zz"}),
    (JobCompleted, {"run": -1}),
    (JobProgressed, {"counts": Counts(read=HUGE, accepted=HUGE)}),
    (JobProgressed, {"counts": Counts(read=-1, accepted=-1)}),
    (JobProgressed, {"imbalance": 1}),
    (JobProgressed, {"report": HUGE}),
    (JobProgressed, {"run": -1}),
    (JobProgressed, {"cursor": "7"}),
    (JobProgressed, {"cursor": '{"a":"' + LONG + '"}'}),
    (JobProgressed, {"cursor": '{"a":' + "[" * 200 + "]" * 200 + "}"}),
    (JobProgressed, {"stream": "a\0b"}),
    (JobProgressed, {"lane": LONG}),
    (JobProgressed, {"bytes_read": -1}),
    (JobProgressed, {"bytes_total": HUGE}),
    (JobSynced, {"counts": Counts(read=HUGE)}),
    (JobErrored, {"consecutive": HUGE}),
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
    (JobCursorEdited, {"report": HUGE}),
    (JobCursorEdited, {"previous": "{"}),
    (CommandRefused, {"params": {LONG: 1}}),
    (CommandRefused, {"params": dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFG")}),
    (CommandRefused, {"allowed": ("PauseJob",) * 99}),
    (CommandRefused, {"allowed": (LONG,)}),
    (CommandRefused, {"revision": HUGE}),
]  # fmt: skip


def valid_event(kind: type[JobEvent]) -> Any:
    event = full(kind)
    overrides = {"seq": 1} if kind is JobCreated else {}
    fields = {name: value for name, value in (VALID_FIELDS | overrides).items() if hasattr(event, name)}
    return replace(event, **fields)


@pytest.mark.parametrize("kind", get_args(JobEvent))
def test_an_event_of_the_control_worker_is_read(kind: type[JobEvent]) -> None:
    assert read_event(encode(valid_event(kind))) == valid_event(kind)


@pytest.mark.parametrize(
    ("kind", "fields"), INVALID, ids=lambda value: getattr(value, "__name__", None) or str(value)[:60]
)
def test_an_impossible_event_is_rejected_and_reported_as_unreadable(
    kind: type[JobEvent], fields: dict[str, Any]
) -> None:
    value = encode(replace(valid_event(kind), **fields))
    with pytest.raises(UnreadableEventError, match=kind.__name__) as error:
        read_event(value)
    assert len(str(error.value)) < 500
    audit = Audit(JobsReplay())
    audit.event(7, value)
    assert [(difference.kind, difference.offset) for difference in audit.close().differences] == [("unreadable", 7)]


def test_optional_fields_and_boundary_times_are_accepted() -> None:
    for event in (
        replace(valid_event(JobPaused), until=None),
        replace(valid_event(JobPaused), until=LATE),
        replace(valid_event(CommandRefused), seq=0, occurred_at=EARLY),
        replace(valid_event(JobConfigured), reverted_from=None),
        replace(valid_event(JobProgressed), stream="", bytes_total=None),
        replace(valid_event(JobSlept), backoff_ceiling_seconds=None, retry_after_seconds=None),
    ):
        assert read_event(encode(event)) == event


@pytest.mark.parametrize("value", [None, b"", b"\0", b"garbage", encode(a(PauseJob))])
def test_a_value_that_is_not_an_event_is_rejected(value: bytes | None) -> None:
    with pytest.raises(UnreadableEventError):
        read_event(value)
    with pytest.raises(UnreadableEventError):
        read_definition_event(value)
    audit = Audit(DefinitionsReplay())
    audit.event(7, value or b"")
    assert audit.close().difference_count == 1
