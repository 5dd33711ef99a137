"""The differences between two sets of profiles, compared with an oracle of sets."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

from app.rebuild.diff import BATCH_IDENTITIES, MAX_SAMPLES, ProfileComparison, ProfileSet, compare, identity_hash
from projections.profiles.identity_node import EDGE_SEPARATOR
from projections.profiles.profile_view import shown_key

Profiles = Mapping[frozenset[str], tuple[int, int]]  # ranked identities: a value, and the message that it comes from


def side(profiles: Profiles, chance: random.Random) -> ProfileSet:
    made = ProfileSet()
    for keys, (value, message) in chance.sample(
        sorted(profiles.items(), key=lambda item: sorted(item[0])), len(profiles)
    ):
        root, *others = sorted(keys)
        edges: dict[str, list[Any]] = {f"{other}{EDGE_SEPARATOR}{root}": [1, "b", 0] for other in others}
        made.add(root, {"latest:age": [7, "j/1", message, value]}, edges)
    made.add("00:email:nothing", {}, {})
    return made


def oracle(live: Profiles, rebuilt: Profiles, touched: Iterable[str]) -> dict[str, int]:
    names = [{frozenset(map(shown_key, keys)): facts for keys, facts in item.items()} for item in (live, rebuilt)]
    moving: set[frozenset[str]] = set()
    grown = {item for one in names for item in one if item & set(touched)}
    while grown - moving:
        moving |= grown
        grown = {item for one in names for item in one if any(item & other for other in moving)}
    ones, others = ({keys: facts for keys, facts in one.items() if keys not in moving} for one in names)
    found = dict.fromkeys(("unchanged", "changed", "added", "removed", "split", "merged", "evidence"), 0)
    for keys, (value, message) in ones.items():
        into = [other for other in others if other & keys]
        found["removed"] += not into
        found["split"] += len(into) > 1
        if len(into) == 1 and sum(bool(one & into[0]) for one in ones) == 1:
            same = into[0] == keys and others[into[0]][0] == value
            found["unchanged" if same else "changed"] += 1
            found["evidence"] += same and others[into[0]][1] != message
    for keys in others:
        of = [one for one in ones if one & keys]
        found["added"] += not of
        found["merged"] += len(of) > 1
    live_moving = moving & names[0].keys()
    alone = {item for item in moving & names[1].keys() if not any(item & other for other in names[0])}
    return found | {"moving": len(live_moving) + len(alone)}


def some_profiles(chance: random.Random, identities: list[str]) -> Profiles:
    keys = chance.sample(identities, chance.randrange(len(identities) + 1))
    profiles = {}
    while keys:
        count = chance.choice((1, 1, 2, 3))
        profiles[frozenset(keys[:count])] = (chance.randrange(2), chance.randrange(2))
        keys = keys[count:]
    return profiles


def counts_of(comparison: ProfileComparison) -> dict[str, int]:
    return dict(comparison.counts) | {"evidence": comparison.evidence_changed, "moving": comparison.changing}


def test_any_two_sides_differ_as_in_the_oracle() -> None:
    for seed in range(2_000):
        chance = random.Random(seed)
        identities = [f"00:email:{number}" for number in range(4)] + [f"01:cookie:{number}" for number in range(9)]
        live = some_profiles(chance, identities)
        rebuilt = dict(live) if chance.random() < 0.3 else some_profiles(chance, identities)
        for keys in chance.sample(sorted(rebuilt, key=sorted), min(len(rebuilt), chance.randrange(2))):
            del rebuilt[keys]
        touched = [shown_key(item) for item in chance.sample(identities, chance.choice((0, 0, 1, 2)))]
        found = compare(side(live, chance), side(rebuilt, chance), map(identity_hash, touched))
        assert counts_of(found) == oracle(live, rebuilt, touched), f"seed {seed}"
        assert found.profiles == (len(live), len(rebuilt))
        assert (found.digests[0] == found.digests[1]) == (
            found.evidence_changed == 0
            and all(count == 0 for name, count in found.counts.items() if name != "unchanged")
        ), f"seed {seed}"


def test_samples_have_keys_and_are_the_same_in_every_run() -> None:
    live = {frozenset({f"01:cookie:{n}"}): (1, 1) for n in range(200)}
    rebuilt: Profiles = {frozenset({f"01:cookie:{n}", f"01:cookie:{n + 1}"}): (1, 1) for n in range(0, 200, 2)}
    one = compare(side(live, random.Random(1)), side(rebuilt, random.Random(2)), ())
    other = compare(side(live, random.Random(3)), side(rebuilt, random.Random(4)), ())
    assert one.counts["merged"] == 100
    assert len(one.samples["merged"]) == MAX_SAMPLES
    assert [sample.rebuilt for sample in one.samples["merged"]] == [
        sample.rebuilt for sample in other.samples["merged"]
    ]
    first = one.samples["merged"][0]
    number = int(first.rebuilt[0].rpartition(":")[2])
    assert sorted(first.live) == sorted(f"01:cookie:{item}" for item in (number, number + 1))
    back = compare(side(rebuilt, random.Random(1)), side(live, random.Random(2)), ())
    assert back.counts["split"] == 100
    assert len(back.samples["split"][0].rebuilt) == 2
    gone = compare(side(live, random.Random(1)), side({}, random.Random(2)), ())
    assert gone.counts["removed"] == 200
    assert all(sample.live and not sample.rebuilt for sample in gone.samples["removed"])
    new = compare(side({}, random.Random(1)), side(live, random.Random(2)), ())
    assert new.counts["added"] == 200
    assert all(sample.rebuilt and not sample.live for sample in new.samples["added"])


def test_other_ranks_of_the_same_identities_are_no_difference() -> None:
    live, rebuilt = ProfileSet(), ProfileSet()
    live.add("00:email:a", {"latest:age": [7, "j/1", 0, 3]}, {"01:cookie:c\0" + "00:email:a": [1, "b", 0]})
    rebuilt.add("05:email:a", {"latest:age": [7, "j/1", 0, 3]}, {"09:cookie:c\0" + "05:email:a": [1, "b", 0]})
    found = compare(live, rebuilt, ())
    assert found.counts["unchanged"] == 1
    assert found.digests[0] == found.digests[1]


def test_a_profile_joined_in_two_batches_counts_once() -> None:
    many = BATCH_IDENTITIES // 2  # of three identities each
    live, rebuilt = ProfileSet(), ProfileSet()
    for number in range(many):
        key = f"00:email:{number}"
        edges: dict[str, list[Any]] = {
            f"01:cookie:{number}.{item}{EDGE_SEPARATOR}{key}": [1, "b", 0] for item in range(2)
        }
        live.add(key, {}, edges)
        rebuilt.add(key, {}, edges)
    assert BATCH_IDENTITIES % 3, "else no profile is on both sides of a bound"
    found = compare(live, rebuilt, [identity_hash("email:7"), identity_hash("cookie:9.1")])
    assert counts_of(found) == counts_of(compare(ProfileSet(), ProfileSet(), ())) | {"unchanged": many - 2, "moving": 2}
    assert found.digests[0] == found.digests[1]
