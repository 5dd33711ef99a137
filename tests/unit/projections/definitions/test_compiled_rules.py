"""Compiled rules: the mappers of streams, when two sets of rules map messages alike, and forgotten persons."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from projections.definitions.compiled_rules import NEVER, CompiledRules, forgotten_until, is_forgotten, source_of
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import NO_RULES, Forgotten, key_hash, key_hashes
from projections.mapping.evaluation import map_messages
from schemas.instants import micros

IDENTITY = VersionedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0, "title": "x"}]}))
NOW = datetime(2026, 5, 4, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)


def test_forgetting_changes_no_mapping_but_other_identity_rules_and_a_promotion_do() -> None:
    rules = replace(NO_RULES, identity=IDENTITY)
    state = CompiledRules(rules, 7)
    assert state.maps_like(replace(rules, forgotten=Forgotten().including(["a" * 64], NOW)))
    assert not state.maps_like(NO_RULES)
    assert not state.maps_like(replace(rules, generation=1))


def test_only_streams_with_a_mapping_have_a_mapper() -> None:
    body = {"identities": [{"field": "mail", "kind": "email"}], "attributes": [], "timestamp": None}
    state = CompiledRules(
        replace(NO_RULES, identity=IDENTITY, mappings={"shop": VersionedBody(1, json.dumps(body))}), 7
    )
    mapper = state.mapper("shop")
    assert mapper
    assert mapper.map({"mail": "a"}, 5) == ("00:email:a", (), 5, [])
    assert state.mapper("other") is None
    source = source_of(state.rules, "shop")
    assert source
    assert map_messages(source, [(b'{"mail": "a"}', 5)]).results == [("00:email:a", (), 5, [])]
    assert source_of(state.rules, "other") is None
    without_kinds = source_of(replace(state.rules, identity=None), "shop")
    assert without_kinds
    assert without_kinds.identity == ""


def test_messages_up_to_the_time_of_forgetting_are_about_the_forgotten_person() -> None:
    forgotten = Forgotten().including([key_hash("email:a")], NOW)
    assert is_forgotten(forgotten, ["00:email:a"], micros(NOW))
    assert not is_forgotten(forgotten, ["00:email:a"], micros(NOW) + 1)
    assert not is_forgotten(forgotten, ["00:email:b"], micros(NOW))
    assert is_forgotten(forgotten, ["00:email:b", "05:email:a"], micros(EARLIER)), "ranks change, forgetting stays"


def test_the_latest_forgetting_of_any_key_counts() -> None:
    forgotten = Forgotten().including([key_hash("email:a")], NOW).including([key_hash("email:b")], EARLIER)
    assert forgotten_until(forgotten, ["00:email:b"]) == micros(EARLIER)
    assert forgotten_until(forgotten, ["00:email:b", "00:email:a", "00:email:c"]) == micros(NOW)
    assert forgotten_until(forgotten, ["00:email:c"]) == NEVER
    assert forgotten_until(forgotten, []) == NEVER


def test_the_forgotten_stay_forgotten_when_their_kind_gets_another_format() -> None:
    exact = Forgotten().including(key_hashes("email:Zo\u00eb@Example.com"), NOW)
    normal = Forgotten().including(key_hashes("email:zo\u00eb@example.com"), NOW)
    assert is_forgotten(exact, ["00:email:zo\u00eb@example.com"], micros(NOW)), "lanes use normal forms now"
    assert is_forgotten(normal, ["00:email:Zoe\u0308@Example.com"], micros(NOW)), "lanes use exact values again"
    assert not is_forgotten(normal, ["00:email:zoe@example.com"], micros(NOW))
    assert is_forgotten(Forgotten().including(key_hashes("tail:n1"), NOW), ["00:tail:n\u200b1"], micros(NOW))
    assert not is_forgotten(Forgotten().including(key_hashes("tail:n1"), NOW), ["00:tail:N1"], micros(NOW))
