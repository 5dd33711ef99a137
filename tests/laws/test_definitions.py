"""Random lives of definitions, sensible and hostile mixed: replay equals live, and repeats add nothing."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from projections.definitions import rebuild
from projections.definitions.definition import Definition, NoDefinition, decide, evolve, initial
from projections.definitions.rebuild import ProfileRebuild
from projections.definitions.rebuild_spec import AppliedBody, RebuildSpec, Scope, recipe_text
from projections.definitions.rules import NO_RULES, Rules, fold
from projections.definitions.state import EMPTY, DefinitionsState, handle
from projections.definitions.state import evolve as evolve_all
from schemas.definitions import (
    ApplyDefinition,
    DefinitionCommand,
    DefinitionEvent,
    DiscardDraft,
    DiscardRebuild,
    DraftDefinition,
    ForgetPerson,
    PromoteRebuild,
    RebuildCommand,
    ReportRebuilt,
    StartRebuild,
    stream_of,
)
from schemas.wire.codec import decode, encode
from tests.laws.words import anything, parts

DAWN = datetime(2026, 3, 28, 21, 0, tzinfo=UTC)
IDS = ("mapping:a", "mapping:b", "identity")
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
    StartRebuild,
    ReportRebuilt,
    PromoteRebuild,
    DiscardRebuild,
)
REBUILD_COMMANDS = get_args(RebuildCommand)
ANY_COMMAND = st.one_of([anything(item) for item in get_args(DefinitionCommand)])
ANY_EVENT = st.one_of([anything(item) for item in get_args(DefinitionEvent)])


@dataclass(frozen=True)
class Life:
    """Commands with their offsets, the events they led to, and the book and rules behind the last."""

    commands: tuple[DefinitionCommand, ...] = ()
    events: tuple[DefinitionEvent, ...] = ()
    book: DefinitionsState = EMPTY

    def then(self, command: DefinitionCommand) -> "Life":
        book, events = handle(self.book, command, len(self.commands))
        return Life((*self.commands, command), (*self.events, *events), book)

    @property
    def rules(self) -> Rules:
        return folded(self.events)


def folded(events: tuple[DefinitionEvent, ...]) -> Rules:
    rules = NO_RULES
    for event in events:
        rules = fold(rules, event)
    return rules


def state_after(events: tuple[DefinitionEvent, ...]) -> DefinitionsState:
    state = EMPTY
    for event in events:
        state = evolve_all(state, event)
    return state


def at_last_event(life: Life) -> DefinitionsState:
    """The state without the commands after the last event, which led to none."""
    return replace(life.book, command_offset=max((event.command_offset for event in life.events), default=-1))


def recipes(life: Life) -> st.SearchStrategy[str]:
    """Recipes of what there is, now and then of a version that there isn't, or whose bodies don't agree."""
    bodies = {name: definition.applied or definition.draft for name, definition in life.book.definitions.items()}
    known = {name: body for name, body in bodies.items() if body}
    versions = {name: [item, AppliedBody(item.version + 1, item.body)] for name, item in known.items()}
    chosen = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(version[:1] * 9 + version[1:]) for name, version in versions.items()}
    )

    def made(some: dict[str, AppliedBody]) -> str:
        mappings = {stream: item for name, item in some.items() if (stream := stream_of(name))}
        return recipe_text(RebuildSpec(some.get("identity"), mappings, Scope(since=5, left_out={"job": 7})))

    return st.one_of(chosen.map(made), st.sampled_from(["{}", "[", '{"identity": 7}']))


@st.composite
def commands(draw: Callable[..., Any], life: Life) -> DefinitionCommand:
    """A next command: mostly one that fits."""
    kind = draw(st.sampled_from(KINDS))
    known: dict[str, Any] = {"command_id": f"c{len(life.commands)}"}
    if draw(st.integers(0, 7)) == 0:
        return replace(draw(anything(kind)), **known)
    name = "forgotten" if kind is ForgetPerson else draw(st.sampled_from(IDS))
    if kind in REBUILD_COMMANDS:
        busy = life.book.under_way
        fresh = f"rebuild:{len(life.commands)}"
        name = busy.definition_id if busy and draw(st.integers(0, 5)) and kind is not StartRebuild else fresh
    found: Any = life.book.definitions.get(name) or life.book.rebuilds.get(name)
    version = found.version if found else 0
    known |= {"definition_id": name, "rules": 1, "issued_by": "user:ada"}
    known["issued_at"] = DAWN + timedelta(minutes=draw(st.integers(-5, 60)))
    known["expected_version"] = draw(st.sampled_from([None, None, version, version - 1]))
    likely: dict[str, Any] = {
        "body": IDENTITY_BODIES if name == "identity" else BODIES,
        "version": st.just(version),
        "key_hashes": st.lists(HASHES, min_size=1, max_size=3).map(tuple),
        "at": st.sampled_from([DAWN - timedelta(days=1), DAWN - timedelta(days=2)]),
        "recipe": recipes(life),
        "report": st.sampled_from(["{}", '{"added": 7}']),
    }
    facts = {part: draw(likely[part]) for part in parts(kind) if part in likely}
    made: DefinitionCommand = kind(**known | facts)
    return made


@st.composite
def lives(draw: Callable[..., Any], most: int = 14) -> Life:
    life = Life()
    for _ in range(draw(st.integers(1, most))):
        again = draw(st.integers(0, 9)) == 0 and life.commands
        life = life.then(draw(st.sampled_from(life.commands) if again else commands(life)))
    return life


@given(lives())
def test_replay_equals_live(life: Life) -> None:
    read_back: Any = tuple(decode(encode(event)) for event in life.events)
    assert state_after(read_back) == at_last_event(life)
    assert folded(read_back) == life.rules
    assert replace(life.rules, forgotten=NO_RULES.forgotten) == life.book.rules


@given(lives())
def test_two_deciders_give_the_same_bytes(life: Life) -> None:
    again = Life()
    for command in life.commands:
        again = again.then(decode(encode(command)))  # type: ignore[arg-type]
    assert [encode(event) for event in again.events] == [encode(event) for event in life.events]


@given(lives(), st.data())
def test_one_that_decides_again_from_an_older_book_repeats_what_is_known(life: Life, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(life.commands)))
    older = Life()
    for command in life.commands[:start]:
        older = older.then(command)
    again = older
    for command in life.commands[start:]:
        again = again.then(command)
    repeated = again.events[len(older.events) :]
    assert again.events == life.events
    assert folded((*life.events, *repeated)) == life.rules
    assert state_after((*life.events, *repeated)) == state_after(life.events)


@given(lives(), st.data())
def test_a_crash_between_two_events_changes_nothing(life: Life, data: st.DataObject) -> None:
    """A worker that folds what was published, and gets any earlier command again, publishes what is missing."""
    published = life.events[: data.draw(st.integers(0, len(life.events)))]
    state, missing = state_after(published), list[DefinitionEvent]()
    last = max((event.command_offset for event in published), default=-1)
    committed = data.draw(st.integers(0, last + 1))
    for offset in range(committed, len(life.commands)):
        state, events = handle(state, life.commands[offset], offset)
        missing += events
    assert (*published, *missing) == life.events
    assert state == replace(life.book, command_offset=max(state.command_offset, life.book.command_offset))


@given(lives(), st.data())
def test_a_repeated_command_adds_no_fact(life: Life, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(life.commands) - 1))
    command = life.commands[offset]
    assert handle(life.book, command, offset) == (life.book, ())
    state = life.book.definitions.get(command.definition_id)
    led_to = [event for event in life.events if event.command_id == command.command_id and event.seq]
    if not state or isinstance(command, REBUILD_COMMANDS):
        return
    if led_to:
        assert decide(state, command, 99, life.rules) == ()  # type: ignore[arg-type]
    assert decide(state, replace(command, command_id="new"), state.command_offset, life.rules) == ()  # type: ignore[arg-type]


@given(lives(), ANY_EVENT)
def test_evolve_and_fold_take_any_event_and_leave_their_input_alone(life: Life, event: Any) -> None:
    for state in (*life.book.definitions.values(), initial("identity")):
        seq = state.seq if isinstance(state, Definition) else 0
        for item in (event, replace(event, seq=seq + 1)):
            before, rules = deepcopy(state), life.rules
            assert isinstance(evolve(state, item), Definition | NoDefinition)
            assert isinstance(fold(rules, item), Rules)
            assert state == before
            assert rules == life.rules
    for known in (None, *life.book.rebuilds.values()):
        for item in (event, replace(event, seq=1 + (known.seq if known else 0))):
            after = rebuild.evolve(known, item)
            assert after is None or isinstance(after, ProfileRebuild)


@given(lives(most=5), ANY_COMMAND)
def test_any_command_gets_one_answer_that_can_be_written(life: Life, command: Any) -> None:
    for definition_id in (command.definition_id, "identity", "mapping:a", "forgotten", "rebuild:0", "rebuild:1"):
        fresh = replace(command, definition_id=definition_id, command_id="any")
        for item in (fresh, replace(fresh, rules=1, expected_version=None, issued_at=DAWN)):
            _, events = handle(life.book, item, 99)
            assert [decode(encode(event)) for event in events] == list(events)
            assert len(events) == 1


@given(lives())
def test_a_history_is_in_order_and_each_event_names_its_command(life: Life) -> None:
    for name in (*life.book.definitions, *life.book.rebuilds):
        history = [event for event in life.events if event.definition_id == name and event.seq]
        assert [item.seq for item in history] == list(range(1, len(history) + 1))
        assert all(one.occurred_at <= other.occurred_at for one, other in pairwise(history))
    for event in life.events:
        command = life.commands[event.command_offset]
        assert (event.command_id, event.actor) == (command.command_id, command.issued_by)


@given(lives())
def test_streams_in_force_agree(life: Life) -> None:
    merges = {mapping.body for mapping in life.rules.mappings.values() if '"x"' in mapping.body}
    assert len(merges) <= 1
    if life.rules.mappings:
        assert life.rules.identity
        kinds = life.rules.identity.body
        assert all("email" in kinds for mapping in life.rules.mappings.values() if "email" in mapping.body)


def test_lives_get_somewhere() -> None:
    """What is drawn here puts rules in force, and has rules refused for others' sake."""
    seen = set()

    @given(lives(most=40))
    def look(life: Life) -> None:
        seen.update(getattr(event, "code", type(event).__name__) for event in life.events)

    look()
    assert {
        "DefinitionApplied",
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
    } <= seen
