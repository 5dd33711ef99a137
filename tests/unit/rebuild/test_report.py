"""A report is one that is accepted, however large the values of profiles are; else a rebuild would never be ready."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from app.rebuild.diff import MAX_SAMPLES, ProfileSet, compare
from app.rebuild.report import MAX_SHOWN, report_of
from projections.definitions.rebuild import MAX_REPORT_BYTES
from projections.profiles.identity_node import EDGE_SEPARATOR, Node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLASSES = {"changed", "added", "removed", "split", "merged"}
LONG = 150  # characters: more than are shown
PROFILES = 25  # of each class: more than are shown
Nodes = Mapping[str, Node]


def profile(key: str, value: Any, others: int = 0) -> Node:
    """Return a profile with ten attributes of a value, or of a list of values."""
    registers: dict[str, Any] = {f"latest:a{n}": [7, "j/1", 0, value] for n in range(10)}
    if isinstance(value, list):
        registers = {f"union:a{n}": {json.dumps(item): [7, "j/1", 0] for item in value} for n in range(10)}
    return Node(key, "", registers, {f"{key}.{n:02d}{EDGE_SEPARATOR}{key}": [1, "b", 0] for n in range(others)})


def report(live: list[Node], rebuilt: list[Node]) -> dict[str, Any]:
    sides = []
    for nodes in (live, rebuilt):
        side = ProfileSet()
        for node in nodes:
            side.add(node.key, node.registers, node.edges)
        sides.append(side)
    by_key = [{node.key: node for node in nodes} for nodes in (live, rebuilt)]
    return report_of(compare(sides[0], sides[1], ()), NOW, by_key[0], by_key[1])


def some_of_each_class(before: Any, after: Any) -> dict[str, Any]:
    """Compare profiles of each class; identities are as long as they may be."""
    live, rebuilt = [], []
    for name in CLASSES:
        for n in range(PROFILES):
            key = f"00:email:{name}{n:02d}{'k' * 490}"
            alone = [profile(f"{key}.{m:02d}", "one of 20") for m in range(20)]
            live += {"added": [], "merged": alone}.get(name, [profile(key, before, 20)])
            rebuilt += {"removed": [], "split": alone}.get(name, [profile(key, after, 20)])
    return report(live, rebuilt)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a" * LONG, "b" * LONG),
        ("я" * LONG, "🛒" * LONG),
        ([f"{n} " + "я" * LONG for n in range(20)], [f"{n} " + "🛒" * LONG for n in range(20)]),
        ({"of": [{"я" * 200: ["🛒" * LONG] * 20}] * 20}, {"я" * n: {"🛒" * n: "🛒" * 200} for n in range(100, 130)}),
    ],
    ids=["text", "text of four bytes", "lists", "JSON"],
)
def test_a_report_fits_and_has_samples_of_every_class(before: Any, after: Any) -> None:
    found = some_of_each_class(before, after)
    assert len(orjson.dumps(found)) <= MAX_REPORT_BYTES
    assert found["samples"].keys() == CLASSES
    assert all(found["counts"][class_] == PROFILES for class_ in CLASSES)


def test_small_values_are_shown_unchanged() -> None:
    basket = {"items": 2, "paid": True}
    found = report([], [profile(f"00:email:{n:02d}", basket, 1) for n in range(PROFILES)])
    assert len(found["samples"]["added"]) == MAX_SAMPLES
    one = found["samples"]["added"][0]
    assert one["identities"] == [one["profile"], f"{one['profile']}.00"]
    assert one["attributes"] == {f"a{n}": basket for n in range(10)}


def test_a_shortened_value_has_the_number_of_cut_items() -> None:
    (one,) = report([], [profile("00:email:a", [f"{n:02d}" for n in range(12)], 11)])["samples"]["added"]
    assert one["attributes"]["a0"] == [*(f"{n:02d}" for n in range(10)), "… and 2 more"]
    assert one["identities"][-1] == "… and 2 more"
    (one,) = report([], [profile("00:email:a", {"items": [{"title": "x" * 200}]})])["samples"]["added"]
    assert one["attributes"]["a0"]["items"] == '[{"title":"' + "x" * 88 + "…"
    (one,) = report([], [profile("00:email:a", [["deep"]])])["samples"]["added"]
    assert one["attributes"]["a0"] == ['["deep"]']


def test_equal_values_with_other_merge_functions_show_these() -> None:
    before, after = (Node("00:email:a", "", {f"{merge}:city": [7, "j/1", 0, "Graz"]}) for merge in ("latest", "first"))
    (one,) = report([before], [after])["samples"]["changed"]
    assert (one["before"], one["after"]) == (
        {"attributes": {"city": "merged by latest"}},
        {"attributes": {"city": "merged by first"}},
    )


def test_a_value_that_is_shown_completely_has_no_number_of_cut_items() -> None:
    texts = [f"{n:02d}" for n in range(MAX_SHOWN)]
    (one,) = report([], [profile("00:email:a", texts)])["samples"]["added"]
    assert one["attributes"]["a0"] == texts
    basket = dict.fromkeys(texts, True)
    (one,) = report([], [profile("00:email:a", basket)])["samples"]["added"]
    assert one["attributes"]["a0"] == basket
