"""The report of a rebuild against an oracle: how profiles would change, also during live traffic."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from app.rebuild.progress import RebuildProgress
from app.supervisor.broker.server import Broker
from projections.definitions.rebuild_spec import RebuildSpec, Scope, spec_text
from schemas.definitions import RebuildReady, StartRebuild
from tests.integration.support.plane import packed, until_settled, write_packed
from tests.integration.support.rebuilds import (
    COOKIE_IDENTITY,
    COOKIE_MAPPING,
    IDENTITY,
    SEED,
    TIMEOUT_SECONDS,
    VISITS_MAPPING,
    DataPlane,
    data_plane,
    expected,
    messages,
    traffic,
    write,
)

CLASSES = ("unchanged", "changed", "added", "removed", "split", "merged")


async def report_of(plane: DataPlane, name: str, spec: RebuildSpec) -> dict[str, Any]:
    """Start a rebuild, and return its report once it is ready."""
    await plane.send(StartRebuild, name, spec=spec_text(spec))
    return await ready_report(plane, name)


async def ready_report(plane: DataPlane, name: str) -> dict[str, Any]:
    """Wait until a rebuild is ready, and return its only report."""
    await plane.until_status(name, "ready")
    by_partition = await plane.service.committed("definitions.events")
    events = [event for partition in by_partition.values() for event in partition]
    (ready,) = (event for event in events if isinstance(event, RebuildReady) and event.definition_id == name)
    report: dict[str, Any] = orjson.loads(ready.report)
    print(name, report)
    return report


def only(**counts: int) -> dict[str, int]:
    return dict.fromkeys(CLASSES, 0) | {"changing": 0, "evidence_changed": 0} | counts


def identities(visits: list[dict[str, Any]], *kinds: str) -> Mapping[str, set[str]]:
    """Group identities that share a message, by best identity."""
    groups: list[set[str]] = []
    for visit in visits:
        named = {f"{kind}:{visit[kind]}" for kind in kinds if kind in visit}
        for other in [group for group in groups if group & named]:
            groups.remove(other)
            named |= other
        groups.append(named)
    return {min(group): group for group in groups if group}


def split_profiles(one: Mapping[str, set[str]], other: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the groups of `one` that are several in `other`, with the best identities there."""
    parts = {key: {name for name, keys in other.items() if keys & group} for key, group in one.items()}
    return {key: names for key, names in parts.items() if len(names) > 1}


async def test_with_the_same_rules_only_profiles_that_change_during_traffic_are_not_equal(
    tmp_path: Path, empty_broker: Broker
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 4_000, 300)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        async with traffic(plane.service, rng):
            report = await report_of(plane, "rebuild:same", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
        people = len(expected(visits, "cookie", "email"))
        assert report["equal"]
        assert report["live"]["digest"] == report["rebuilt"]["digest"]
        assert report["counts"] == only(unchanged=report["counts"]["unchanged"], changing=report["counts"]["changing"])
        assert report["counts"]["unchanged"] >= people
        assert report["samples"] == {}


async def test_other_identity_rules_are_reported_as_the_splits_and_merges_of_the_oracle(
    tmp_path: Path, empty_broker: Broker
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    visits = messages(rng, 2_000, 120)
    by_email, by_cookie = identities(visits, "cookie", "email"), identities(visits, "cookie")
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        await until_settled(plane.service)
        await plane.apply("identity", COOKIE_IDENTITY, activate=False)
        await plane.apply("mapping:visits", COOKIE_MAPPING, activate=False)
        spec = RebuildSpec(COOKIE_IDENTITY, {"visits": COOKIE_MAPPING})
        report = await report_of(plane, "rebuild:apart", spec)
        splits = split_profiles(by_email, by_cookie)
        assert report["counts"]["split"] == len(splits) > 50
        assert report["counts"] == only(split=len(splits), changed=len(by_email) - len(splits))
        for sample in report["samples"]["split"]:
            assert set(sample["split_into"]) == splits[min(sample["profile"], *sample["split_into"])]
        assert not report["equal"]
        await plane.promote("rebuild:apart", 1)
        report = await report_of(plane, "rebuild:back", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
        assert report["counts"] == only(merged=len(splits), changed=len(by_email) - len(splits))
        for sample in report["samples"]["merged"]:
            assert set(sample["merged_from"]) == splits[min(sample["profile"], *sample["merged_from"])]


async def test_the_effect_of_undoing_an_upload_is_reported_before_promotion(
    tmp_path: Path, empty_broker: Broker
) -> None:
    rng = random.Random(SEED)
    good, bad = messages(rng, 600, 40), messages(rng, 200, 60, begin=600)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write_packed(
            plane.service, "backfill", [packed("visits", "good/1", good), packed("visits", "bad/1", bad)]
        )
        await until_settled(plane.service)
        began = int(datetime.now(UTC).timestamp() * 1_000_000)
        spec = RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}, Scope(until_set_at=began, excluded={"bad": began}))
        report = await report_of(plane, "rebuild:undo", spec)
        before, after = (identities(visits, "cookie", "email") for visits in ([*good, *bad], good))
        profiles_before, profiles_after = (expected(visits, "cookie", "email") for visits in ([*good, *bad], good))
        split = split_profiles(before, after)
        removed = [key for key, group in before.items() if not any(group & other for other in after.values())]
        unchanged = [
            key
            for key, group in before.items()
            if after.get(key) == group and profile_in(profiles_before, group) == profile_in(profiles_after, group)
        ]
        assert report["counts"] == only(
            split=len(split), removed=len(removed), unchanged=len(unchanged),
            changed=len(before) - len(split) - len(removed) - len(unchanged),
        )  # fmt: skip
        assert report["live"]["profiles"] == len(before)
        assert report["rebuilt"]["profiles"] == len(after)
        sample = report["samples"]["changed"][0]
        assert sample["before"]["attributes"]["visits"] > sample["after"]["attributes"]["visits"]


def profile_in(profiles: Mapping[str, Any], group: set[str]) -> Any:
    return next(profile for key, profile in profiles.items() if key in group)


async def test_a_kill_during_the_comparison_does_not_change_the_report(tmp_path: Path, empty_broker: Broker) -> None:
    rng = random.Random(SEED)
    visits = messages(rng, 600, 40)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, visits)
        await until_settled(plane.service)
        await plane.service.stop_role("profiles")  # so that the comparison waits, and cannot end before the kill
        await plane.send(StartRebuild, "rebuild:1", spec=spec_text(RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING})))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while RebuildProgress.decode(await plane.store.progress("rebuild:1")).phase != "comparing":
                await asyncio.sleep(0.05)
        await plane.service.kill("rebuild")
        await plane.service.start_role("profiles")
        report = await ready_report(plane, "rebuild:1")
        assert report["counts"] == only(unchanged=len(expected(visits, "cookie", "email")))
        assert report["equal"]


async def test_a_rebuild_that_cannot_be_compared_is_ready_and_reports_the_reason(
    tmp_path: Path, empty_broker: Broker
) -> None:
    rng = random.Random(SEED)
    async with data_plane(tmp_path, empty_broker) as plane:
        await write(plane.service, rng, messages(rng, 200, 20))
        await until_settled(plane.service)
        await plane.service.stop_role("profiles")
        report = await report_of(plane, "rebuild:alone", RebuildSpec(IDENTITY, {"visits": VISITS_MAPPING}))
        assert "does not respond" in report["skipped_reason"]
        assert "counts" not in report
