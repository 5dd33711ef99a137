"""Compiled rules: when two sets of rules map messages alike."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import NO_RULES, Forgotten

IDENTITY = VersionedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0, "title": "x"}]}))


def test_forgetting_changes_no_mapping_but_other_identity_rules_and_a_promotion_do() -> None:
    rules = replace(NO_RULES, identity=IDENTITY)
    state = CompiledRules(rules, 7)
    assert state.maps_like(
        replace(rules, forgotten=Forgotten().including(["a" * 64], datetime(2026, 5, 4, tzinfo=UTC)))
    )
    assert not state.maps_like(NO_RULES)
    assert not state.maps_like(replace(rules, generation=1))
