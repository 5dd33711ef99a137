"""A history is proved: what was published is what its commands lead to, or the difference is named."""

from dataclasses import replace
from typing import Any

import pytest

from projections import verification as audit
from projections.definitions.state import EMPTY, handle
from projections.verification import SHOWN, Audit, DefinitionsReplay, JobsReplay, VerifyCounts
from schemas.commands import Command, KillJob, PauseJob, RenameJob
from schemas.definitions import DefinitionCommand
from schemas.events import JobEvent, JobPaused
from schemas.wire.codec import decode, encode
from tests.golden.samples import full
from tests.unit.projections.definitions.telling import apply, draft
from tests.unit.projections.telling import JOB, START, a, creation, nothing

COMMANDS: list[Command] = [
    replace(each, command_id=f"c{place}", issued_at=START)
    for place, each in enumerate([creation(), a(RenameJob, name="Sales", description=""), a(PauseJob), a(KillJob)])
]


def history() -> list[tuple[JobEvent, ...]]:
    """The events of each command."""
    told, events = nothing(), []
    for command in COMMANDS:
        told = told.when(command)
        events.append(told.events)
    return events


def audited(published: list[bytes], *, only: str | None = None, commands: list[Any] | None = None) -> VerifyCounts:
    proof, at = Audit(JobsReplay(), only), 0
    for offset, command in enumerate(commands or COMMANDS):
        proof.command(offset, command)
        while proof.expects and at < len(published):
            proof.event(100 + at, published[at])
            at += 1
    for rest in range(at, len(published)):
        proof.event(100 + rest, published[rest])
    return proof.close()


def published() -> list[bytes]:
    return [encode(each) for events in history() for each in events]


def kinds(tally: VerifyCounts) -> list[tuple[str, str, int | None]]:
    return [(each.kind, each.event, each.offset) for each in tally.differences]


def test_a_true_history_has_no_differences() -> None:
    tally = audited(published())
    assert (tally.commands, tally.events, tally.found, tally.unanswered) == (4, 5, 0, 0)


def test_events_that_come_again_after_a_crash_are_repeats() -> None:
    events = published()
    tally = audited([*events[:3], *events[1:3], *events[3:]])
    assert (tally.repeats, tally.found) == (2, 0)


def test_what_is_not_published_yet_is_unanswered() -> None:
    assert (audited(published()[:-1]).unanswered, audited(published()[:-1]).found) == (1, 0)


def test_a_changed_event_is_found() -> None:
    events = published()
    events[2] = encode(replace(history()[1][0], name="Theft"))  # type: ignore[call-arg, arg-type]
    assert kinds(audited(events)) == [("changed", "JobRenamed", 102)]


def test_a_missing_event_is_found() -> None:
    events = published()
    del events[2]
    tally = audited(events)
    (difference,) = tally.differences
    assert tally.unanswered == 0
    assert (difference.kind, difference.event, difference.command_offset) == ("missing", "JobRenamed", 1)
    assert (difference.subject, difference.seq, difference.offset) == (JOB, 3, None)


def test_an_invented_event_is_found() -> None:
    (paused,) = history()[2]
    assert isinstance(paused, JobPaused)
    invented = encode(replace(paused, event_id="invented"))
    events = published()
    assert kinds(audited([*events[:3], invented, *events[3:]]))[0] == ("unexpected", "JobPaused", 103)
    assert kinds(audited([*events, invented])) == [("unexpected", "JobPaused", 105)]


def test_an_event_of_a_command_that_never_was_is_found() -> None:
    (paused,) = history()[2]
    ahead = encode(replace(paused, event_id="invented", command_offset=77))  # type: ignore[type-var]
    events = published()
    assert kinds(audited([*events, ahead])) == [("unexpected", "JobPaused", 105)]
    assert ("unexpected", "JobPaused", 101) in kinds(audited([events[0], ahead, *events[1:]]))


@pytest.mark.parametrize("garbage", [b"garbage", encode(creation(issued_at=START))])
def test_what_is_no_event_is_unreadable(garbage: bytes) -> None:
    assert kinds(audited([garbage, *published()])) == [("unreadable", "", 100)]


def test_what_is_no_command_was_answered_by_nothing() -> None:
    tally = audited([], commands=[None, *COMMANDS])
    assert (tally.unreadable_commands, tally.commands, tally.unanswered) == (1, 4, 5)


def test_one_job_can_be_looked_at_alone() -> None:
    assert audited(published(), only=JOB).commands == 4
    other = audited(published(), only="another")
    assert (other.commands, other.events, other.found) == (0, 0, 0)


def test_no_more_than_the_first_differences_are_shown() -> None:
    tally = audited([b"garbage"] * (SHOWN + 20))
    assert (tally.found, len(tally.differences)) == (SHOWN + 20, SHOWN)


def test_repeats_are_known_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "WINDOW", 2)
    events = published()
    assert audited([*events, *events[3:]]).repeats == 2
    assert audited([*events, events[0]]).found == 1


def test_definitions_are_proved_as_well() -> None:
    commands: list[DefinitionCommand] = [
        replace(each, command_id=f"d{place}", issued_at=START)
        for place, each in enumerate([draft(), draft("mapping:b"), apply(version=1), apply(version=1)])
    ]
    book, events, proof = EMPTY, [], Audit(DefinitionsReplay())
    for offset, command in enumerate(commands):
        book, led_to = handle(book, command, offset)
        events += [encode(each) for each in led_to]
        proof.command(offset, command)
    for offset, value in enumerate([*events, events[1], encode(full(JobPaused))]):
        proof.event(offset, value)
    tally = proof.close()
    assert (tally.commands, tally.events, tally.repeats, tally.unanswered) == (4, 5, 1, 0)
    assert kinds(tally) == [("unreadable", "", 5)]
    assert audited_definition(commands, events[0], "mapping:b").differences[0].subject == "mapping:b"


def audited_definition(commands: list[Any], value: bytes, only: str) -> VerifyCounts:
    """The proof of one definition that another one's event and its own changed one are given to."""
    proof = Audit(DefinitionsReplay(), only)
    proof.command(1, commands[1])
    proof.event(0, value)
    changed: Any = decode(value)
    proof.event(1, encode(replace(changed, definition_id=only)))
    return proof.close()
