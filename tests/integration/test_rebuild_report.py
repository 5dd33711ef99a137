"""What a rebuild's report says, beside an oracle: how profiles would change, while traffic goes on."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from app.rebuild.progress import RebuildProgress
from projections.definitions.rebuild_spec import RebuildSpec, Scope, recipe_text
from schemas.definitions import RebuildReady, StartRebuild
from tests.integration.conftest import FreshBroker
from tests.integration.support.plane import packed, settled, write_packed
from tests.integration.support.rebuilds import (
    APART,
    BOTH,
    COOKIES,
    IDENTITY,
    PATIENCE_SECONDS,
    SEED,
    Plane,
    expected,
    messages,
    plane,
    traffic,
    write,
)

CLASSES = ("unchanged", "changed", "added", "removed", "split", "merged")


async def report_of(made: Plane, name: str, recipe: RebuildSpec) -> dict[str, Any]:
    """Start a rebuild, and return its report once it is ready."""
    await made.send(StartRebuild, name, recipe=recipe_text(recipe))
    return await told_report(made, name)


async def told_report(made: Plane, name: str) -> dict[str, Any]:
    """Return the only report of a rebuild once it is ready."""
    await made.status(name, "ready")
    events = [each for those in (await made.running.committed("definitions.events")).values() for each in those]
    (ready,) = (each for each in events if isinstance(each, RebuildReady) and each.definition_id == name)
    found: dict[str, Any] = orjson.loads(ready.report)
    print(name, found)
    return found


def only(**counts: int) -> dict[str, int]:
    return dict.fromkeys(CLASSES, 0) | {"changing": 0, "evidence_changed": 0} | counts


def identities(those: list[dict[str, Any]], *kinds: str) -> Mapping[str, set[str]]:
    """Who is who, by the best identity: what messages name together is one person."""
    groups: list[set[str]] = []
    for each in those:
        named = {f"{kind}:{each[kind]}" for kind in kinds if kind in each}
        for other in [group for group in groups if group & named]:
            groups.remove(other)
            named |= other
        groups.append(named)
    return {min(group): group for group in groups if group}


def comes_apart(one: Mapping[str, set[str]], other: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Those of `one` that are several in `other`, and who they are then."""
    found = {key: {name for name, keys in other.items() if keys & group} for key, group in one.items()}
    return {key: those for key, those in found.items() if len(those) > 1}


async def test_nothing_but_what_moves_differs_while_traffic_goes_on_when_the_rules_are_the_same(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 4_000, 300)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        async with traffic(made.running, chance):
            found = await report_of(made, "rebuild:same", RebuildSpec(IDENTITY, {"visits": BOTH}))
        people = len(expected(those, "cookie", "email"))
        assert found["equal"]
        assert found["live"]["digest"] == found["rebuilt"]["digest"]
        assert found["counts"] == only(unchanged=found["counts"]["unchanged"], changing=found["counts"]["changing"])
        assert found["counts"]["unchanged"] >= people
        assert found["samples"] == {}


async def test_other_identity_rules_are_told_as_the_splits_and_merges_of_the_oracle(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 2_000, 120)
    together, apart = identities(those, "cookie", "email"), identities(those, "cookie")
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await settled(made.running)
        await made.apply("identity", APART, also=False)
        await made.apply("mapping:visits", COOKIES, also=False)
        recipe = RebuildSpec(APART, {"visits": COOKIES})
        found = await report_of(made, "rebuild:apart", recipe)
        splits = comes_apart(together, apart)
        assert found["counts"]["split"] == len(splits) > 50
        assert found["counts"] == only(split=len(splits), changed=len(together) - len(splits))
        for each in found["samples"]["split"]:
            assert set(each["into"]) == splits[min(each["profile"], *each["into"])]
        assert not found["equal"]
        await made.promote("rebuild:apart", 1)
        found = await report_of(made, "rebuild:back", RebuildSpec(IDENTITY, {"visits": BOTH}))
        assert found["counts"] == only(merged=len(splits), changed=len(together) - len(splits))
        for each in found["samples"]["merged"]:
            assert set(each["of"]) == splits[min(each["profile"], *each["of"])]


async def test_what_an_upload_has_brought_is_told_before_it_is_undone(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    good, bad = messages(chance, 600, 40), messages(chance, 200, 60, begin=600)
    async with plane(tmp_path, fresh_broker) as made:
        await write_packed(made.running, "backfill", [packed("visits", "good/1", good), packed("visits", "bad/1", bad)])
        await settled(made.running)
        began = int(datetime.now(UTC).timestamp() * 1_000_000)
        recipe = RebuildSpec(IDENTITY, {"visits": BOTH}, Scope(began=began, left_out={"bad": began}))
        found = await report_of(made, "rebuild:undo", recipe)
        before, after = (identities(each, "cookie", "email") for each in ([*good, *bad], good))
        values, known = (expected(each, "cookie", "email") for each in ([*good, *bad], good))
        apart = comes_apart(before, after)
        gone = [key for key, group in before.items() if not any(group & other for other in after.values())]
        same = [
            key
            for key, group in before.items()
            if after.get(key) == group and said(values, group) == said(known, group)
        ]
        assert found["counts"] == only(
            split=len(apart), removed=len(gone), unchanged=len(same),
            changed=len(before) - len(apart) - len(gone) - len(same),
        )  # fmt: skip
        assert found["live"]["profiles"] == len(before)
        assert found["rebuilt"]["profiles"] == len(after)
        sample = found["samples"]["changed"][0]
        assert sample["before"]["attributes"]["visits"] > sample["after"]["attributes"]["visits"]


def said(profiles: Mapping[str, Any], group: set[str]) -> Any:
    return next(profile for key, profile in profiles.items() if key in group)


async def test_a_kill_while_it_is_compared_changes_nothing_of_the_report(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    those = messages(chance, 600, 40)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await settled(made.running)
        await made.running.stop_role("profiles")  # so comparing waits, and is not over before the kill
        await made.send(StartRebuild, "rebuild:1", recipe=recipe_text(RebuildSpec(IDENTITY, {"visits": BOTH})))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while RebuildProgress.read_back(await made.plane.progress("rebuild:1")).phase != "comparing":
                await asyncio.sleep(0.05)
        await made.running.kill("rebuild")
        await made.running.start_role("profiles")
        found = await told_report(made, "rebuild:1")
        assert found["counts"] == only(unchanged=len(expected(those, "cookie", "email")))
        assert found["equal"]


async def test_a_rebuild_that_cannot_be_compared_is_ready_and_says_why(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, messages(chance, 200, 20))
        await settled(made.running)
        await made.running.stop_role("profiles")
        found = await report_of(made, "rebuild:alone", RebuildSpec(IDENTITY, {"visits": BOTH}))
        assert "doesn't answer" in found["skipped_reason"]
        assert "counts" not in found
