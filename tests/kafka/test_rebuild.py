"""Profiles are built anew beside the live ones and take their place: the same or by other rules, in spite of kills."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from app.profiles.asking import Asking, NobodyAnswers
from app.rebuild.following import Following
from app.store.read_store import ReadStore
from projections.profile_view import profile_of
from projections.recipe import Applied, Recipe, Scope, recipe_text
from projections.rules import key_hash
from projections.updates import canonical
from schemas.definitions import (
    ApplyDefinition,
    CommandEnvelope,
    DiscardRebuild,
    DraftDefinition,
    ForgetPerson,
    PromoteRebuild,
    StartRebuild,
)
from schemas.wire import encode
from tests.kafka.conftest import FreshBroker
from tests.kafka.plane import packed, settled, write_packed, write_single
from tests.kafka.service import Service, service

SEED = 4_711
ROLES = ("control", "lane-realtime", "lane-backfill", "profiles", "rebuild")
PATIENCE_SECONDS = 120.0
FIRST = 1_700_000_000  # the time of the first message, in seconds since 1970
IDENTITY = Applied(1, json.dumps({"kinds": [{"kind": "email", "rank": 0}, {"kind": "cookie", "rank": 1}]}))
APART = Applied(2, json.dumps({"kinds": [{"kind": "cookie", "rank": 0}]}))


def mapping(version: int, *kinds: str) -> Applied:
    """Rules whose profiles can be told from those of other versions: each has the version as an attribute."""
    attributes = [
        {"name": "version", "constant": version, "type": "integer", "merge": "latest"},
        {"name": "visits", "type": "integer", "merge": "count"},
        {"name": "spent", "field": "spent", "type": "integer", "merge": "sum"},
        {"name": "pages", "field": "page", "type": "string", "merge": "union"},
        {"name": "last", "field": "page", "type": "string", "merge": "latest"},
    ]
    body = {
        "identities": [{"field": each, "kind": each} for each in kinds],
        "attributes": attributes,
        "timestamp": {"field": "at", "format": ["epoch_s"], "time_zone": "UTC"},
    }
    return Applied(version, json.dumps(body))


BOTH = mapping(1, "cookie", "email")
COOKIES = mapping(2, "cookie")


def messages(chance: random.Random, count: int, people: int, prefix: str = "", begin: int = 0) -> list[dict[str, Any]]:
    """Visits of people with some cookies each; now and then they tell who they are."""
    found = []
    for number in range(begin, begin + count):
        person = chance.randrange(people)
        message = {
            "cookie": f"{prefix}c{person}.{chance.randrange(3)}", "at": FIRST + number, "page": f"/{number % 7}",
            "spent": chance.randrange(100),
        }  # fmt: skip
        if chance.random() < 0.3:
            message["email"] = f"{prefix}p{person}@example.com"
        found.append(message)
    return found


def expected(those: Iterable[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    """Return what profiles have to say, by the best identity: an oracle of a few lines."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    named = [(each, [f"{kind}:{each[kind]}" for kind in kinds if kind in each]) for each in those]
    for _, keys in named:
        for key in keys:
            one, other = sorted(
                (root(keys[0]), root(key)), key=lambda each: (kinds[::-1].index(each.split(":")[0]), each)
            )
            parent[other] = one
    found: dict[str, Any] = defaultdict(lambda: {"visits": 0, "spent": 0, "pages": set()})
    for each, keys in named:
        profile = found[root(keys[0])]
        profile["visits"] += 1
        profile["spent"] += each["spent"]
        profile["pages"].add(each["page"])
        profile["last"] = each["page"]
    return {key: {**each, "pages": sorted(each["pages"])} for key, each in found.items()}


