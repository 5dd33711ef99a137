"""The active rules are the fold of the events; a repeated event changes nothing."""

from dataclasses import replace
from datetime import datetime, timedelta
from time import process_time

from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import (
    MAX_LATEST_ENTRIES,
    NO_RULES,
    Forgotten,
    Rules,
    applied,
    evolve_rules,
    key_hash,
)
from schemas.definitions import DefinitionApplied, DefinitionEvent, ForgettingStarted
from tests.golden.samples import full
from tests.unit.projections.definitions.scenario import (
    START,
    apply,
    discard,
    draft,
    forget,
    given,
    identity,
    mapping,
    no_definitions,
)

ANN, BOB = key_hash("email:ann@example.com"), key_hash("tail:N14228")


def folded(*events: DefinitionEvent, rules: Rules = NO_RULES) -> Rules:
    for event in events:
        rules = evolve_rules(rules, event)
    return rules


def apply_promotion(definition_id: str, version: int) -> DefinitionApplied:
    return replace(full(DefinitionApplied), definition_id=definition_id, version=version, body=f'{{"v":{version}}}')


def test_the_hash_is_of_the_key_without_rank() -> None:
    assert BOB == "9c11d1bc38ed1d19af90d9b286c6ba567b291945e429995ad67db31a15e76d41"


def test_only_applied_versions_are_active() -> None:
    scenario, rules = no_definitions(), NO_RULES
    for command in (draft("identity", identity()), apply("identity"), draft(), discard(), draft(), apply(version=2)):
        scenario = scenario.when(command)
        rules = folded(*scenario.events, rules=rules)
    assert rules.identity
    assert rules.identity.version == 1
    assert {stream: item.version for stream, item in rules.mappings.items()} == {"flights": 2}
    assert rules == scenario.state.rules
    assert folded(*scenario.when(draft(body=mapping(x="min"))).events, rules=rules) is rules


def test_an_older_version_is_ignored() -> None:
    for name in ("identity", "mapping:a"):
        events = [apply_promotion(name, 1), apply_promotion(name, 2)]
        assert folded(*events, *events) == folded(*events)
        assert folded(*reversed(events)) == folded(events[1])
    assert applied(NO_RULES, "something later", VersionedBody(1, "{}")) is NO_RULES


def forgetting(*hashes: str, at: datetime = START) -> ForgettingStarted:
    return replace(full(ForgettingStarted), key_hashes=hashes, at=at)


def test_the_latest_time_of_forgetting_counts() -> None:
    later = START + timedelta(days=1)
    rules = folded(forgetting(ANN), forgetting(ANN, BOB, at=later), forgetting(BOB))
    assert rules.forgotten == {ANN: later, BOB: later}
    assert given(forget(ANN)).state.rules.forgotten == {}


def test_forgetting_many_people_is_fast_and_changes_no_earlier_rules() -> None:
    hashes = [f"{number:064x}" for number in range(100_000)]
    some = forgetting(ANN)
    events = [replace(some, key_hashes=(hash_,)) for hash_ in hashes]
    started, rules, halfway = process_time(), NO_RULES, NO_RULES
    for place, event in enumerate(events):
        rules = evolve_rules(rules, event)
        halfway = rules if place == 49_999 else halfway
    assert process_time() - started < 10
    assert (len(halfway.forgotten), len(rules.forgotten)) == (50_000, 100_000)
    assert hashes[49_999] in halfway.forgotten
    assert hashes[50_000] not in halfway.forgotten
    assert all(hash_ in rules.forgotten for hash_ in hashes)


def test_entries_are_counted_once() -> None:
    base = Forgotten().including((str(n) for n in range(MAX_LATEST_ENTRIES + 1)), START)
    both = base.including(["0", "new"], START + timedelta(1))
    assert len(both) == len(list(both)) == MAX_LATEST_ENTRIES + 2
    assert (both["0"], base["0"]) == (START + timedelta(1), START)
