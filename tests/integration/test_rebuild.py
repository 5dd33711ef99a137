"""A rebuild builds profiles beside the live ones and replaces them: with the same or other rules, despite kills."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

from app.supervisor.broker.server import Broker
from projections.definitions.rebuild_spec import RebuildSpec, Scope, spec_text
from projections.definitions.rules import key_hash
from schemas.definitions import DiscardRebuild, ForgetPerson, PromoteRebuild, StartRebuild
from tests.integration.support.plane import packed, until_settled, write_packed
from tests.integration.support.rebuilds import (
    COOKIE_IDENTITY,
    COOKIE_MAPPING,
    FIRST,
    IDENTITY,
    ROLES,
    SEED,
    VISITS_MAPPING,
    attributes_of,
    data_plane,
    expected,
    messages,
    ranked_keys,
    sampled_versions,
    traffic,
    write,
)


async def test_a_rebuild_with_the_same_rules_is_identical_byte_for_byte(tmp_path: Path, empty_broker: Broker) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits, later = messages(rng, 6_000, 400), messages(rng, 2_000, 200, "later.")
    keys, later_keys = ranked_keys(visits, email=0, cookie=1), ranked_keys(later, email=0, cookie=1)
    async with data_plane(tmp_path, empty_broker) as plane:
        running = plane.service
        await write(running, rng, visits[:3_000])
        await plane.send(
            StartRebuild, "rebuild:same", spec=spec_text(RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
        )
        await write(running, rng, visits[3_000:], "another")
        await plane.until_status("rebuild:same", "ready")
        await until_settled(running)
        before = await plane.profiles(keys)
        assert attributes_of(before) == expected(visits, "cookie", "email")
        writing = asyncio.create_task(write(running, rng, later, "later"))
        await plane.send(PromoteRebuild, "rebuild:same")
        await plane.until_live(1)
        await writing
        await until_settled(running)
        assert await plane.profiles(keys) == before
        assert attributes_of(await plane.profiles(later_keys)) == expected(later, "cookie", "email")


async def test_a_rebuild_with_other_identity_rules_splits_and_merges_profiles_without_mixed_reads(
    tmp_path: Path, empty_broker: Broker
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 3_000, 150)
    merged_keys, cookie_keys = ranked_keys(visits, email=0, cookie=1), ranked_keys(visits, cookie=0)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        await until_settled(plane.service)
        await plane.apply("identity", COOKIE_IDENTITY, activate=False)
        await plane.apply("mapping:visits", COOKIE_MAPPING, activate=False)
        async with sampled_versions(plane, [*merged_keys, *cookie_keys]) as samples, traffic(plane.service, rng):
            await plane.rebuild("rebuild:apart", RebuildSpec(COOKIE_IDENTITY, {"visits": COOKIE_MAPPING}))
            assert attributes_of(await plane.profiles(cookie_keys)) == expected(visits, "cookie")
            await plane.rebuild("rebuild:back", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
            assert attributes_of(await plane.profiles(merged_keys)) == expected(visits, "cookie", "email")
        assert {frozenset(versions) for versions in samples} == {frozenset({1}), frozenset({2})}


async def test_a_rebuild_survives_kills_of_all_roles(tmp_path: Path, empty_broker: Broker) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 12_000, 500)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits[:6_000])
        await plane.apply("mapping:visits", COOKIE_MAPPING, activate=False)
        await plane.apply("identity", COOKIE_IDENTITY, activate=False)
        text = spec_text(RebuildSpec(COOKIE_IDENTITY, {"visits": COOKIE_MAPPING}))
        await plane.send(StartRebuild, "rebuild:1", spec=text)
        for number in range(4):
            await plane.service.kill(rng.choice(("rebuild", "rebuild", *ROLES[1:])))
            at = 6_000 + 1_000 * number
            await write(plane.service, rng, visits[at : at + 1_000], f"more-{number}")
        await plane.until_status("rebuild:1", "ready")
        await plane.send(PromoteRebuild, "rebuild:1")
        for number in range(4, 6):
            await plane.service.kill("rebuild")
            at = 6_000 + 1_000 * number
            await write(plane.service, rng, visits[at : at + 1_000], f"more-{number}")
            await plane.service.kill(rng.choice(("profiles", "lane-realtime")))
        await plane.until_live(1)
        await until_settled(plane.service)
        assert attributes_of(await plane.profiles(ranked_keys(visits, cookie=0))) == expected(visits, "cookie")


async def test_a_rebuild_undoes_a_bad_upload_and_another_one_restores_it(tmp_path: Path, empty_broker: Broker) -> None:
    rng = random.Random(SEED)
    good, bad = messages(rng, 600, 40), messages(rng, 400, 40, begin=600)
    corrected = messages(rng, 100, 10, begin=1_000)
    keys = ranked_keys([*good, *bad], email=0, cookie=1)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write_packed(
            plane.service, "backfill", [packed("visits", "good/1", good), packed("visits", "bad/1", bad)]
        )
        await until_settled(plane.service)
        assert attributes_of(await plane.profiles(keys)) == expected([*good, *bad], "cookie", "email")
        began = int(datetime.now(UTC).timestamp() * 1_000_000)
        without_bad = Scope(until_set_at=began, excluded={"bad": began})
        await plane.rebuild("rebuild:undo", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}, without_bad))
        assert attributes_of(await plane.profiles(keys)) == expected(good, "cookie", "email")
        await write_packed(plane.service, "backfill", [packed("visits", "bad/2", corrected)])
        await until_settled(plane.service)
        assert attributes_of(await plane.profiles(keys)) == expected([*good, *corrected], "cookie", "email")
        await plane.rebuild("rebuild:back", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
        assert attributes_of(await plane.profiles(keys)) == expected([*good, *bad, *corrected], "cookie", "email")


async def test_a_discarded_rebuild_leaves_no_trace_and_another_one_rebuilds_a_time_range(
    tmp_path: Path, empty_broker: Broker
) -> None:
    rng = random.Random(SEED)
    visits = messages(rng, 900, 40)
    keys = ranked_keys(visits, email=0, cookie=1)
    middle = Scope(since=(FIRST + 300) * 1_000_000, until=(FIRST + 600) * 1_000_000, until_set_at=1_900_000_000_000_000)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        await plane.send(
            StartRebuild, "rebuild:1", spec=spec_text(RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}, middle))
        )
        await plane.until_status("rebuild:1", "ready")
        assert any((tmp_path / "rebuild").iterdir())
        await plane.send(DiscardRebuild, "rebuild:1")
        await plane.until("its files are removed", lambda: not any((tmp_path / "rebuild").iterdir()))
        await until_settled(plane.service)
        assert attributes_of(await plane.profiles(keys)) == expected(visits, "cookie", "email")
        await plane.rebuild("rebuild:2", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}, middle))
        assert attributes_of(await plane.profiles(keys)) == expected(visits[300:600], "cookie", "email")


async def test_a_rebuild_excludes_people_who_are_forgotten_while_it_runs(tmp_path: Path, empty_broker: Broker) -> None:
    rng = random.Random(SEED)
    visits, later = messages(rng, 600, 30), messages(rng, 300, 30, begin=600)
    keys = ranked_keys([*visits, *later], email=0, cookie=1)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        await plane.send(StartRebuild, "rebuild:1", spec=spec_text(RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING})))
        await plane.until_status("rebuild:1", "ready")
        forgotten = {f"email:p{n}@example.com" for n in range(5)} | {
            f"cookie:c{n}.{i}" for n in range(5) for i in range(3)
        }
        for n in range(5):
            person = [key for key in forgotten if key.startswith((f"email:p{n}@", f"cookie:c{n}."))]
            hashes = tuple(sorted(key_hash(key) for key in person))
            await plane.send(ForgetPerson, f"forgetting:{n}", key_hashes=hashes, at=datetime.now(UTC))
        await write(plane.service, rng, later, "later")
        await plane.send(PromoteRebuild, "rebuild:1")
        await plane.until_live(1)
        await until_settled(plane.service)
        remaining = [visit for visit in [*visits, *later] if f"cookie:{visit['cookie']}" not in forgotten]
        assert attributes_of(await plane.profiles(keys)) == expected(remaining, "cookie", "email")
