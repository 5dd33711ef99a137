"""Profiles are built anew beside the live ones and take their place: the same or by other rules, in spite of kills."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from projections.definitions.rebuild_spec import RebuildSpec, Scope, recipe_text
from projections.definitions.rules import key_hash
from schemas.definitions import DiscardRebuild, ForgetPerson, PromoteRebuild, StartRebuild
from tests.integration.conftest import FreshBroker
from tests.integration.support.plane import packed, settled, write_packed
from tests.integration.support.rebuilds import (
    APART,
    BOTH,
    COOKIES,
    FIRST,
    IDENTITY,
    ROLES,
    SEED,
    expected,
    look_for_ever,
    messages,
    plane,
    ranked,
    told,
    traffic,
    write,
)


async def test_what_is_rebuilt_by_the_same_rules_is_the_same_byte_for_byte(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those, later = messages(chance, 6_000, 400), messages(chance, 2_000, 200, "later.")
    keys, more = ranked(those, email=0, cookie=1), ranked(later, email=0, cookie=1)
    async with plane(tmp_path, fresh_broker) as made:
        running = made.running
        await write(running, chance, those[:3_000])
        await made.send(StartRebuild, "rebuild:same", recipe=recipe_text(RebuildSpec(IDENTITY, {"visits": BOTH})))
        await write(running, chance, those[3_000:], "another")
        await made.status("rebuild:same", "ready")
        await settled(running)
        before = await made.profiles(keys)
        assert told(before) == expected(those, "cookie", "email")
        writing = asyncio.create_task(write(running, chance, later, "later"))
        await made.send(PromoteRebuild, "rebuild:same")
        await made.live(1)
        await writing
        await settled(running)
        assert await made.profiles(keys) == before
        assert told(await made.profiles(more)) == expected(later, "cookie", "email")


async def test_other_identity_rules_split_and_merge_people_and_no_reader_sees_a_mix(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 3_000, 150)
    together, apart = ranked(those, email=0, cookie=1), ranked(those, cookie=0)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await settled(made.running)
        await made.apply("identity", APART, also=False)
        await made.apply("mapping:visits", COOKIES, also=False)
        seen: list[set[Any]] = []
        reading = asyncio.create_task(look_for_ever(made, [*together, *apart], seen))
        async with traffic(made.running, chance):
            await made.rebuild("rebuild:apart", RebuildSpec(APART, {"visits": COOKIES}))
            assert told(await made.profiles(apart)) == expected(those, "cookie")
            await made.rebuild("rebuild:back", RebuildSpec(IDENTITY, {"visits": BOTH}))
            assert told(await made.profiles(together)) == expected(those, "cookie", "email")
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert {frozenset(each) for each in seen} == {frozenset({1}), frozenset({2})}


async def test_a_rebuild_survives_kills_of_everything(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 12_000, 500)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those[:6_000])
        await made.apply("mapping:visits", COOKIES, also=False)
        await made.apply("identity", APART, also=False)
        recipe = recipe_text(RebuildSpec(APART, {"visits": COOKIES}))
        await made.send(StartRebuild, "rebuild:1", recipe=recipe)
        for number in range(4):
            await made.running.kill(chance.choice(("rebuild", "rebuild", *ROLES[1:])))
            at = 6_000 + 1_000 * number
            await write(made.running, chance, those[at : at + 1_000], f"more-{number}")
        await made.status("rebuild:1", "ready")
        await made.send(PromoteRebuild, "rebuild:1")
        for number in range(4, 6):
            await made.running.kill("rebuild")
            at = 6_000 + 1_000 * number
            await write(made.running, chance, those[at : at + 1_000], f"more-{number}")
            await made.running.kill(chance.choice(("profiles", "lane-realtime")))
        await made.live(1)
        await settled(made.running)
        assert told(await made.profiles(ranked(those, cookie=0))) == expected(those, "cookie")


async def test_a_bad_upload_is_undone_and_the_way_back_brings_it_again(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    good, bad = messages(chance, 600, 40), messages(chance, 400, 40, begin=600)
    again = messages(chance, 100, 10, begin=1_000)
    keys = ranked([*good, *bad], email=0, cookie=1)
    async with plane(tmp_path, fresh_broker) as made:
        await write_packed(made.running, "backfill", [packed("visits", "good/1", good), packed("visits", "bad/1", bad)])
        await settled(made.running)
        assert told(await made.profiles(keys)) == expected([*good, *bad], "cookie", "email")
        began = int(datetime.now(UTC).timestamp() * 1_000_000)
        undone = Scope(began=began, left_out={"bad": began})
        await made.rebuild("rebuild:undo", RebuildSpec(IDENTITY, {"visits": BOTH}, undone))
        assert told(await made.profiles(keys)) == expected(good, "cookie", "email")
        await write_packed(made.running, "backfill", [packed("visits", "bad/2", again)])  # mended, and sent again
        await settled(made.running)
        assert told(await made.profiles(keys)) == expected([*good, *again], "cookie", "email")
        await made.rebuild("rebuild:back", RebuildSpec(IDENTITY, {"visits": BOTH}))
        assert told(await made.profiles(keys)) == expected([*good, *bad, *again], "cookie", "email")


async def test_only_some_time_is_rebuilt_and_what_is_discarded_leaves_no_trace(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    those = messages(chance, 900, 40)
    keys = ranked(those, email=0, cookie=1)
    middle = Scope(since=(FIRST + 300) * 1_000_000, until=(FIRST + 600) * 1_000_000, began=1_900_000_000_000_000)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await made.send(StartRebuild, "rebuild:1", recipe=recipe_text(RebuildSpec(IDENTITY, {"visits": BOTH}, middle)))
        await made.status("rebuild:1", "ready")
        assert any((tmp_path / "rebuild").iterdir())
        await made.send(DiscardRebuild, "rebuild:1")
        await made.until("it is removed", lambda: not any((tmp_path / "rebuild").iterdir()))
        await settled(made.running)
        assert told(await made.profiles(keys)) == expected(those, "cookie", "email")
        await made.rebuild("rebuild:2", RebuildSpec(IDENTITY, {"visits": BOTH}, middle))
        assert told(await made.profiles(keys)) == expected(those[300:600], "cookie", "email")


async def test_who_is_forgotten_while_it_is_built_is_not_in_what_is_built(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    those, later = messages(chance, 600, 30), messages(chance, 300, 30, begin=600)
    keys = ranked([*those, *later], email=0, cookie=1)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await made.send(StartRebuild, "rebuild:1", recipe=recipe_text(RebuildSpec(IDENTITY, {"visits": BOTH})))
        await made.status("rebuild:1", "ready")
        gone = {f"email:p{n}@example.com" for n in range(5)} | {f"cookie:c{n}.{i}" for n in range(5) for i in range(3)}
        for n in range(5):
            person = [each for each in gone if each.startswith((f"email:p{n}@", f"cookie:c{n}."))]
            hashes = tuple(sorted(key_hash(each) for each in person))
            await made.send(ForgetPerson, "forgotten", key_hashes=hashes, at=datetime.now(UTC))
        await write(made.running, chance, later, "later")
        await made.send(PromoteRebuild, "rebuild:1")
        await made.live(1)
        await settled(made.running)
        left = [each for each in [*those, *later] if f"cookie:{each['cookie']}" not in gone]
        assert told(await made.profiles(keys)) == expected(left, "cookie", "email")
