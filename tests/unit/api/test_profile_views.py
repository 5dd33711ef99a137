"""Profiles in JSON: timestamps as RFC 3339, other values unchanged."""

import json
from datetime import UTC, datetime

from app.api.profiles.views import profile_view
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Rules
from projections.profiles.crdt import Registers, count, latest, unite
from projections.profiles.identity_node import Node

KEY = "00:email:ada@example.com"
JOINED = datetime(2026, 1, 5, 9, tzinfo=UTC)
MICROS = int(JOINED.timestamp()) * 1_000_000


def test_attributes_that_are_times_are_shown_as_times() -> None:
    registers: Registers = {}
    for name, value in (("joined", MICROS), ("age", MICROS), ("odd", "a text"), ("far", 10**18), ("yes", True)):
        latest(registers, f"latest:{name}", (KEY, 0), value, MICROS, "upload/1", 0)
    unite(registers, "union:visits", (KEY, 0), MICROS, 1, "upload/1", 0)
    count(registers, "count:joined", (KEY, 0), 1, 2, "upload/1", 0)
    times = [{"name": name, "type": "timestamp"} for name in ("joined", "odd", "far", "yes", "visits")]
    body = {"attributes": [*times, {"name": "age", "type": "integer"}, {"name": "seen", "merge": "count"}]}
    rules = Rules(mappings={"people": VersionedBody(1, json.dumps(body))})
    shown = profile_view(
        Node(KEY, registers={name: register for name, register in registers.items() if name[:5] != "count"}), rules
    )
    assert {name: attribute.value for name, attribute in shown.attributes.items()} == {
        "joined": JOINED, "age": MICROS, "odd": "a text", "far": 10**18, "yes": True, "visits": [JOINED],
    }  # fmt: skip
    assert shown.attributes["joined"].timestamp == JOINED
    counted = profile_view(Node(KEY, registers={"count:joined": registers["count:joined"]}), rules)
    assert counted.attributes["joined"].value == 1
