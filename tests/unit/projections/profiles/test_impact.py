"""The predicted impact of messages equals their effect."""

from projections.profiles.identity_node import Node
from projections.profiles.impact import AttributeImpact, impact_of, settle
from projections.profiles.updates import Group, MappedMessages
from tests.canonical_nodes import canonical

COLUMNS = ("latest:city", "count:visits")
MOST = 1_000


def mapped_of(
    *messages: tuple[str, int, str | None], links: tuple[tuple[str, str, int], ...] = (), batch: str = "plan/1"
) -> MappedMessages:
    """What messages say: (key, time, city), and which of them name two identities."""
    rows = [[key, at, 0, index, 0, city, 1] for index, (key, at, city) in enumerate(messages)]
    return MappedMessages([Group("visits", COLUMNS, 0, [batch], rows)], [(*pair, at, batch, 0) for *pair, at in links])


def world(mapped: MappedMessages) -> dict[str, Node]:
    """The nodes that there are once messages were sent."""
    nodes: dict[str, Node] = {}
    settle(mapped, nodes, MOST)
    return nodes


def test_profiles_are_added_changed_or_unchanged() -> None:
    nodes = world(mapped_of(("00:id:ada", 50, "Graz"), ("00:id:eve", 50, "Wien"), batch="live/1"))
    history = MappedMessages([Group("visits", ("latest:city", "latest:street"), 0, ["plan/1"], [
        ["00:id:ada", 10, 0, 0, 0, "Linz", None],
        ["00:id:ada", 20, 0, 1, 0, "Enns", None],
        ["00:id:eve", 60, 0, 2, 0, "Wels", "Ring"],
        ["00:id:new", 30, 0, 3, 0, "Rust", None],
    ])])  # fmt: skip
    found = impact_of(history, nodes, MOST)
    assert (found.added, found.changed, found.joined, found.unchanged, found.older) == (1, 1, 0, 1, 2)
    assert found.attributes == {"city": AttributeImpact(1, 1), "street": AttributeImpact(1, 0)}


def test_counts_change_by_messages_of_any_age() -> None:
    found = impact_of(
        mapped_of(("00:id:ada", 10, None)), world(mapped_of(("00:id:ada", 50, "Graz"), batch="live/1")), MOST
    )
    assert (found.changed, found.unchanged, found.older) == (1, 0, 1)
    assert found.attributes == {"visits": AttributeImpact(0, 1)}


def test_a_message_with_two_identities_joins_their_profiles() -> None:
    nodes = world(mapped_of(("00:id:ada", 50, "Graz"), ("05:cookie:c", 40, "Wien"), batch="live/1"))
    history = mapped_of(
        ("00:id:ada", 30, "Linz"), links=(("05:cookie:c", "00:id:ada", 30), ("05:cookie:d", "00:id:ada", 30))
    )
    found = impact_of(history, nodes, MOST)
    assert (found.added, found.changed, found.joined, found.unchanged) == (0, 1, 1, 0)


def test_a_moved_profile_is_found_at_its_root() -> None:
    nodes = world(mapped_of(("00:id:ada", 50, "Graz"), links=(("05:cookie:c", "00:id:ada", 50),), batch="live/1"))
    assert nodes["05:cookie:c"].parent == "00:id:ada"
    found = impact_of(mapped_of(("05:cookie:c", 60, "Linz")), nodes, MOST)
    assert (found.added, found.changed, found.older) == (0, 1, 0)
    assert found.attributes == {"city": AttributeImpact(0, 1), "visits": AttributeImpact(0, 1)}


def test_an_identity_without_values_is_no_profile() -> None:
    nothing = MappedMessages([Group("visits", ("latest:city",), 0, ["plan/1"], [["00:id:ada", 10, 0, 0, 0, None]])])
    found = impact_of(nothing, {}, MOST)
    assert (found.added, found.changed, found.unchanged) == (0, 0, 0)


def test_the_impact_equals_the_effect_of_sending() -> None:
    live = mapped_of(("00:id:ada", 50, "Graz"), ("05:cookie:c", 40, "Wien"), batch="live/1")
    history = mapped_of(("05:cookie:c", 30, "Linz"), links=(("05:cookie:c", "00:id:ada", 30),))
    tried, sent = world(live), world(live)
    impact_of(history, tried, MOST)
    settle(history, sent, MOST)
    assert {key: canonical(node) for key, node in tried.items()} == {key: canonical(node) for key, node in sent.items()}
