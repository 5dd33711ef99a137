"""The index of identities with many links: up to date, bounded, and stored only when it changes."""

from app.profiles.fan_in import FACT, MAX_PROFILES, MAX_TRACKED_PROFILES, FanIn
from projections.profiles.identity_node import Node


def root(key: str, links: int) -> Node:
    return Node(key, edges={f"05:cookie:{number}\0{key}": [number, "b", 0] for number in range(links)})


def test_the_index_follows_its_nodes() -> None:
    fan_in = FanIn(None)
    fan_in.inspect(root("00:email:a", 10))
    assert (fan_in.profiles, fan_in.take_changes()) == ({}, {})
    fan_in.inspect(root("00:email:a", 11))
    stored = fan_in.take_changes()
    assert fan_in.profiles == {"00:email:a": {"00:email:a": 11}}
    fan_in.inspect(root("00:email:a", 11))
    assert fan_in.take_changes() == {}
    again = FanIn(stored[FACT])
    assert again.profiles == fan_in.profiles
    moved = root("00:email:a", 20)
    moved.parent = "00:email:0"
    again.inspect(moved)
    assert (again.profiles, again.take_changes()) == ({}, {FACT: b"{}"})
    again.inspect(moved)
    assert again.take_changes() == {}


def test_the_profiles_with_the_most_links_are_kept() -> None:
    fan_in = FanIn(None)
    for number in range(MAX_TRACKED_PROFILES + 1):
        fan_in.inspect(root(f"00:email:{number}", 11 + number % 7))
    fan_in.inspect(root("00:email:most", 90))
    fan_in.take_changes()
    assert len(fan_in.profiles) == MAX_PROFILES
    assert min(max(links.values()) for links in fan_in.profiles.values()) > 11
    assert fan_in.profiles["00:email:most"] == {"00:email:most": 90}


def test_identities_that_exceed_the_limit_of_their_kind_are_ordered_by_links() -> None:
    fan_in = FanIn(None)
    for number, links in enumerate((30, 60, 45)):
        fan_in.inspect(root(f"00:email:{number}", links))
    assert fan_in.exceeding({"email": 30, "cookie": 20}) == [
        ("00:email:1", "00:email:1"), ("00:email:2", "00:email:2"),
    ]  # fmt: skip
    assert fan_in.exceeding({"cookie": 10}) == []