class Plane:
    """A running service, asked and told as the API does."""

    def __init__(self, running: Service, following: Following, asking: Asking) -> None:
        self.running = running
        self.following = following
        self.asking = asking

    async def send(self, kind: type[CommandEnvelope], definition_id: str, **facts: Any) -> None:
        word: Any = kind(
            command_id=str(uuid4()), definition_id=definition_id, issued_at=datetime.now(UTC), issued_by="user:test",
            **facts,
        )  # fmt: skip
        assert self.running.producer
        await self.running.producer.send_and_wait(
            "definitions.commands", encode(word), key=definition_id.encode(), partition=0
        )

    async def apply(self, definition_id: str, rules: Applied, *, also: bool = True) -> None:
        """Draft rules, and have them in force."""
        await self.send(DraftDefinition, definition_id, body=rules.body)
        if also:
            await self.send(ApplyDefinition, definition_id, version=rules.version)

    async def until(self, what: str, holds: Callable[[], Any]) -> None:
        """Wait for something that sends no signal."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            tasks = {name: each.rebuild.status for name, each in self.following.tasks.items()}
            raise AssertionError(f"{what}: {tasks}; the roles said {self.running.said[-8:]}") from None

    async def status(self, rebuild_id: str, status: str) -> None:
        """Wait until a rebuild is in a state."""
        await self.until(
            f"{rebuild_id} is {status}",
            lambda: (task := self.following.tasks.get(rebuild_id)) and task.rebuild.status == status,
        )

    async def live(self, generation: int) -> None:
        """Wait until look-ups are answered from a generation."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.asking.look()).generation != generation:
                await asyncio.sleep(0.05)

    async def rebuild(self, name: str, recipe: Recipe) -> None:
        """Have profiles built and go live."""
        generation = 1 + (await self.asking.look()).generation
        await self.send(StartRebuild, name, recipe=recipe_text(recipe))
        await self.status(name, "ready")
        await self.send(PromoteRebuild, name)
        await self.live(generation)

    async def profiles(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the profiles behind ranked keys, all of one generation, as their canonical bytes by best identity."""
        look = await self.asking.look()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    roots = [await look.root(each) for each in keys]
                    return {each.key: canonical(each) for each in roots if each and each.cells}
                except NobodyAnswers:
                    await asyncio.sleep(0.1)


def told(profiles: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return what profiles say to people, by best identity without its rank."""
    found = {}
    for each in profiles.values():
        key, _, cells, edges, _ = orjson.loads(each)
        shown = profile_of(key, cells, edges)
        found[shown.key] = {one.name: one.value for one in shown.attributes if one.name != "version"}
    return found


def ranked(those: Iterable[dict[str, Any]], **ranks: int) -> list[str]:
    return sorted({f"{rank:02d}:{kind}:{each[kind]}" for each in those for kind, rank in ranks.items() if kind in each})


@asynccontextmanager
async def plane(folder: Path, fresh_broker: FreshBroker) -> AsyncIterator[Plane]:
    """Run everything, with rules by which people are known by cookie and email."""
    async with service(folder, await fresh_broker(), roles=ROLES) as running:
        following = Following(running.broker.bootstrap_servers)
        store = await ReadStore.open(running.settings.database())
        try:
            await following.start()
            async with Asking(store.plane, running.settings.partitions) as asking:
                made = Plane(running, following, asking)
                await made.apply("identity", IDENTITY)
                await made.apply("mapping:visits", BOTH)
                await made.until("the rules are in force", lambda: "visits" in following.rules.mappings)
                yield made
        finally:
            await following.stop()
            await store.close()


async def write(running: Service, chance: random.Random, those: list[dict[str, Any]], name: str = "upload") -> None:
    """Write messages to both lanes, some of them twice under the same id."""
    half = len(those) // 2
    await write_single(running, "realtime", "visits", those[:half])
    records = [packed("visits", f"{name}/{n}", those[n : n + 200]) for n in range(half, len(those), 200)]
    await write_packed(running, "backfill", [*records, *chance.sample(records, len(records) // 3)])


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
        await made.send(StartRebuild, "rebuild:same", recipe=recipe_text(Recipe(IDENTITY, {"visits": BOTH})))
        await write(running, chance, those[3_000:], "another")
        await made.status("rebuild:same", "ready")
        await settled(running)
        before = await made.profiles(keys)
        assert told(before) == expected(those, "cookie", "email")
        traffic = asyncio.create_task(write(running, chance, later, "later"))
        await made.send(PromoteRebuild, "rebuild:same")
        await made.live(1)
        await traffic
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
        traffic = asyncio.create_task(trickle(made.running, chance))
        await made.rebuild("rebuild:apart", Recipe(APART, {"visits": COOKIES}))
        assert told(await made.profiles(apart)) == expected(those, "cookie")
        await made.rebuild("rebuild:back", Recipe(IDENTITY, {"visits": BOTH}))
        assert told(await made.profiles(together)) == expected(those, "cookie", "email")
        for each in (reading, traffic):
            each.cancel()
        await asyncio.gather(reading, traffic, return_exceptions=True)
        assert {frozenset(each) for each in seen} == {frozenset({1}), frozenset({2})}


async def look_for_ever(made: Plane, keys: list[str], seen: list[set[Any]]) -> None:
    """Note the versions of the rules in each look at some profiles."""
    while True:
        found = await made.profiles(random.Random(len(seen)).sample(keys, 40))
        shown = [orjson.loads(each) for each in found.values()]
        if versions := {cells["latest:version"][3] for _, _, cells, _, _ in shown}:
            seen.append(versions)


async def trickle(running: Service, chance: random.Random) -> None:
    """Write messages of other people for ever."""
    for number in range(1_000_000):
        await write(running, chance, messages(chance, 100, 20, "other."), f"trickle-{number}")


async def test_a_rebuild_survives_kills_of_everything(tmp_path: Path, fresh_broker: FreshBroker) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    those = messages(chance, 12_000, 500)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those[:6_000])
        await made.apply("mapping:visits", COOKIES, also=False)
        await made.apply("identity", APART, also=False)
        recipe = recipe_text(Recipe(APART, {"visits": COOKIES}))
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
        await made.rebuild("rebuild:undo", Recipe(IDENTITY, {"visits": BOTH}, undone))
        assert told(await made.profiles(keys)) == expected(good, "cookie", "email")
        await write_packed(made.running, "backfill", [packed("visits", "bad/2", again)])  # mended, and sent again
        await settled(made.running)
        assert told(await made.profiles(keys)) == expected([*good, *again], "cookie", "email")
        await made.rebuild("rebuild:back", Recipe(IDENTITY, {"visits": BOTH}))
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
        await made.send(StartRebuild, "rebuild:1", recipe=recipe_text(Recipe(IDENTITY, {"visits": BOTH}, middle)))
        await made.status("rebuild:1", "ready")
        assert any((tmp_path / "rebuild").iterdir())
        await made.send(DiscardRebuild, "rebuild:1")
        await made.until("it is removed", lambda: not any((tmp_path / "rebuild").iterdir()))
        await settled(made.running)
        assert told(await made.profiles(keys)) == expected(those, "cookie", "email")
        await made.rebuild("rebuild:2", Recipe(IDENTITY, {"visits": BOTH}, middle))
        assert told(await made.profiles(keys)) == expected(those[300:600], "cookie", "email")


async def test_who_is_forgotten_while_it_is_built_is_not_in_what_is_built(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    chance = random.Random(SEED)
    those, later = messages(chance, 600, 30), messages(chance, 300, 30, begin=600)
    keys = ranked([*those, *later], email=0, cookie=1)
    async with plane(tmp_path, fresh_broker) as made:
        await write(made.running, chance, those)
        await made.send(StartRebuild, "rebuild:1", recipe=recipe_text(Recipe(IDENTITY, {"visits": BOTH})))
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
