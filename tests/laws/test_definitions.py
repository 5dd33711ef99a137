"""Random histories of definitions, valid and hostile: replay equals live state, and repeats add nothing."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from projections.definitions import forgetting, rebuild
from projections.definitions.definition import Definition, decide, evolve
from projections.definitions.forgetting import Forgetting
from projections.definitions.rebuild import ProfileRebuild
from projections.definitions.rebuild_spec import RebuildSpec, Scope, VersionedBody, spec_text
from projections.definitions.rules import NO_RULES, Rules, evolve_rules
from projections.definitions.state import EMPTY, DefinitionsState, handle
from projections.definitions.state import evolve as evolve_all
from schemas.definitions import (
    ApplyDefinition,
    DefinitionCommand,
    DefinitionEvent,
    DiscardDraft,
    DiscardRebuild,
    DraftDefinition,
    ExtendForgetting,
    ForgetPerson,
    ForgettingCommand,
    ForgettingExtended,
    ForgettingStarted,
    PersonForgotten,
    PromoteRebuild,
    RebuildCommand,
    ReportForgotten,
    ReportRebuilt,
    StartRebuild,
    stream_of,
)
from schemas.wire.codec import decode, encode
from tests.laws.record_strategies import anything, field_strategies

START = datetime(2026, 3, 28, 21, 0, tzinfo=UTC)
IDS = ("mapping:a", "mapping:b", "identity")
FORGETTING_IDS = ("forgetting:a", "forgetting:b")
HASHES = st.sampled_from(["0" * 64, "1" * 64, "2" * 64])
MAPPING = '{"identities":[{"field":"n","kind":"tail"}],"attributes":[%s]}'
BODIES = st.sampled_from(
    [
        MAPPING % '{"name":"x","field":"x","type":"string","merge":"latest"}',
        MAPPING % '{"name":"x","field":"x","type":"string","merge":"first"}',
        '{"identities":[{"field":"m","kind":"email"}],"attributes":[{"name":"y","type":"integer","merge":"count"}]}',
        "{}",
        "[",
    ]
)
IDENTITY_BODIES = st.sampled_from(
    ['{"kinds":[{"kind":"tail","rank":0},{"kind":"email","rank":1}]}', '{"kinds":[{"kind":"tail","rank":3}]}', "{}"]
)
KINDS: tuple[Any, ...] = (
    DraftDefinition,
    ApplyDefinition,
    DraftDefinition,
    ApplyDefinition,
    DiscardDraft,
    ForgetPerson,
    ExtendForgetting,
    ReportForgotten,
    StartRebuild,
    ReportRebuilt,
    PromoteRebuild,
    DiscardRebuild,
)
REBUILD_COMMANDS = get_args(RebuildCommand)
FORGETTING_COMMANDS = get_args(ForgettingCommand)
ANY_COMMAND = st.one_of([anything(kind) for kind in get_args(DefinitionCommand)])
ANY_EVENT = st.one_of([anything(kind) for kind in get_args(DefinitionEvent)])


@dataclass(frozen=True)
class DefinitionsHistory:
    """Commands in offset order, their events, and the resulting state and rules."""

    commands: tuple[DefinitionCommand, ...] = ()
    events: tuple[DefinitionEvent, ...] = ()
    state: DefinitionsState = EMPTY

    def then(self, command: DefinitionCommand) -> "DefinitionsHistory":
        state, events = handle(self.state, command, len(self.commands))
        return DefinitionsHistory((*self.commands, command), (*self.events, *events), state)

    @property
    def rules(self) -> Rules:
        return rules_after(self.events)


def rules_after(events: tuple[DefinitionEvent, ...]) -> Rules:
    rules = NO_RULES
    for event in events:
        rules = evolve_rules(rules, event)
    return rules


def state_after(events: tuple[DefinitionEvent, ...]) -> DefinitionsState:
    state = EMPTY
    for event in events:
        state = evolve_all(state, event)
    return state


def at_last_event(history: DefinitionsHistory) -> DefinitionsState:
    """The state as of the last event: later commands produced no events."""
    return replace(history.state, command_offset=max((event.command_offset for event in history.events), default=-1))


def specs(history: DefinitionsHistory) -> st.SearchStrategy[str]:
    """Specs of existing definitions; some name a missing version or have conflicting bodies."""
    bodies = {name: definition.applied or definition.draft for name, definition in history.state.definitions.items()}
    present = {name: body for name, body in bodies.items() if body}
    versions = {name: [body, VersionedBody(body.version + 1, body.body)] for name, body in present.items()}
    chosen = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(version[:1] * 9 + version[1:]) for name, version in versions.items()}
    )

    def make_spec(drawn: dict[str, VersionedBody]) -> str:
        mappings = {stream: body for name, body in drawn.items() if (stream := stream_of(name))}
        return spec_text(RebuildSpec(drawn.get("identity"), mappings, Scope(since=5, excluded={"job": 7})))

    return st.one_of(chosen.map(make_spec), st.sampled_from(["{}", "[", '{"identity": 7}']))


@st.composite
def commands(draw: Callable[..., Any], history: DefinitionsHistory) -> DefinitionCommand:
    """A next command, mostly valid."""
    likely_kinds = (*KINDS, ReportRebuilt, PromoteRebuild, PromoteRebuild) if history.state.under_way else KINDS
    kind = draw(st.sampled_from(likely_kinds))
    fields: dict[str, Any] = {"command_id": f"c{len(history.commands)}"}
    if draw(st.integers(0, 7)) == 0:
        return replace(draw(anything(kind)), **fields)
    name = draw(st.sampled_from(FORGETTING_IDS if kind in FORGETTING_COMMANDS else IDS))
    if kind in REBUILD_COMMANDS:
        busy = history.state.under_way
        fresh = f"rebuild:{len(history.commands)}"
        name = busy.definition_id if busy and draw(st.integers(0, 5)) and kind is not StartRebuild else fresh
    state = history.state
    current: Any = state.definitions.get(name) or state.rebuilds.get(name) or state.forgettings.get(name)
    version = current.version if current else 0
    fields |= {"definition_id": name, "rules": 1, "issued_by": "user:ada"}
    fields["issued_at"] = START + timedelta(minutes=draw(st.integers(-5, 60)))
    fields["expected_version"] = draw(st.sampled_from([None, None, version, version - 1]))
    likely: dict[str, Any] = {
        "body": IDENTITY_BODIES if name == "identity" else BODIES,
        "version": st.just(version),
        "key_hashes": st.lists(HASHES, min_size=1, max_size=3).map(tuple),
        "profiles": st.integers(0, 3),
        "complete": st.booleans(),
        "at": st.sampled_from([START - timedelta(days=1), START - timedelta(days=2)]),
        "spec": specs(history),
        "report": st.sampled_from(["{}", '{"added": 7}']),
    }
    payload = {name: draw(likely[name]) for name in field_strategies(kind) if name in likely}
    command: DefinitionCommand = kind(**fields | payload)
    return command


@st.composite
def histories(draw: Callable[..., Any], max_commands: int = 14) -> DefinitionsHistory:
    history = DefinitionsHistory()
    for _ in range(draw(st.integers(1, max_commands))):
        again = draw(st.integers(0, 9)) == 0 and history.commands
        history = history.then(draw(st.sampled_from(history.commands) if again else commands(history)))
    return history


@given(histories())
def test_replay_equals_live(history: DefinitionsHistory) -> None:
    read_back: Any = tuple(decode(encode(event)) for event in history.events)
    assert state_after(read_back) == at_last_event(history)
    assert rules_after(read_back) == history.rules
    assert replace(history.rules, forgotten=NO_RULES.forgotten) == history.state.rules


@given(histories())
def test_handling_is_deterministic_to_the_byte(history: DefinitionsHistory) -> None:
    again = DefinitionsHistory()
    for command in history.commands:
        again = again.then(decode(encode(command)))  # type: ignore[arg-type]  # decode returns any record; the test knows which
    assert [encode(event) for event in again.events] == [encode(event) for event in history.events]


@given(histories(), st.data())
def test_handling_again_from_an_older_state_repeats_the_same_events(
    history: DefinitionsHistory, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(history.commands)))
    older = DefinitionsHistory()
    for command in history.commands[:start]:
        older = older.then(command)
    again = older
    for command in history.commands[start:]:
        again = again.then(command)
    repeated = again.events[len(older.events) :]
    assert again.events == history.events
    assert rules_after((*history.events, *repeated)) == history.rules
    assert state_after((*history.events, *repeated)) == state_after(history.events)


@given(histories(), st.data())
def test_a_crash_between_two_events_changes_nothing(history: DefinitionsHistory, data: st.DataObject) -> None:
    """A worker that restores published events and receives earlier commands again publishes the missing events."""
    published = history.events[: data.draw(st.integers(0, len(history.events)))]
    state, missing = state_after(published), list[DefinitionEvent]()
    last = max((event.command_offset for event in published), default=-1)
    committed = data.draw(st.integers(0, last + 1))
    for offset in range(committed, len(history.commands)):
        state, events = handle(state, history.commands[offset], offset)
        missing += events
    assert (*published, *missing) == history.events
    assert state == replace(history.state, command_offset=max(state.command_offset, history.state.command_offset))


@given(histories(), st.data())
def test_a_repeated_command_adds_no_events(history: DefinitionsHistory, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(history.commands) - 1))
    command = history.commands[offset]
    assert handle(history.state, command, offset) == (history.state, ())
    if isinstance(command, FORGETTING_COMMANDS):
        forgetting_state = history.state.forgettings.get(command.definition_id)
        assert forgetting_state is None or forgetting.decide(forgetting_state, command, offset) == ()  # type: ignore[arg-type]  # state and command match
    state = history.state.definitions.get(command.definition_id)
    earlier_events = [event for event in history.events if event.command_id == command.command_id and event.seq]
    if not state or isinstance(command, REBUILD_COMMANDS):
        return
    if earlier_events:
        assert decide(state, command, 99, history.rules) == ()  # type: ignore[arg-type]  # state and command match
    assert decide(state, replace(command, command_id="new"), state.command_offset, history.rules) == ()  # type: ignore[arg-type]  # state and command match


@given(histories(), ANY_EVENT)
def test_evolve_and_fold_accept_any_event_and_do_not_change_their_input(
    history: DefinitionsHistory, event: Any
) -> None:
    for state in (*history.state.definitions.values(), None):
        seq = state.seq if state else 0
        for candidate in (event, replace(event, seq=seq + 1)):
            before, rules = deepcopy(state), history.rules
            assert isinstance(evolve(state, candidate), Definition | None)
            assert isinstance(evolve_rules(rules, candidate), Rules)
            assert state == before
            assert rules == history.rules
    for current in (None, *history.state.rebuilds.values()):
        for candidate in (event, replace(event, seq=1 + (current.seq if current else 0))):
            after = rebuild.evolve(current, candidate)
            assert after is None or isinstance(after, ProfileRebuild)
    for forgetting_state in (None, *history.state.forgettings.under_way.values()):
        for candidate in (event, replace(event, seq=1 + (forgetting_state.seq if forgetting_state else 0))):
            before_event = deepcopy(forgetting_state)
            assert isinstance(forgetting.evolve(forgetting_state, candidate), Forgetting | None)
            assert forgetting_state == before_event


@given(histories())
def test_a_report_covers_all_identities_that_are_excluded_up_to_its_time(history: DefinitionsHistory) -> None:
    """Nothing is reported that the rules do not exclude, and nothing is added after the report."""
    for name in FORGETTING_IDS:
        events = [event for event in history.events if event.definition_id == name]
        hashes, reports = set[str](), list[PersonForgotten]()
        for event in events:
            if isinstance(event, ForgettingStarted | ForgettingExtended):
                assert not reports
                hashes |= set(event.key_hashes)
            elif isinstance(event, PersonForgotten):
                reports.append(event)
                assert event.identities == len(hashes)
        assert len(reports) <= 1
        for report in reports:
            assert all(history.rules.forgotten[hash_] >= report.at for hash_ in hashes)
        assert (name in history.state.forgettings.ended) == bool(reports)


@given(histories(max_commands=5), ANY_COMMAND)
def test_any_command_produces_one_encodable_event(history: DefinitionsHistory, command: Any) -> None:
    for definition_id in (command.definition_id, *IDS, *FORGETTING_IDS, "rebuild:0", "rebuild:1"):
        fresh = replace(command, definition_id=definition_id, command_id="any")
        for candidate in (fresh, replace(fresh, rules=1, expected_version=None, issued_at=START)):
            _, events = handle(history.state, candidate, 99)
            assert [decode(encode(event)) for event in events] == list(events)
            assert len(events) == 1


@given(histories())
def test_events_are_numbered_ordered_and_name_their_command(history: DefinitionsHistory) -> None:
    forgettings = history.state.forgettings
    for name in (*history.state.definitions, *history.state.rebuilds, *forgettings.under_way, *forgettings.ended):
        numbered = [event for event in history.events if event.definition_id == name and event.seq]
        assert [event.seq for event in numbered] == list(range(1, len(numbered) + 1))
        assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(numbered))
    for event in history.events:
        command = history.commands[event.command_offset]
        assert (event.command_id, event.actor) == (command.command_id, command.issued_by)


@given(histories())
def test_active_mappings_do_not_conflict(history: DefinitionsHistory) -> None:
    merges = {mapping.body for mapping in history.rules.mappings.values() if '"x"' in mapping.body}
    assert len(merges) <= 1
    if history.rules.mappings:
        assert history.rules.identity
        kinds = history.rules.identity.body
        assert all("email" in kinds for mapping in history.rules.mappings.values() if "email" in mapping.body)


def test_lives_get_somewhere() -> None:
    """Check that the strategies produce applied rules and every kind of refusal."""
    missing = {
        "DefinitionApplied",
        "ForgettingExtended",
        "PersonForgotten",
        "DraftDiscarded",
        "conflict",
        "version_mismatch",
        "no_draft",
        "RebuildPromoted",
        "RebuildDiscarded",
        "busy",
        "no_such_rebuild",
        "invalid_body",
    }

    @settings(max_examples=30)
    @given(histories(max_commands=40))
    def collect(history: DefinitionsHistory) -> None:
        missing.difference_update(getattr(event, "code", type(event).__name__) for event in history.events)

    for number in range(10):
        if missing:
            seed(number)(collect)()
    assert missing == set()
