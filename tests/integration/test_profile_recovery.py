"""Profiles outlive kills of everything that makes them, and damage to all that is kept of them."""

import asyncio
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from projections.definitions.rebuild_spec import RebuildSpec, recipe_text
from projections.profiles.partitioning import partition_of_key
from schemas.definitions import PromoteRebuild, StartRebuild
from schemas.topics import UPDATES
from tests.integration.api.test_collect import url_of
from tests.integration.conftest import FreshBroker
from tests.integration.support.plane import settled
from tests.integration.support.rebuilds import (
    APART,
    BOTH,
    COOKIES,
    IDENTITY,
    SEED,
    Plane,
    expected,
    look_for_ever,
    messages,
    plane,
    ranked,
    told,
    traffic,
    write,
)
from tests.integration.support.service import PATIENCE_SECONDS, has

MAKERS = ("api", "lane-realtime", "lane-backfill", "profiles")
KILLS = 12


async def collected(made: Plane, session: aiohttp.ClientSession, where: str, body: bytes, key: str) -> dict[str, Any]:
    """Send until it is acknowledged, as a careful client does."""
    token = (made.running.settings.data_dir / "admin-token").read_text().strip()
    headers = {
        "Authorization": f"Bearer {token}", "Idempotency-Key": key,
        "Content-Type": "application/x-ndjson" if "/bulk/" in where else "application/json",
    }  # fmt: skip
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                async with session.post(await url_of(made.running) + where, data=body, headers=headers) as answer:
                    said = orjson.loads(await answer.read())
                    if answer.status < 300:
                        return dict(said["data"])
                    assert answer.status in {409, 425, 429, 503}, said
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)  # nothing tells when the API is back


