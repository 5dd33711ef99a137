"""Profiles do not depend on the order, repetition or grouping of messages, and match an independent oracle."""

import os
import random
from dataclasses import replace

import pytest

from tests.laws.profile_world import Message, World, expected, some_messages

ORDERS = int(os.environ.get("ENTREPOT_ORDERS", "500"))


def apply_randomly(messages: list[Message], rng: random.Random, max_identities: int = 1_000) -> World:
    """Apply messages in random order, in packets of random size, some of them more than once."""
    world = World(rng, rng.choice((1, 3, 4)), max_identities)
    sent = [*messages, *rng.sample(messages, len(messages) // 3)]
    rng.shuffle(sent)
    while sent:
        size = rng.choice((1, 2, 7))
        packet, sent = sent[:size], sent[size:]
        world.send(packet)
        if rng.random() < 0.3:
            world.settle()
    world.settle()
    return world


@pytest.mark.parametrize("keys", [4, 12, 40])
def test_every_order_gives_the_profiles_of_the_oracle(keys: int) -> None:
    for seed in range(ORDERS // 3 + 1):
        rng = random.Random(f"{keys}/{seed}")
        messages = some_messages(rng, 30, keys)
        one, other = apply_randomly(messages, rng), apply_randomly(messages, rng)
        oracle = expected(messages)
        assert one.profiles() == oracle, f"keys {keys}, seed {seed}"
        assert one.bytes_of() == other.bytes_of(), f"keys {keys}, seed {seed}"


@pytest.mark.parametrize("keys", [4, 12])
def test_a_deleted_person_has_no_messages_from_before_the_deletion(keys: int) -> None:
    for seed in range(ORDERS // 5 + 1):
        rng = random.Random(f"forget {keys}/{seed}")
        messages = some_messages(rng, 40, keys)
        before, later = (
            messages[:20],
            [replace(message, at=message.at + rng.choice((0, 11))) for message in messages[20:]],
        )
        world = apply_randomly(before, rng) if rng.random() < 0.5 else World(rng)
        person = rng.choice(sorted(expected(before).values(), key=lambda profile: profile["identities"]))["identities"]
        if not world.nodes:
            world.send(before)  # messages still in transit arrive late, in any order
        world.forget(person, moment=11)
        world.settle()

        def counts(message: Message, person: list[str] = person) -> bool:
            return message.at > 11 or not set(message.keys) & set(person)

        world.send([message for message in later if counts(message)])
        world.settle()
        remaining = [message for message in messages[:20] + later if counts(message)]
        assert world.profiles() == expected(remaining), f"keys {keys}, seed {seed}"


def test_a_profile_with_too_many_identities_is_bounded_in_any_order() -> None:
    for seed in range(20):
        rng = random.Random(f"many {seed}")
        messages = [
            Message("b", n, 1, ("00:shared:x", f"01:cookie:{n:05d}"), (None, None, None, None, None, 1, None))
            for n in range(60)
        ]
        worlds = [World(rng, max_identities=7) for _ in range(2)]
        for world in worlds:
            rng.shuffle(messages)
            world.send(messages[:30])
            world.settle()
            world.send(messages[30:])
            world.settle()
        one, other = (world.bytes_of()["00:shared:x"] for world in worlds)
        assert one == other, seed
        assert len(worlds[0].nodes["00:shared:x"].edges) == 7


@pytest.mark.slow
def test_profiles_with_too_many_identities_do_not_depend_on_the_order() -> None:
    for seed in range(ORDERS):
        rng = random.Random(f"too many {seed}")
        messages = some_messages(rng, 40, rng.choice((12, 25, 40)))
        max_identities = rng.choice((3, 5, 8))
        one, other = apply_randomly(messages, rng, max_identities), apply_randomly(messages, rng, max_identities)
        assert one.bytes_of() == other.bytes_of(), f"limit {max_identities}, seed {seed}"
