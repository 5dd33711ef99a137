"""The audit replays commands and reports differences from the published events."""

from dataclasses import replace
from typing import Any

import pytest

from projections import verification
from projections.definitions.state import EMPTY, handle
from projections.verification import MAX_SHOWN, Audit, DefinitionsReplay, JobsReplay, VerifyCounts
from schemas.commands import Command, KillJob, PauseJob, RenameJob
from schemas.definitions import DefinitionCommand
from schemas.events import JobEvent, JobPaused
from schemas.wire.codec import decode, encode
from tests.golden.samples import full
from tests.unit.projections.definitions.scenario import apply, draft
from tests.unit.projections.scenario import JOB, START, a, creation, no_job

COMMANDS: list[Command] = [
    replace(command, command_id=f"c{number}", issued_at=START)
    for number, command in enumerate([creation(), a(RenameJob, name="Sales", description=""), a(PauseJob), a(KillJob)])
]


def history() -> list[tuple[JobEvent, ...]]:
    """The events of each command."""
    scenario, events = no_job(), []
    for command in COMMANDS:
        scenario = scenario.when(command)
        events.append(scenario.events)
    return events


def run_audit(published: list[bytes], *, only: str | None = None, commands: list[Any] | None = None) -> VerifyCounts:
    audit, at = Audit(JobsReplay(), only), 0
    for offset, command in enumerate(commands or COMMANDS):
        audit.command(offset, command)
        while audit.expects and at < len(published):
            audit.event(100 + at, published[at])
            at += 1
    for number in range(at, len(published)):
        audit.event(100 + number, published[number])
    return audit.close()


def published() -> list[bytes]:
    return [encode(event) for events in history() for event in events]


def kinds(counts: VerifyCounts) -> list[tuple[str, str, int | None]]:
    return [(difference.kind, difference.event, difference.offset) for difference in counts.differences]


def test_a_matching_history_has_no_differences() -> None:
    counts = run_audit(published())
    assert (counts.commands, counts.events, counts.difference_count, counts.unanswered) == (4, 5, 0, 0)


def test_events_published_again_after_a_crash_are_repeats() -> None:
    events = published()
    counts = run_audit([*events[:3], *events[1:3], *events[3:]])
    assert (counts.repeats, counts.difference_count) == (2, 0)


def test_an_event_that_is_not_published_yet_is_unanswered() -> None:
    assert (run_audit(published()[:-1]).unanswered, run_audit(published()[:-1]).difference_count) == (1, 0)


def test_a_changed_event_is_reported() -> None:
    events = published()
    events[2] = encode(replace(history()[1][0], name="Theft"))  # type: ignore[call-arg, arg-type]  # an event with a name
    assert kinds(run_audit(events)) == [("changed", "JobRenamed", 102)]


def test_a_missing_event_is_reported() -> None:
    events = published()
    del events[2]
    counts = run_audit(events)
    (difference,) = counts.differences
    assert counts.unanswered == 0
    assert (difference.kind, difference.event, difference.command_offset) == ("missing", "JobRenamed", 1)
    assert (difference.subject, difference.seq, difference.offset) == (JOB, 3, None)


def test_an_invented_event_is_unexpected() -> None:
    (paused,) = history()[2]
    assert isinstance(paused, JobPaused)
    invented = encode(replace(paused, event_id="invented"))
    events = published()
    assert kinds(run_audit([*events[:3], invented, *events[3:]]))[0] == ("unexpected", "JobPaused", 103)
    assert kinds(run_audit([*events, invented])) == [("unexpected", "JobPaused", 105)]


def test_an_event_of_a_missing_command_is_unexpected() -> None:
    (paused,) = history()[2]
    ahead = encode(replace(paused, event_id="invented", command_offset=77))  # type: ignore[type-var]  # never None here
    events = published()
    assert kinds(run_audit([*events, ahead])) == [("unexpected", "JobPaused", 105)]
    assert ("unexpected", "JobPaused", 101) in kinds(run_audit([events[0], ahead, *events[1:]]))


@pytest.mark.parametrize("garbage", [b"garbage", encode(creation(issued_at=START))])
def test_a_value_that_is_not_an_event_is_unreadable(garbage: bytes) -> None:
    assert kinds(run_audit([garbage, *published()])) == [("unreadable", "", 100)]


def test_an_unreadable_command_produces_no_events() -> None:
    counts = run_audit([], commands=[None, *COMMANDS])
    assert (counts.unreadable_commands, counts.commands, counts.unanswered) == (1, 4, 5)


def test_the_audit_can_be_limited_to_one_job() -> None:
    assert run_audit(published(), only=JOB).commands == 4
    other = run_audit(published(), only="another")
    assert (other.commands, other.events, other.difference_count) == (0, 0, 0)


def test_only_the_first_differences_are_listed() -> None:
    counts = run_audit([b"garbage"] * (MAX_SHOWN + 20))
    assert (counts.difference_count, len(counts.differences)) == (MAX_SHOWN + 20, MAX_SHOWN)


def test_repeats_are_recognised_within_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "WINDOW", 2)
    events = published()
    assert run_audit([*events, *events[3:]]).repeats == 2
    assert run_audit([*events, events[0]]).difference_count == 1


def test_definitions_are_audited_as_well() -> None:
    commands: list[DefinitionCommand] = [
        replace(command, command_id=f"d{number}", issued_at=START)
        for number, command in enumerate([draft(), draft("mapping:b"), apply(version=1), apply(version=1)])
    ]
    state, events, audit = EMPTY, [], Audit(DefinitionsReplay())
    for offset, command in enumerate(commands):
        state, new_events = handle(state, command, offset)
        events += [encode(event) for event in new_events]
        audit.command(offset, command)
    for offset, value in enumerate([*events, events[1], encode(full(JobPaused))]):
        audit.event(offset, value)
    counts = audit.close()
    assert (counts.commands, counts.events, counts.repeats, counts.unanswered) == (4, 5, 1, 0)
    assert kinds(counts) == [("unreadable", "", 5)]
    assert audit_definition(commands, events[0], "mapping:b").differences[0].subject == "mapping:b"


def audit_definition(commands: list[Any], value: bytes, only: str) -> VerifyCounts:
    """Audit one definition with an event of another definition and a changed event of its own."""
    audit = Audit(DefinitionsReplay(), only)
    audit.command(1, commands[1])
    audit.event(0, value)
    changed: Any = decode(value)
    audit.event(1, encode(replace(changed, definition_id=only)))
    return audit.close()