async def test_what_was_acknowledged_is_in_the_profiles_once_whatever_is_killed(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 18_000, 400)
    small, large = those[:6_000], those[6_000:]
    acknowledged: asyncio.Queue[int] = asyncio.Queue()

    async def client(number: int) -> list[str]:
        uploads = []
        async with aiohttp.ClientSession() as session:
            for n, at in enumerate(range(number * 100, len(small), 300)):
                body = orjson.dumps(small[at : at + 100])
                found = await collected(made, session, "/collect/json/visits", body, f"small-{at}")
                acknowledged.put_nowait(found["message_count"])
                if n % 5 == 0:
                    begin = (number * 4 + n // 5) * 1_000
                    body = b"".join(orjson.dumps(each) + b"\n" for each in large[begin : begin + 1_000])
                    found = await collected(made, session, "/collect/bulk/visits?lane=backfill", body, f"large-{begin}")
                    uploads.append(found["upload_id"])
        return uploads

    async def killer() -> None:
        for _ in range(KILLS):
            for _ in range(4):
                assert await acknowledged.get() == 100
            await made.running.kill(chance.choice(MAKERS))

    async with plane(tmp_path, fresh_broker, ("control", *MAKERS)) as made:
        uploads, _ = await asyncio.gather(asyncio.gather(*(client(number) for number in range(3))), killer())
        await settled(made.running)
        assert sum("SIGKILL" in each for each in made.running.said) >= KILLS - 1
        keys = ranked(those, email=0, cookie=1)
        assert told(await made.profiles(keys)) == expected(those, "cookie", "email")
        assert len({each for some in uploads for each in some}) == 12
        for upload in (each for some in uploads for each in some):
            events = await made.running.until(upload, has("JobCompleted"))
            counts = [each.counts for each in events if type(each).__name__ == "JobProgressed"]
            assert sum(each.accepted for each in counts) == 1_000


class Kept:
    """What is kept of profiles, and how to damage it. Needs the role that owns it to be stopped."""

    def __init__(self, made: Plane) -> None:
        self.own = made.running.settings.data_dir / "profiles"
        self.snapshots = Path(made.running.settings.snapshots())
        self.partitions = range(made.running.settings.partitions)

    def manifests(self, number: int) -> list[Path]:
        """The whole snapshots of a partition, the newest first."""
        found = self.snapshots.glob(f"partition-{number}/generation-0/*.json")
        whole = [each for each in found if each.read_bytes().endswith(b"}")]
        return sorted(whole, key=lambda each: each.name, reverse=True)

    def files(self, number: int) -> list[Path]:
        """The files that only the newest snapshot of a partition has."""
        newest, *older = (
            {file["sha256"] for file in orjson.loads(each.read_bytes())["snapshot"]["files"]}
            for each in self.manifests(number)
        )
        return [self.manifests(number)[0].parent / "files" / each for each in newest.difference(*older)]

    def nothing(self) -> None:
        """Nothing is damaged."""

    def no_snapshots(self) -> None:
        shutil.rmtree(self.snapshots)

    def no_stores(self) -> None:
        shutil.rmtree(self.own)

    def nothing_left(self) -> None:
        self.no_stores()
        self.no_snapshots()

    def flipped_in_snapshots(self) -> None:
        self.no_stores()
        for number in self.partitions:
            flip(max(self.files(number), key=lambda each: each.stat().st_size))

    def half_written_snapshots(self) -> None:
        self.no_stores()
        for number in self.partitions:
            file = max(self.files(number), key=lambda each: each.stat().st_size)
            os.truncate(file, file.stat().st_size // 2)

    def half_written_manifests(self) -> None:
        self.no_stores()
        for number in self.partitions:
            manifest = self.manifests(number)[0]
            os.truncate(manifest, manifest.stat().st_size // 2)

    def flipped_in_stores(self) -> None:
        for number in self.partitions:
            for each in (self.own / f"0.{number}").glob("*.sst"):
                flip(each)

    def stores_without_a_beginning(self) -> None:
        for number in self.partitions:
            (self.own / f"0.{number}" / "CURRENT").unlink()


def flip(path: Path) -> None:
    """Flip bits in the middle of a file."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, 2 * len(content) // 3):
        content[place] ^= 0xFF
    path.write_bytes(content)


DAMAGE: Sequence[tuple[Callable[[Kept], None], str]] = (
    (Kept.nothing, ""),
    (Kept.no_snapshots, ""),
    (Kept.no_stores, "begins with the snapshot"),
    (Kept.flipped_in_snapshots, "The one before it is tried"),
    (Kept.half_written_snapshots, "The one before it is looked at"),
    (Kept.half_written_manifests, "The one before it is looked at"),
    (Kept.flipped_in_stores, "can't be used"),
    (Kept.stores_without_a_beginning, "can't be used"),
    (Kept.nothing_left, ""),
)


async def newest_differs(kept: Kept) -> None:
    """Wait until the newest snapshot of each partition has something that those before it have not; nothing tells."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not has_news(kept):
            await asyncio.sleep(0.1)


def has_news(kept: Kept) -> bool:
    try:
        return all(len(kept.manifests(number)) > 1 and kept.files(number) for number in kept.partitions)
    except FileNotFoundError:  # the oldest was removed in between
        return False


async def test_what_is_kept_may_be_damaged_in_any_way(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 2_000, 200)
    roles = ("control", "lane-realtime", "lane-backfill", "profiles")
    async with plane(tmp_path, fresh_broker, roles, snapshot_interval_seconds=1) as made:
        kept, running = Kept(made), made.running
        await write(running, chance, those)
        for number, (damage, words) in enumerate(DAMAGE):
            async with traffic(running, chance):
                await newest_differs(kept)
                await running.stop_role("profiles")
            damage(kept)
            more = messages(chance, 200, 200, begin=len(those))
            await write(running, chance, more, f"more-{number}")
            those += more
            log = running.settings.data_dir / "logs" / "profiles-0.log"
            before = log.stat().st_size
            await running.start_role("profiles")
            await settled(running)
            found = told(await made.profiles(ranked(those, email=0, cookie=1)))
            assert found == expected(those, "cookie", "email"), damage.__name__
            said = log.read_bytes()[before:].decode()
            assert not words or said.count(words) >= len(kept.partitions), f"{damage.__name__}: {said}"


async def test_what_neither_a_snapshot_nor_the_log_has_any_more_is_no_empty_profile(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    async with plane(tmp_path, fresh_broker) as made:
        those = messages(chance, 500, 50)
        await write(made.running, chance, those)
        await settled(made.running)
        await made.running.stop_role("profiles")
        Kept(made).no_stores()
        await shorten(made, [TopicPartition(UPDATES["backfill"].name, 0)])
        await made.running.start_role("profiles")
        await made.running.until_said("Bring back a newer snapshot, or rebuild")
        keys = ranked(those, email=0, cookie=1)
        roots = [f"{'00' if each.startswith('email') else '01'}:{each}" for each in expected(those, "cookie", "email")]
        others = [each for each in roots if partition_of_key(each, made.running.settings.partitions) != 0]
        assert len(await made.profiles(others)) == len(others), "the other partitions answer"
        await made.rebuild("rebuild:lost", RebuildSpec(IDENTITY, {"visits": BOTH}))
        assert told(await made.profiles(keys)) == expected(those, "cookie", "email")


async def test_what_was_handed_over_and_lost_before_it_was_opened_is_handed_over_again(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    async with plane(tmp_path, fresh_broker) as made:
        those = messages(chance, 500, 50)
        await write(made.running, chance, those)
        await made.send(StartRebuild, "rebuild:1", recipe=recipe_text(RebuildSpec(IDENTITY, {"visits": BOTH})))
        await made.status("rebuild:1", "ready")
        await made.running.stop_role("profiles")
        await made.send(PromoteRebuild, "rebuild:1")
        await made.handed_over(1)
        snapshots = Path(made.running.settings.snapshots())
        shutil.rmtree(snapshots / "partition-0" / "generation-1")
        for each in (snapshots / "partition-1" / "generation-1" / "files").iterdir():
            flip(each)
        more = messages(chance, 500, 50, begin=500)  # which those who can open their partitions read meanwhile
        await write(made.running, chance, more, "more")
        those += more
        await made.running.start_role("profiles")
        await made.running.until_said("generation 1 is there. Bring one back")
        await made.live(1)
        assert told(await made.profiles(ranked(those, email=0, cookie=1))) == expected(those, "cookie", "email")


async def shorten(made: Plane, those: list[TopicPartition]) -> None:
    """Remove what a log holds, as its retention does."""
    servers = made.running.broker.bootstrap_servers
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        ends = await consumer.end_offsets(those)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_records({each: RecordsToDelete(before_offset=end) for each, end in ends.items()})
    finally:
        await admin.close()


@pytest.mark.parametrize("killed", ["rebuild", "profiles"])
async def test_nobody_sees_a_mix_though_the_change_of_generations_is_killed_in_its_middle(
    tmp_path: Path, fresh_broker: FreshBroker, killed: str
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 1_500, 100)
    together, apart = ranked(those, email=0, cookie=1), ranked(those, cookie=0)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await settled(made.running)
        await made.apply("identity", APART, also=False)
        await made.apply("mapping:visits", COOKIES, also=False)
        seen: list[set[Any]] = []
        reading = asyncio.create_task(look_for_ever(made, [*together, *apart], seen))
        async with traffic(made.running, chance):
            for generation, recipe, keys, kinds in (
                (1, RebuildSpec(APART, {"visits": COOKIES}), apart, ("cookie",)),
                (2, RebuildSpec(IDENTITY, {"visits": BOTH}), together, ("cookie", "email")),
            ):
                name = f"rebuild:{generation}"
                await made.send(StartRebuild, name, recipe=recipe_text(recipe))
                await made.status(name, "ready")
                await made.send(PromoteRebuild, name)
                await made.handed_over(generation)
                await made.running.kill(killed)
                await made.live(generation)
                assert told(await made.profiles(keys)) == expected(those, *kinds)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert {frozenset(each) for each in seen} == {frozenset({1}), frozenset({2})}
