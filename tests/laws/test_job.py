from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from time import process_time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.records.commands import NewerRulesError, UnreadableCommandError, decode_job_command
from projections.decider import is_plausible_time
from projections.jobs.decide import handle, next_timer
from projections.jobs.event_checks import read_event
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, Running
from schemas.commands import Counts, JobCommand, PurgeJob, WakeJob
from schemas.events import CommandRefused, JobProgressed, JobPurged, JobSlept
from schemas.wire.codec import decode, encode
from tests.laws.job_strategies import ANY_COMMAND, ANY_EVENT, JOB, History, commands, evolve_all, histories


@given(histories())
def test_replay_equals_live(history: History) -> None:
    read_back: Any = tuple(decode(encode(event)) for event in history.events)
    assert evolve_all(None, read_back) == history.state


@given(histories())
def test_handling_is_deterministic_to_the_byte(history: History) -> None:
    state, events = None, []
    for offset, command in enumerate(history.commands):
        read_back: Any = decode(encode(command))
        state, new_events = handle(state, read_back, offset)
        events += [encode(event) for event in new_events]
    assert events == [encode(event) for event in history.events]


@given(histories(), st.data())
def test_a_zombie_worker_repeats_the_same_events(history: History, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(history.commands)))
    state = evolve_all(None, tuple(event for event in history.events if event.command_offset < start))
    again = []
    for offset, command in enumerate(history.commands[start:], start):
        state, new_events = handle(state, command, offset)
        again += new_events
    expected = [event for event in history.events if event.command_offset >= start]
    assert again == expected


@given(histories(), ANY_EVENT)
def test_evolve_accepts_any_event_and_does_not_change_its_input(history: History, event: Any) -> None:
    for candidate in (event, replace(event, seq=history.events[-1].seq + 1)):
        before = deepcopy(history.state)
        after = evolve(history.state, candidate)
        assert history.state == before
        assert isinstance(after, Job | None)


@given(histories(), st.data())
def test_a_repeated_command_adds_no_events(history: History, data: st.DataObject) -> None:
    if history.state is None:
        return
    command = data.draw(st.sampled_from(history.commands[-8:]))
    earlier_events = [event for event in history.events if event.command_id == command.command_id and event.seq]
    if earlier_events:
        assert handle(history.state, command, len(history.commands) + 5)[1] == ()
    assert handle(history.state, replace(command, command_id="new"), history.state.command_offset)[1] == ()


@given(histories(max_commands=6), ANY_COMMAND)
def test_any_command_is_handled_quickly_with_encodable_events(history: History, command: Any) -> None:
    started = process_time()
    events = handle(history.state, replace(command, job_id=JOB, command_id="any"), 99)[1]
    assert process_time() - started < 2
    assert events
    assert len([encode(event) for event in events]) <= 4


@given(histories(max_commands=6), st.data())
def test_a_valid_command_with_hostile_values_is_handled(history: History, data: st.DataObject) -> None:
    command = data.draw(commands(history, hostile=True))
    if history.state:
        report: dict[str, Any] = {"run": history.state.run, "report": history.state.report + 1}
        command = replace(command, rules=1, **{name: value for name, value in report.items() if hasattr(command, name)})
    events = handle(history.state, command, 99)[1]
    assert events
    assert [decode(encode(event)) for event in events] == list(events)


@given(histories(), st.data())
def test_every_event_of_a_decoded_command_is_readable(history: History, data: st.DataObject) -> None:
    command = data.draw(commands(history, hostile=True) | ANY_COMMAND)
    if history.state:
        report = {"run": history.state.run, "report": history.state.report + 1}
        due = {name: value for name, value in report.items() if hasattr(command, name)}
        command = replace(command, rules=1, **(due if data.draw(st.booleans()) else {}))
    commands_read = [_read(sent) for sent in (*history.commands, replace(command, job_id=JOB, command_id="any"))]
    state: Job | None = None
    for offset, read in enumerate(commands_read):
        for event in handle(state, read, offset)[1] if read else ():
            state = evolve(state, event)
            assert read_event(encode(event)) == event


def _read(command: JobCommand) -> JobCommand | None:
    try:
        return decode_job_command(JOB.encode(), encode(command), 0, 1)
    except (UnreadableCommandError, NewerRulesError):
        return None  # the control role writes a dead letter, or stops


@given(histories())
def test_events_are_numbered_ordered_and_name_their_command(history: History) -> None:
    numbered = [event for event in history.events if event.seq]
    assert [event.seq for event in numbered] == list(range(1, len(numbered) + 1))
    assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(numbered))
    assert len({event.event_id for event in history.events}) == len(history.events)
    for event in history.events:
        command = history.commands[event.command_offset]
        assert (event.command_id, event.actor, event.job_id) == (command.command_id, command.issued_by, JOB)


@given(histories())
def test_totals_equal_the_sum_of_the_reports_and_sleeps_end_later(history: History) -> None:
    for event in history.events:
        if isinstance(event, JobSlept):
            assert event.sleep_until > event.occurred_at or event.reason == "cadence"
            assert event.sleep_until >= event.occurred_at
    progress = [event for event in history.events if isinstance(event, JobProgressed)]
    assert [event.report for event in progress] == sorted({event.report for event in progress})
    assert all(
        event.imbalance
        == event.counts.read
        - event.counts.accepted
        - event.counts.rejected
        - event.counts.duplicate
        - event.counts.omitted
        for event in progress
    )
    if history.state:
        assert history.state.total_counts == sum((event.counts for event in progress), start=Counts())


@given(histories())
def test_the_next_timer_is_always_due_when_its_time_comes(history: History) -> None:
    """Following timers alone always makes progress: each one has an effect or is set to a later time."""
    state = history.state
    for step in range(6):
        timer = next_timer(state)
        if timer is None or not is_plausible_time(timer[0]):
            return
        moment, kind = timer
        if kind is WakeJob:
            moment += timedelta(hours=40) * (step % 2)  # the service was down for a while
        events = handle(state, _clock(kind, moment, step), 100 + step)[1]
        state = evolve_all(state, events)
        following = next_timer(state)
        if isinstance(events[0], CommandRefused):
            assert isinstance(state, Job)
            assert isinstance(state.phase, Running), "only a missed blackout window may be refused"
            assert following is None or following[0] > moment
        if kind is PurgeJob:
            assert isinstance(events[0], JobPurged)
            assert following is None


def _clock(kind: type[WakeJob | PurgeJob], moment: Any, step: int) -> WakeJob | PurgeJob:
    return kind(command_id=f"clock-{step}", job_id=JOB, issued_at=moment, issued_by="scheduler")
