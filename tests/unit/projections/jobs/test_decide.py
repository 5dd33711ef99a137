"""The events of each command in each phase."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from projections.jobs.state import Running, Sleeping
from projections.jobs.transitions import TRANSITIONS, USER_COMMANDS
from schemas.coded import Param
from schemas.commands import (
    Command,
    ConfigureJob,
    Counts,
    CreateJob,
    EditCursor,
    KillJob,
    PauseJob,
    PurgeJob,
    RenameJob,
    ReportError,
    ReportProgress,
    ReportQueued,
    ReportRateLimit,
    RestoreJob,
    ResumeJob,
    RunJob,
    WakeJob,
)
from schemas.events import (
    CommandRefused,
    JobCompleted,
    JobConfigured,
    JobCreated,
    JobCursorEdited,
    JobDequeued,
    JobErrored,
    JobFailed,
    JobKilled,
    JobPaused,
    JobProgressed,
    JobPurged,
    JobQueued,
    JobRenamed,
    JobRestored,
    JobResumed,
    JobSlept,
    JobStarted,
    JobSynced,
)
from schemas.policies import DEFAULT_RETRY, ONCE, BlackoutWindow, Cadence, RetryPolicy
from tests.unit.projections.scenario import (
    DAY,
    HOUR,
    HOURLY,
    LUNCH,
    START,
    Scenario,
    a,
    an,
    creation,
    error,
    given,
    no_job,
    progress,
    rate_limit,
)

BLACKOUT_NOW = Cadence(blackout_windows=(BlackoutWindow(start="08:00", end="11:00"),))
TO_ELEVEN = {"reason": "blackout_window", "sleep_until": START + 2 * HOUR}
CREATED: dict[str, Any] = {
    "provider": "file", "job_type": "import", "kind": "import", "name": "Orders", "description": "",
    "configuration": "{}", "cadence": ONCE, "retry": DEFAULT_RETRY, "draft": False,
}  # fmt: skip
PROGRESSED: dict[str, Any] = {
    "run": 1, "report": 1, "cursor": '{"row": 10}', "counts": Counts(read=10, accepted=10), "imbalance": 0,
    "stream": "orders", "lane": "realtime", "bytes_read": 0,
}  # fmt: skip
PHASES: dict[str, Scenario] = {
    "Absent": no_job(),
    "Running": given(),
    "Sleeping": given(rate_limit()),
    "Failed": given(error(advice="fix_configuration")),
    "Paused": given(a(PauseJob)),
    "Completed": given(progress(1, pass_done=True)),
    "Killed": given(a(KillJob)),
    "Purged": given(a(KillJob)).later(90 * DAY).when(a(PurgeJob)),
}
COMMANDS: dict[str, Command] = {
    "CreateJob": creation(),
    "RenameJob": a(RenameJob, name="Sales", description="all of them"),
    "ConfigureJob": a(ConfigureJob, configuration='{"path":"b.csv"}', cadence=HOURLY, retry=DEFAULT_RETRY),
    "PauseJob": a(PauseJob),
    "ResumeJob": a(ResumeJob),
    "RunJob": a(RunJob),
    "KillJob": a(KillJob),
    "RestoreJob": a(RestoreJob),
    "EditCursor": a(EditCursor, cursor='{"row": 3}'),
    "WakeJob": a(WakeJob),
    "PurgeJob": a(PurgeJob),
    "ReportProgress": progress(2),
    "ReportError": error(),
    "ReportRateLimit": rate_limit(),
    "ReportQueued": a(ReportQueued, run=1, queued=True),
}


def test_a_job_is_created_and_starts() -> None:
    scenario = no_job().when(creation())
    scenario.then(an(JobCreated, **CREATED), an(JobStarted, run=1, reason="created"))
    first, second = scenario.events
    assert (first.seq, second.seq) == (1, 2)
    assert first.event_id != second.event_id
    assert {event.command_id for event in scenario.events} == {"command-0"}
    assert {event.occurred_at for event in scenario.events} == {START}


def test_a_draft_waits_paused_until_it_is_started() -> None:
    draft = no_job().when(creation(start=False))
    draft.then(an(JobCreated, **CREATED | {"draft": True}))
    assert draft.job.phase.draft  # type: ignore[union-attr]  # never None here
    renamed = draft.when(a(PauseJob))
    assert renamed.job.phase.draft  # type: ignore[union-attr]  # never None here
    renamed.when(a(ResumeJob)).then(an(JobResumed), an(JobStarted, run=1, reason="resumed"))


def test_a_job_created_in_a_blackout_window_sleeps_first() -> None:
    scenario = no_job().when(creation(cadence=BLACKOUT_NOW))
    scenario.then(an(JobCreated, **CREATED | {"cadence": BLACKOUT_NOW}), an(JobSlept, **TO_ELEVEN))
    scenario.later(2 * HOUR).when(a(WakeJob)).then(an(JobStarted, run=1, reason="woke"))


@pytest.mark.parametrize("phase", ["Running", "Sleeping", "Failed", "Paused", "Completed"])
def test_a_job_that_is_not_deleted_can_be_edited(phase: str) -> None:
    scenario = PHASES[phase]
    scenario.when(COMMANDS["RenameJob"]).then(an(JobRenamed, name="Sales", description="all of them"))
    configured = scenario.when(COMMANDS["ConfigureJob"]).then(
        an(JobConfigured, version=2, configuration='{"path":"b.csv"}', cadence=HOURLY, retry=DEFAULT_RETRY)
    )
    assert configured.job.revision == 2
    assert configured.job.status == phase


def test_a_revert_names_the_version_it_restores() -> None:
    revert = a(ConfigureJob, configuration="{}", cadence=ONCE, retry=DEFAULT_RETRY, reverted_from=1)
    scenario = given(COMMANDS["ConfigureJob"], revert)
    scenario.then(an(JobConfigured, version=3, configuration="{}", cadence=ONCE, retry=DEFAULT_RETRY, reverted_from=1))


@pytest.mark.parametrize("phase", ["Running", "Sleeping", "Paused"])
def test_an_active_job_can_be_paused(phase: str) -> None:
    until = START + HOUR
    PHASES[phase].when(a(PauseJob)).then(an(JobPaused))
    PHASES[phase].when(a(PauseJob, until=until)).then(an(JobPaused, until=until))


def test_a_timed_pause_ends_on_time() -> None:
    scenario = given(a(PauseJob, until=START + HOUR)).later(HOUR)
    scenario.when(a(WakeJob)).then(an(JobResumed), an(JobStarted, run=2, reason="resumed"))


def test_a_timed_pause_that_ends_in_a_blackout_window_becomes_a_sleep() -> None:
    scenario = given(creation(cadence=Cadence(blackout_windows=(LUNCH,))), a(PauseJob, until=START + 4 * HOUR)).later(
        4 * HOUR
    )
    scenario.when(a(WakeJob)).then(
        an(JobResumed), an(JobSlept, reason="blackout_window", sleep_until=START + 5 * HOUR)
    )  # fmt: skip


@pytest.mark.parametrize("phase", ["Failed", "Paused"])
def test_a_resumed_job_starts_a_new_run(phase: str) -> None:
    PHASES[phase].when(a(ResumeJob)).then(an(JobResumed), an(JobStarted, run=2, reason="resumed"))


@pytest.mark.parametrize("phase", ["Sleeping", "Completed"])
def test_run_now_starts_at_once(phase: str) -> None:
    PHASES[phase].when(a(RunJob)).then(an(JobStarted, run=2, reason="run_now"))


def test_run_now_overrides_the_current_blackout_window_but_not_the_next() -> None:
    scenario = no_job().when(creation(cadence=BLACKOUT_NOW), a(RunJob))
    scenario.then(an(JobStarted, run=1, reason="run_now"))
    scenario.later(HOUR).when(a(WakeJob)).refused("not_due")
    scenario.later(DAY).when(a(WakeJob)).then(
        an(JobSlept, reason="blackout_window", sleep_until=START + DAY + 2 * HOUR)
    )


def test_a_running_job_sleeps_through_a_blackout_window() -> None:
    scenario = given(creation(cadence=Cadence(blackout_windows=(LUNCH,)))).later(3 * HOUR)
    scenario.when(a(WakeJob)).then(an(JobSlept, reason="blackout_window", sleep_until=START + 5 * HOUR))


def test_a_blackout_window_that_the_scheduler_missed_is_skipped() -> None:
    scenario = given(creation(cadence=Cadence(blackout_windows=(LUNCH,)))).later(6 * HOUR)
    scenario.when(a(WakeJob)).refused("not_due", due="WakeJob", due_at="2026-05-05T12:00:00.000000Z")


@pytest.mark.parametrize("phase", ["Running", "Sleeping", "Failed", "Paused", "Completed"])
def test_a_killed_job_can_be_restored_as_paused(phase: str) -> None:
    killed = PHASES[phase].when(a(KillJob)).then(an(JobKilled))
    restored = killed.when(a(RestoreJob)).then(an(JobRestored))
    assert restored.job.status == "Paused"


@pytest.mark.parametrize("phase", ["Failed", "Paused", "Completed", "Killed"])
def test_an_inactive_job_is_purged_after_ninety_days(phase: str) -> None:
    inactive = PHASES[phase]
    almost = inactive.later(90 * DAY - HOUR).when(a(PurgeJob)).refused("not_due", due="PurgeJob")
    assert almost.job.status == phase
    purged = almost.later(HOUR).when(a(PurgeJob)).then(an(JobPurged))
    assert purged.job.status == "Purged"
    assert (purged.job.configuration, purged.job.cursor, purged.job.description) == ("{}", "{}", "")


def test_a_job_paused_for_longer_than_ninety_days_is_not_purged() -> None:
    scenario = given(a(PauseJob, until=START + 200 * DAY)).later(100 * DAY)
    scenario.when(a(PurgeJob)).refused("not_due", due="WakeJob")


def test_a_late_report_cannot_overwrite_an_edited_cursor() -> None:
    scenario = given(progress(1), a(PauseJob), a(EditCursor, cursor='{"row": 3}'))
    scenario.then(an(JobCursorEdited, cursor='{"row": 3}', previous='{"row": 10}', report=2))
    scenario.when(progress(2, cursor='{"row": 20}')).refused("report_out_of_order", report=2, expected=3)
    assert scenario.when(progress(3)).job.report == 3


def test_progress_adds_counts_and_moves_the_cursor() -> None:
    counts = Counts(read=10, accepted=6, rejected=1, duplicate=1, omitted=1)
    scenario = given(progress(1, counts=counts, bytes_read=7, bytes_total=20))
    payload = PROGRESSED | {"counts": counts, "imbalance": 1, "bytes_read": 7, "bytes_total": 20}
    scenario.then(an(JobProgressed, **payload))
    more = scenario.when(progress(2, counts=counts, cursor='{"row": 20}', bytes_read=13, bytes_total=20))
    assert more.job.total_counts == counts + counts
    assert (more.job.cursor, more.job.bytes_read, more.job.bytes_total) == ('{"row": 20}', 20, 20)


def test_a_finished_pass_completes_a_job_with_cadence_once() -> None:
    scenario = given(progress(1), progress(2, pass_done=True))
    twenty = Counts(read=20, accepted=20)
    scenario.then(
        an(JobProgressed, **PROGRESSED | {"report": 2}), an(JobSynced, run=1, counts=twenty), an(JobCompleted, run=1)
    )
    again = scenario.when(a(RunJob), progress(3, run=2))
    assert again.job.pass_counts == Counts(read=10, accepted=10)
    assert again.job.total_counts == Counts(read=30, accepted=30)


def test_after_a_finished_pass_an_hourly_job_sleeps_until_its_next_start() -> None:
    scenario = given(creation(cadence=HOURLY, run_now=True)).later(HOUR / 3).when(progress(1, pass_done=True))
    scenario.then(
        an(JobProgressed, **PROGRESSED),
        an(JobSynced, run=1, counts=Counts(read=10, accepted=10)),
        an(JobSlept, reason="cadence", sleep_until=START + HOUR),
    )
    scenario.when(a(WakeJob)).refused("not_due", due="WakeJob", due_at="2026-05-04T10:00:00.000000Z")
    scenario.later(HOUR).when(a(WakeJob)).then(an(JobStarted, run=2, reason="woke"))


NIGHTLY = Cadence(kind="cron", cron="0 3 * * *")
AT_THREE = START + 18 * HOUR


@pytest.mark.parametrize(("cadence", "scheduled"), [(HOURLY, START + HOUR), (NIGHTLY, AT_THREE)])
def test_a_new_job_waits_for_the_first_time_of_its_schedule(cadence: Cadence, scheduled: datetime) -> None:
    waiting = an(JobSlept, reason="cadence", sleep_until=scheduled)
    created = no_job().when(creation(cadence=cadence)).then(an(JobCreated, **CREATED | {"cadence": cadence}), waiting)
    created.when(a(RunJob)).then(an(JobStarted, run=1, reason="run_now"))
    created.later(scheduled - START).when(a(WakeJob)).then(an(JobStarted, run=1, reason="woke"))
    draft = no_job().when(creation(cadence=cadence, start=False), a(ResumeJob)).then(an(JobResumed), waiting)
    assert draft.job.run == 0


def test_a_new_job_can_run_before_the_first_time_of_its_schedule() -> None:
    scenario = no_job().when(creation(cadence=NIGHTLY, run_now=True))
    scenario.then(an(JobCreated, **CREATED | {"cadence": NIGHTLY}), an(JobStarted, run=1, reason="run_now"))


@pytest.mark.parametrize(
    ("cadence", "resumed_after", "scheduled"),
    [
        (HOURLY, 2.5 * HOUR, START + 3 * HOUR),
        (HOURLY, 3 * HOUR, START + 4 * HOUR),
        (NIGHTLY, 20 * HOUR, AT_THREE + DAY),
    ],
)
def test_a_resumed_job_waits_for_its_next_scheduled_time(
    cadence: Cadence, resumed_after: timedelta, scheduled: datetime
) -> None:
    paused = given(creation(cadence=cadence, run_now=True), progress(1, pass_done=True), a(PauseJob)).later(
        resumed_after
    )
    paused.when(a(ResumeJob)).then(an(JobResumed), an(JobSlept, reason="cadence", sleep_until=scheduled))
    paused.when(a(ResumeJob, run_now=True)).then(an(JobResumed), an(JobStarted, run=2, reason="run_now"))


def test_a_pause_for_a_time_ends_with_the_wait_for_a_scheduled_time() -> None:
    paused = given(creation(cadence=NIGHTLY), a(PauseJob, until=START + HOUR)).later(HOUR)
    paused.when(a(WakeJob)).then(an(JobResumed), an(JobSlept, reason="cadence", sleep_until=AT_THREE))


@pytest.mark.parametrize(
    ("cadence", "sleeps"),
    [
        (NIGHTLY, [an(JobSlept, reason="cadence", sleep_until=AT_THREE)]),
        (Cadence(kind="continuous"), [an(JobSlept, reason="cadence", sleep_until=START)]),
        (ONCE, []),
        (HOURLY, []),  # unchanged
    ],
)
def test_a_waiting_job_follows_a_changed_schedule_at_once(cadence: Cadence, sleeps: list[Any]) -> None:
    edit = a(ConfigureJob, configuration="{}", cadence=cadence, retry=DEFAULT_RETRY)
    configured = an(
        JobConfigured, version=2, configuration="{}", cadence=cadence, retry=DEFAULT_RETRY, reverted_from=None
    )
    given(creation(cadence=HOURLY)).when(edit).then(configured, *sleeps)
    given(creation(cadence=HOURLY, run_now=True), rate_limit()).when(edit).then(configured)


def test_a_missing_source_ends_the_turn_of_a_recurring_job_and_not_its_schedule() -> None:
    away = error(advice="restore_source", seed=2**63 - 1)
    assert event_types(given(away)) == [JobErrored, JobFailed]
    scenario = given(creation(cadence=HOURLY, run_now=True)).later(HOUR - timedelta(seconds=20)).when(away)
    assert event_types(scenario) == [JobErrored, JobSlept]
    assert scenario.job.phase.until == START + HOUR, "no later than its next scheduled"  # type: ignore[union-attr]  # it sleeps
    months = scenario.later(100 * DAY).when(a(WakeJob), error(2, advice="restore_source"))
    assert event_types(months) == [JobErrored, JobSlept]
    assert months.job.phase.until == START + 100 * DAY + HOUR  # type: ignore[union-attr]  # it sleeps


def test_a_continuous_job_whose_source_stays_away_tries_again_with_the_longest_delay() -> None:
    scenario = given(creation(cadence=Cadence(kind="continuous")), error(advice="restore_source", seed=2**62))
    assert scenario.job.phase.until == START + timedelta(seconds=2.5)  # type: ignore[union-attr]  # it sleeps
    later = scenario.later(100 * DAY).when(a(WakeJob), error(2, advice="restore_source"))
    assert later.job.phase.until == later.at + timedelta(minutes=30)  # type: ignore[union-attr]  # it sleeps


@pytest.mark.parametrize("phase", ["Sleeping", "Failed", "Paused", "Killed"])
def test_a_late_report_of_published_messages_still_counts(phase: str) -> None:
    scenario = PHASES[phase].when(progress(1, pass_done=True)).then(an(JobProgressed, **PROGRESSED))
    assert scenario.job.status == phase


def test_a_late_report_from_before_a_pause_counts_once_and_does_not_end_the_new_run() -> None:
    scenario = given(a(PauseJob), a(ResumeJob)).when(progress(1, run=1, pass_done=True))
    scenario.then(an(JobProgressed, **PROGRESSED))
    assert (scenario.job.status, scenario.job.run) == ("Running", 2)
    scenario.when(progress(1, run=1)).refused("report_out_of_order")
    scenario.when(progress(2, run=2, pass_done=True))


def test_an_error_backs_off_and_the_sleep_names_the_cause() -> None:
    scenario = given(error(seed=2**62, detail="HTTP/1.1 503"))
    scenario.then(
        an(
            JobErrored, run=1, fault="provider", advice="retry", code="provider_down", params={"status": 503},
            detail="HTTP/1.1 503", consecutive=1, first_error_at=START,
        ),
        an(
            JobSlept, reason="error_backoff", sleep_until=START + timedelta(seconds=30), code="provider_down",
            params={"status": 503}, backoff_ceiling_seconds=60.0,
        ),
    )  # fmt: skip
    assert isinstance(scenario.job.phase, Sleeping)


@pytest.mark.parametrize("advice", ["fix_configuration", "renew_authorization"])
def test_an_error_that_a_retry_cannot_fix_fails_the_job_at_once(advice: str) -> None:
    scenario = given(error(advice=advice))
    assert event_types(scenario) == [JobErrored, JobFailed]
    failed = scenario.events[-1]
    assert isinstance(failed, JobFailed)
    assert (failed.reason, failed.code, failed.params) == ("incurable", "provider_down", {"status": 503})


def event_types(scenario: Scenario) -> list[type]:
    return [type(event) for event in scenario.events]


def test_a_run_waits_for_a_slot() -> None:
    queued = given(a(ReportQueued, run=1, queued=True)).then(an(JobQueued, run=1))
    assert queued.job.phase == Running(since=START, queued_at=START)
    dequeued = queued.later(HOUR).when(a(ReportQueued, run=1, queued=False)).then(an(JobDequeued, run=1))
    assert dequeued.job.phase == Running(since=START)
    queued.when(a(ReportQueued, run=2, queued=False)).refused("stale_run", run=2, current=1)


def test_a_rate_limit_is_not_an_error() -> None:
    scenario = given(rate_limit(seconds=120.0))
    scenario.then(
        an(
            JobSlept, reason="rate_limit", sleep_until=START + timedelta(seconds=120), code="slow_down",
            params={"status": 429},
            retry_after_seconds=120.0,
        )
    )  # fmt: skip
    assert scenario.job.streak is None


@pytest.mark.parametrize(
    ("seconds", "slept", "recorded"),
    [(0.0, 1, 0.0), (-5.0, 1, 0.0), (float("nan"), 60, None), (float("inf"), 2_592_000, 2_592_000.0)],
)
def test_retry_after_of_a_rate_limit_is_clamped(seconds: float, slept: int, recorded: float | None) -> None:
    event = given(rate_limit(seconds=seconds)).events[0]
    assert isinstance(event, JobSlept)
    assert event.sleep_until == START + timedelta(seconds=slept)
    assert event.retry_after_seconds == recorded


def test_long_error_details_are_truncated() -> None:
    scenario = given(error(params={"answer": "x" * 100_000}, detail="y" * 100_000))
    first = scenario.events[0]
    assert isinstance(first, JobErrored)
    assert first.params == {"answer": "x" * 999 + "…"}
    assert len(first.detail) == 4_000


@pytest.mark.parametrize("report", [error(run=7), rate_limit(run=7)])
def test_a_report_of_another_run_is_stale(report: Command) -> None:
    given().when(report).refused("stale_run", run=7, current=1)


@pytest.mark.parametrize("phase", TRANSITIONS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_outside_the_table_is_refused_with_the_allowed_commands(phase: str, command: str) -> None:
    scenario = PHASES[phase].when(COMMANDS[command])
    if command in TRANSITIONS[phase]:
        assert not isinstance(scenario.events[0], CommandRefused) or scenario.events[0].code in {
            "not_due",
            "report_out_of_order",
        }
        return
    code = "no_such_job" if phase == "Absent" else "job_exists" if command == "CreateJob" else "not_allowed"
    scenario.refused(code)
    (event,) = scenario.events
    assert isinstance(event, CommandRefused)
    assert event.command == command
    assert event.allowed == tuple(name for name in TRANSITIONS[phase] if name in USER_COMMANDS)
    assert (scenario.state is None) == (event.seq == 0)
    if code == "not_allowed":
        assert event.params == {"command": command, "status": phase, "allowed": event.allowed}


JSON: dict[str, Param] = {"pointer": "/configuration", "max_depth": 200}
CURSOR: dict[str, Param] = {"pointer": "/cursor", "max_depth": 200}
REFUSALS: list[tuple[Scenario, Command, str, dict[str, Param]]] = [
    (no_job(), creation(rules=2), "unknown_rules", {"rules": 2, "supported": 1}),
    (no_job(), creation(issued_at=START.replace(year=9999)), "bad_time", {"year": 9999}),
    (no_job(), creation(issued_at=START.replace(year=1)), "bad_time", {"year": 1}),
    (no_job(), creation(name="  "), "bad_name", {"pointer": "/name", "max": 200}),
    (no_job(), creation(name="a\nb"), "bad_name", {"pointer": "/name", "max": 200}),
    (given(), a(RenameJob, name="gnp\u202egpj", description=""), "bad_name", {"pointer": "/name", "max": 200}),
    (
        given(),
        a(RenameJob, name="n", description="a line\n\x1b[2J"),
        "bad_description",
        {"pointer": "/description", "max": 5_000},
    ),
    (given(), a(RenameJob, name="n" * 201, description=""), "bad_name", {"pointer": "/name", "max": 200}),
    (
        given(),
        a(RenameJob, name="n", description="d" * 5_001),
        "bad_description",
        {"pointer": "/description", "max": 5_000},
    ),
    (no_job(), creation(configuration="[1]"), "not_a_json_object", JSON),
    (no_job(), creation(configuration="{nonsense"), "not_a_json_object", JSON),
    (no_job(), creation(configuration='{"a": NaN}'), "not_a_json_object", JSON),
    (no_job(), creation(configuration='{"a":' * 201 + "1" + "}" * 201), "not_a_json_object", JSON),
    (no_job(), creation(configuration='{"a":' + "[" * 9_000), "not_a_json_object", JSON),
    (
        no_job(),
        creation(configuration=f'"{"é" * 140_000}"'),
        "json_too_large",
        {"bytes": 280_002},
    ),
    (no_job(), creation(cadence=Cadence(kind="interval")), "bad_interval", {"pointer": "/cadence/every_seconds"}),
    (no_job(), creation(retry=RetryPolicy(base_seconds=0)), "bad_retry", {"pointer": "/retry", "max": 2_592_000}),
    (given(), a(ConfigureJob, configuration="", cadence=ONCE, retry=DEFAULT_RETRY), "not_a_json_object", JSON),
    (given(a(PauseJob)), a(EditCursor, cursor="7"), "not_a_json_object", CURSOR),
    (given(), progress(1, cursor="null"), "not_a_json_object", CURSOR),
    (given(), progress(1, counts=Counts(read=-1)), "bad_counts", {"max": 10**12}),
    (given(), progress(1, bytes_read=-1), "bad_bytes", {"max": 10**18}),
    (given(), progress(1, bytes_total=2**63 - 1), "bad_bytes", {"max": 10**18}),
    (given(), progress(3), "report_out_of_order", {"report": 3, "expected": 1}),
    (given(), a(PauseJob, until=START), "until_in_the_past", {"until": "2026-05-04T09:00:00.000000Z"}),
    (given(), a(KillJob, expected_revision=4), "revision_mismatch", {"revision": 1, "expected": 4}),
    (given(), a(WakeJob), "not_due", {"at": "2026-05-04T09:00:00.000000Z"}),
]


@pytest.mark.parametrize(("scenario", "command", "code", "params"), REFUSALS)
def test_a_refusal_has_a_code_with_parameters(
    scenario: Scenario, command: Command, code: str, params: dict[str, Param]
) -> None:
    after = scenario.when(command).refused(code, **params)
    assert after.state is None or after.job.status == scenario.job.status


def test_a_configuration_of_the_maximum_depth_is_accepted() -> None:
    assert given(creation(configuration='{"a":' * 200 + "1" + "}" * 200)).job.status == "Running"


def test_a_matching_revision_is_accepted() -> None:
    assert given(a(KillJob, expected_revision=1)).job.status == "Killed"


def test_an_absurd_time_does_not_change_a_job() -> None:
    scenario = given().when(a(KillJob, issued_at=START.replace(year=9999))).refused("bad_time")
    assert scenario.job.updated_at == START


def test_a_clock_that_steps_back_does_not_move_a_job_back_in_time() -> None:
    scenario = given(a(PauseJob, issued_at=START - DAY))
    assert scenario.events[0].occurred_at == START


def test_a_repeated_command_adds_no_events() -> None:
    scenario = given()
    assert scenario.when(a(PauseJob, command_id="command-0")).events == ()
    assert Scenario(scenario.state, sent=0).when(a(PauseJob, command_id="new")).events == ()


INTERNAL_COMMANDS = {ReportProgress, ReportError, ReportRateLimit, ReportQueued, WakeJob, PurgeJob, CreateJob}


def test_every_user_command_is_offered_in_some_phase() -> None:
    offered = {command for row in TRANSITIONS.values() for command in row if command in USER_COMMANDS}
    assert offered == USER_COMMANDS == set(COMMANDS) - {command.__name__ for command in INTERNAL_COMMANDS}
