"""Any order, repetition, split and lane of the same messages gives the same profiles, byte for byte: an oracle's."""

import os
import random
from dataclasses import replace

import pytest

from tests.laws.profile_world import Message, World, expected, some_messages

ORDERS = int(os.environ.get("ENTREPOT_ORDERS", "500"))


def any_way(messages: list[Message], chance: random.Random, max_identities: int = 1_000) -> World:
    """Hear of the messages in any order, in packets of any size, some of them more than once."""
    world = World(chance, chance.choice((1, 3, 4)), max_identities)
    sent = [*messages, *chance.sample(messages, len(messages) // 3)]
    chance.shuffle(sent)
    while sent:
        size = chance.choice((1, 2, 7))
        packet, sent = sent[:size], sent[size:]
        world.send(packet)
        if chance.random() < 0.3:
            world.settle()
    world.settle()
    return world


@pytest.mark.parametrize("keys", [4, 12, 40])
def test_every_order_gives_the_profiles_of_the_oracle(keys: int) -> None:
    for seed in range(ORDERS // 3 + 1):
        chance = random.Random(f"{keys}/{seed}")
        messages = some_messages(chance, 30, keys)
        one, other = any_way(messages, chance), any_way(messages, chance)
        wanted = expected(messages)
        assert one.profiles() == wanted, f"keys {keys}, seed {seed}"
        assert one.bytes_of() == other.bytes_of(), f"keys {keys}, seed {seed}"


@pytest.mark.parametrize("keys", [4, 12])
def test_who_was_forgotten_is_as_if_never_heard_of_up_to_then(keys: int) -> None:
    for seed in range(ORDERS // 5 + 1):
        chance = random.Random(f"forget {keys}/{seed}")
        messages = some_messages(chance, 40, keys)
        before, later = (
            messages[:20],
            [replace(message, at=message.at + chance.choice((0, 11))) for message in messages[20:]],
        )
        world = any_way(before, chance) if chance.random() < 0.5 else World(chance)
        person = chance.choice(sorted(expected(before).values(), key=lambda item: item["identities"]))["identities"]
        if not world.nodes:
            world.send(before)  # what is on its way meanwhile comes late, in any order
        world.forget(person, moment=11)
        world.settle()

        def heard(message: Message, person: list[str] = person) -> bool:
            return message.at > 11 or not set(message.keys) & set(person)

        world.send([item for item in later if heard(item)])
        world.settle()
        left = [item for item in messages[:20] + later if heard(item)]
        assert world.profiles() == expected(left), f"keys {keys}, seed {seed}"


def test_a_profile_of_too_many_identities_stays_bounded_and_the_same_in_every_order() -> None:
    for seed in range(20):
        chance = random.Random(f"many {seed}")
        messages = [
            Message("b", n, 1, ("00:shared:x", f"01:cookie:{n:05d}"), (None, None, None, None, None, 1, None))
            for n in range(60)
        ]
        worlds = [World(chance, max_identities=7) for _ in range(2)]
        for world in worlds:
            chance.shuffle(messages)
            world.send(messages[:30])
            world.settle()
            world.send(messages[30:])
            world.settle()
        one, other = (world.bytes_of()["00:shared:x"] for world in worlds)
        assert one == other, seed
        assert len(worlds[0].nodes["00:shared:x"].edges) == 7


def test_whoever_has_too_many_identities_and_by_whatever_way_every_order_gives_the_same() -> None:
    for seed in range(ORDERS):
        chance = random.Random(f"too many {seed}")
        messages = some_messages(chance, 40, chance.choice((12, 25, 40)))
        most = chance.choice((3, 5, 8))
        one, other = any_way(messages, chance, most), any_way(messages, chance, most)
        assert one.bytes_of() == other.bytes_of(), f"at most {most}, seed {seed}"
