"""Rebuilding, for tests: everything at work, people who are known by cookie and email, and an oracle of profiles."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from app.kafka.clients import KafkaCluster
from app.profiles.lookup_client import PartitionUnavailable, ProfilesClient
from app.rebuild.tasks import RebuildTasks
from app.store.data_plane import PlaneStore
from app.store.read_store import ReadStore
from projections.definitions.rebuild_spec import AppliedBody, RebuildSpec, recipe_text
from projections.profiles.profile_view import profile_of
from projections.profiles.updates import canonical
from schemas.definitions import ApplyDefinition, CommandEnvelope, DraftDefinition, PromoteRebuild, StartRebuild
from schemas.wire.codec import encode
from tests.integration.conftest import FreshBroker
from tests.integration.support.plane import packed, write_packed, write_single
from tests.integration.support.service import Service, service

SEED = 4_711
ROLES = ("control", "lane-realtime", "lane-backfill", "profiles", "rebuild")
PATIENCE_SECONDS = 120.0
FIRST = 1_700_000_000  # the time of the first message, in seconds since 1970
IDENTITY = AppliedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0}, {"kind": "cookie", "rank": 1}]}))
APART = AppliedBody(2, json.dumps({"kinds": [{"kind": "cookie", "rank": 0}]}))


def mapping(version: int, *kinds: str) -> AppliedBody:
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
    return AppliedBody(version, json.dumps(body))


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

    def __init__(self, running: Service, following: RebuildTasks, asking: ProfilesClient, stages: PlaneStore) -> None:
        self.running = running
        self.plane = stages
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

    async def apply(self, definition_id: str, rules: AppliedBody, *, also: bool = True) -> None:
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
            while (await self.asking.reader()).generation != generation:
                await asyncio.sleep(0.05)

    async def handed_over(self, generation: int) -> None:
        """Wait until a generation is there to be opened, beside the live one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while generation not in {(stage := await self.plane.stage()).coming, stage.live}:
                await asyncio.sleep(0.01)

    async def rebuild(self, name: str, recipe: RebuildSpec) -> None:
        """Have profiles built and go live."""
        generation = 1 + (await self.asking.reader()).generation
        await self.send(StartRebuild, name, recipe=recipe_text(recipe))
        await self.status(name, "ready")
        await self.promote(name, generation)

    async def promote(self, name: str, generation: int) -> None:
        """Have what was built go live."""
        await self.send(PromoteRebuild, name)
        await self.live(generation)

    async def profiles(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the profiles behind ranked keys, all of one generation, as their canonical bytes by best identity."""
        look = await self.asking.reader()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    roots = [await look.root(each) for each in keys]
                    return {each.key: canonical(each) for each in roots if each and each.registers}
                except PartitionUnavailable:
                    await asyncio.sleep(0.1)


def told(profiles: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return what profiles say to people, by best identity without its rank."""
    found = {}
    for each in profiles.values():
        key, _, registers, edges, _ = orjson.loads(each)
        shown = profile_of(key, registers, edges)
        found[shown.key] = {one.name: one.value for one in shown.attributes if one.name != "version"}
    return found


def ranked(those: Iterable[dict[str, Any]], **ranks: int) -> list[str]:
    return sorted({f"{rank:02d}:{kind}:{each[kind]}" for each in those for kind, rank in ranks.items() if kind in each})


@asynccontextmanager
async def plane(
    folder: Path, fresh_broker: FreshBroker, roles: Sequence[str] = ROLES, **settings: Any
) -> AsyncIterator[Plane]:
    """Run everything, with rules by which people are known by cookie and email."""
    async with service(folder, await fresh_broker(), roles, **settings) as running:
        following = RebuildTasks(KafkaCluster(running.broker.bootstrap_servers))
        store = await ReadStore.open(running.settings.database())
        try:
            await following.start()
            async with ProfilesClient(store.plane, running.settings.partitions) as asking:
                made = Plane(running, following, asking, store.plane)
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


async def look_for_ever(made: Plane, keys: list[str], seen: list[set[Any]]) -> None:
    """Note the versions of the rules in each look at some profiles."""
    while True:
        found = await made.profiles(random.Random(len(seen)).sample(keys, 40))
        shown = [orjson.loads(each) for each in found.values()]
        if versions := {registers["latest:version"][3] for _, _, registers, _, _ in shown}:
            seen.append(versions)


@asynccontextmanager
async def traffic(running: Service, chance: random.Random) -> AsyncIterator[None]:
    """Write messages of other people all the while."""
    over = asyncio.Event()

    async def trickle() -> None:
        for number in count():
            if over.is_set():
                return
            await write(running, chance, messages(chance, 100, 20, "other."), f"trickle-{number}")

    writing = asyncio.create_task(trickle())
    try:
        yield
    finally:
        over.set()  # a producer that is cancelled leaves tasks behind
        await writing
