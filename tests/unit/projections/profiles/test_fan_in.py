"""Identities with many links."""

from projections.profiles.fan_in import MIN_FAN_IN, fan_in_of, link_times


def test_identities_with_many_links_are_counted() -> None:
    few = {f"05:cookie:{number}\0" + "00:email:a": [number, "b", 0] for number in range(MIN_FAN_IN)}
    assert fan_in_of({}) == fan_in_of(few) == {}
    more = few | {"05:cookie:x\0" + "00:email:a": [0, "b", 0]}
    assert fan_in_of(more) == {"00:email:a": MIN_FAN_IN + 1}
    others = {"05:cookie:k\0" + f"00:email:{number}": [0, "b", 0] for number in range(12)}
    assert fan_in_of(more | others) == {"00:email:a": MIN_FAN_IN + 1, "05:cookie:k": 12}


def test_links_are_timed_by_the_first_message() -> None:
    edges = {
        "05:cookie:2\0" + "00:email:a": [20, "b", 0],
        "05:cookie:1\0" + "00:email:a": [10, "b", 0],
        "00:email:b\0" + "00:email:a": [15, "b", 0],
        "05:cookie:1\0" + "00:email:b": [5, "b", 0],
    }
    assert link_times(edges, "00:email:a") == [10, 15, 20]
    assert link_times(edges, "00:email:b") == [5, 15]
    assert link_times(edges, "00:email:c") == []
