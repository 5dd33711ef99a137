from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from time import process_time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.records.commands import NewerRulesError, UnreadableCommandError, decode_job_command
from projections.jobs.decide import handle, next_timer
from projections.jobs.event_checks import read_event
from projections.jobs.evolve import evolve
from projections.jobs.recorder import is_plausible_time
from projections.jobs.state import Job, JobState, NoJob, Running
from schemas.commands import Counts, JobCommand, PurgeJob, WakeJob
from schemas.events import CommandRefused, JobProgressed, JobPurged, JobSlept
from schemas.wire.codec import decode, encode
from tests.laws.lives import ANY_COMMAND, ANY_EVENT, JOB, Life, commands, fold, lives


@given(lives())
def test_replay_equals_live(life: Life) -> None:
    read_back = tuple(decode(encode(event)) for event in life.events)
    assert fold(NoJob(JOB), read_back) == life.state


@given(lives())
def test_two_deciders_give_the_same_bytes(life: Life) -> None:
    state, events = NoJob(JOB), []
    for offset, command in enumerate(life.commands):
        read_back: Any = decode(encode(command))
        state, answer = handle(state, read_back, offset)
        events += [encode(item) for item in answer]
    assert events == [encode(event) for event in life.events]


@given(lives(), st.data())
def test_a_zombie_that_decides_again_repeats_what_is_known(life: Life, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(life.commands)))
    state = fold(NoJob(JOB), tuple(event for event in life.events if event.command_offset < start))
    again = []
    for offset, command in enumerate(life.commands[start:], start):
        state, answer = handle(state, command, offset)
        again += answer
    known = [event for event in life.events if event.command_offset >= start]
    assert again == known


@given(lives(), ANY_EVENT)
def test_evolve_takes_any_event_and_leaves_its_input_alone(life: Life, event: Any) -> None:
    for item in (event, replace(event, seq=life.events[-1].seq + 1)):
        before = deepcopy(life.state)
        after = evolve(life.state, item)
        assert life.state == before
        assert isinstance(after, Job | NoJob)


@given(lives(), st.data())
def test_a_repeated_command_adds_no_fact(life: Life, data: st.DataObject) -> None:
    if isinstance(life.state, NoJob):
        return
    command = data.draw(st.sampled_from(life.commands[-8:]))
    made_something = [event for event in life.events if event.command_id == command.command_id and event.seq]
    if made_something:
        assert handle(life.state, command, len(life.commands) + 5)[1] == ()
    assert handle(life.state, replace(command, command_id="new"), life.state.command_offset)[1] == ()


@given(lives(most=6), ANY_COMMAND)
def test_decide_answers_any_command_quickly_and_its_answer_can_be_written(life: Life, command: Any) -> None:
    started = process_time()
    events = handle(life.state, replace(command, job_id=JOB, command_id="any"), 99)[1]
    assert process_time() - started < 2
    assert events
    assert len([encode(event) for event in events]) <= 4


@given(lives(most=6), st.data())
def test_decide_answers_a_fitting_command_with_hostile_values(life: Life, data: st.DataObject) -> None:
    command = data.draw(commands(life, hostile=True))
    if isinstance(life.state, Job):
        report = {"run": life.state.run, "report": life.state.report + 1}
        command = replace(command, rules=1, **{name: value for name, value in report.items() if hasattr(command, name)})
    events = handle(life.state, command, 99)[1]
    assert events
    assert [decode(encode(event)) for event in events] == list(events)


@given(lives(), st.data())
def test_what_control_writes_of_any_command_it_reads_is_an_event_to_every_reader(
    life: Life, data: st.DataObject
) -> None:
    command = data.draw(commands(life, hostile=True) | ANY_COMMAND)
    if isinstance(life.state, Job):
        report = {"run": life.state.run, "report": life.state.report + 1}
        due = {name: value for name, value in report.items() if hasattr(command, name)}
        command = replace(command, rules=1, **(due if data.draw(st.booleans()) else {}))
    readable = [_read(item) for item in (*life.commands, replace(command, job_id=JOB, command_id="any"))]
    state: JobState = NoJob(JOB)
    for offset, item in enumerate(readable):
        for event in handle(state, item, offset)[1] if item else ():
            state = evolve(state, event)
            assert read_event(encode(event)) == event


def _read(command: JobCommand) -> JobCommand | None:
    try:
        return decode_job_command(JOB.encode(), encode(command), 0, 1)
    except (UnreadableCommandError, NewerRulesError):
        return None  # the control role writes a dead letter, or stops


@given(lives())
def test_a_history_is_in_order_and_each_event_names_its_command(life: Life) -> None:
    history = [event for event in life.events if event.seq]
    assert [item.seq for item in history] == list(range(1, len(history) + 1))
    assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(history))
    assert len({event.event_id for event in life.events}) == len(life.events)
    for event in life.events:
        command = life.commands[event.command_offset]
        assert (event.command_id, event.actor, event.job_id) == (command.command_id, command.issued_by, JOB)


@given(lives())
def test_sums_are_the_sums_of_the_reports_and_no_sleep_is_empty(life: Life) -> None:
    for event in life.events:
        if isinstance(event, JobSlept):
            assert event.sleep_until > event.occurred_at or event.reason == "cadence"
            assert event.sleep_until >= event.occurred_at
    progress = [event for event in life.events if isinstance(event, JobProgressed)]
    assert [item.report for item in progress] == sorted({item.report for item in progress})
    assert all(
        item.imbalance
        == item.counts.read - item.counts.accepted - item.counts.rejected - item.counts.duplicate - item.counts.omitted
        for item in progress
    )
    if isinstance(life.state, Job):
        assert life.state.total_counts == sum((item.counts for item in progress), start=Counts())


@given(lives())
def test_the_next_timer_is_always_due_when_its_time_comes(life: Life) -> None:
    """Following the clock alone never gets stuck: each look does something or moves the next one on."""
    state = life.state
    for step in range(6):
        look = next_timer(state)
        if look is None or not is_plausible_time(look[0]):
            return
        moment, kind = look
        if kind is WakeJob:
            moment += timedelta(hours=40) * (step % 2)  # the service was down for a while
        events = handle(state, _clock(kind, moment, step), 100 + step)[1]
        state = fold(state, events)
        following = next_timer(state)
        if isinstance(events[0], CommandRefused):
            assert isinstance(state, Job)
            assert isinstance(state.phase, Running), "only a quiet time that was slept through may be refused"
            assert following is None or following[0] > moment
        if kind is PurgeJob:
            assert isinstance(events[0], JobPurged)
            assert following is None


def _clock(kind: type[WakeJob | PurgeJob], moment: Any, step: int) -> WakeJob | PurgeJob:
    return kind(command_id=f"clock-{step}", job_id=JOB, issued_at=moment, issued_by="scheduler")
