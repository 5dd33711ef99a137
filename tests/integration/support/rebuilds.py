"""Rebuilds for tests: a running data plane, visits identified by cookie and email, and an oracle of profiles."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from app.profiles.lookup_client import GenerationReader, PartitionUnavailable, ProfilesClient
from app.rebuild.tasks import RebuildTasks
from app.store.data_plane import PlaneStore
from app.store.read_store import ReadStore
from app.supervisor.broker.server import Broker
from projections.definitions.rebuild_spec import RebuildSpec, VersionedBody, spec_text
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import profile_of
from schemas.definitions import ApplyDefinition, CommandEnvelope, DraftDefinition, PromoteRebuild, StartRebuild
from schemas.wire.codec import encode
from tests.canonical_nodes import canonical
from tests.integration.support.plane import packed, write_packed, write_single
from tests.integration.support.service import Service, in_background, service

SEED = 4_711
ROLES = ("control", "lane-realtime", "lane-backfill", "profiles", "rebuild")
TIMEOUT_SECONDS = 120.0
FIRST = 1_700_000_000  # the time of the first message, in seconds since 1970
IDENTITY = VersionedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0}, {"kind": "cookie", "rank": 1}]}))
COOKIE_IDENTITY = VersionedBody(2, json.dumps({"kinds": [{"kind": "cookie", "rank": 0}]}))


def mapping(version: int, *kinds: str) -> VersionedBody:
    """Return a mapping that writes its own version to each profile, so that a reader can detect mixed versions."""
    attributes = [
        {"name": "version", "constant": version, "type": "integer", "merge": "latest"},
        {"name": "visits", "type": "integer", "merge": "count"},
        {"name": "spent", "field": "spent", "type": "integer", "merge": "sum"},
        {"name": "pages", "field": "page", "type": "string", "merge": "union"},
        {"name": "last", "field": "page", "type": "string", "merge": "latest"},
    ]
    body = {
        "identities": [{"field": kind, "kind": kind} for kind in kinds],
        "attributes": attributes,
        "timestamp": {"field": "at", "format": ["epoch_s"], "time_zone": "UTC"},
    }
    return VersionedBody(version, json.dumps(body))


VISITS_MAPPING = mapping(1, "cookie", "email")
COOKIE_MAPPING = mapping(2, "cookie")


def messages(rng: random.Random, count: int, people: int, prefix: str = "", begin: int = 0) -> list[dict[str, Any]]:
    """Return visits of people with three cookies each; three in ten visits also have the email."""
    visits = []
    for number in range(begin, begin + count):
        person = rng.randrange(people)
        message = {
            "cookie": f"{prefix}c{person}.{rng.randrange(3)}", "at": FIRST + number, "page": f"/{number % 7}",
            "spent": rng.randrange(100),
        }  # fmt: skip
        if rng.random() < 0.3:
            message["email"] = f"{prefix}p{person}@example.com"
        visits.append(message)
    return visits


def expected(visits: Iterable[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    """Return the expected attributes by best identity: an independent, simple implementation."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    identified = [(visit, [f"{kind}:{visit[kind]}" for kind in kinds if kind in visit]) for visit in visits]
    for _, keys in identified:
        for key in keys:
            one, other = sorted(
                (root(keys[0]), root(key)), key=lambda name: (kinds[::-1].index(name.split(":")[0]), name)
            )
            parent[other] = one
    profiles: dict[str, Any] = defaultdict(lambda: {"visits": 0, "spent": 0, "pages": set()})
    for visit, keys in identified:
        profile = profiles[root(keys[0])]
        profile["visits"] += 1
        profile["spent"] += visit["spent"]
        profile["pages"].add(visit["page"])
        profile["last"] = visit["page"]
    return {key: {**profile, "pages": sorted(profile["pages"])} for key, profile in profiles.items()}


class DataPlane:
    """A running service, and clients that command and query it as the API does."""

    def __init__(self, service: Service, tasks: RebuildTasks, client: ProfilesClient, store: PlaneStore) -> None:
        self.service = service
        self.store = store
        self.tasks = tasks
        self.client = client

    async def send(self, kind: type[CommandEnvelope], definition_id: str, **fields: Any) -> None:
        command: Any = kind(
            command_id=str(uuid4()), definition_id=definition_id, issued_at=datetime.now(UTC), issued_by="user:test",
            **fields,
        )  # fmt: skip
        assert self.service.producer
        await self.service.producer.send_and_wait(
            "definitions.commands", encode(command), key=definition_id.encode(), partition=0
        )

    async def apply(self, definition_id: str, rules: VersionedBody, *, activate: bool = True) -> None:
        """Draft rules and, with `activate`, apply them."""
        await self.send(DraftDefinition, definition_id, body=rules.body)
        if activate:
            await self.send(ApplyDefinition, definition_id, version=rules.version)

    async def until(self, goal: str, reached: Callable[[], Any]) -> None:
        """Poll a condition whose change sends no signal."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while not reached():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            tasks = {name: task.rebuild.status for name, task in self.tasks.tasks.items()}
            raise AssertionError(f"not reached: {goal}; rebuilds {tasks}, log {self.service.log_lines[-8:]}") from None

    async def until_status(self, rebuild_id: str, status: str) -> None:
        """Wait until a rebuild has a status."""
        await self.until(
            f"{rebuild_id} is {status}",
            lambda: (task := self.tasks.tasks.get(rebuild_id)) and task.rebuild.status == status,
        )

    async def until_live(self, generation: int) -> None:
        """Wait until look-ups are answered from this generation."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (await self.client.reader()).generation != generation:
                await asyncio.sleep(0.05)

    async def until_handed_over(self, generation: int) -> None:
        """Wait until the builder has handed over a generation to the partition owners."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while generation not in {(current := await self.store.generations()).next, current.live}:
                await asyncio.sleep(0.01)

    async def rebuild(self, name: str, spec: RebuildSpec) -> None:
        """Rebuild the profiles and promote the result."""
        generation = 1 + (await self.client.reader()).generation
        await self.send(StartRebuild, name, spec=spec_text(spec))
        await self.until_status(name, "ready")
        await self.promote(name, generation)

    async def promote(self, name: str, generation: int) -> None:
        """Promote a rebuild and wait until it is live."""
        await self.send(PromoteRebuild, name)
        await self.until_live(generation)

    async def profiles(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the profiles of ranked keys, all of one generation, as canonical bytes by best identity."""
        reader = await self.client.reader()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                try:
                    return {root.key: canonical(root) for root in await roots(reader, keys) if root.registers}
                except PartitionUnavailable:
                    await asyncio.sleep(0.1)


async def roots(reader: GenerationReader, keys: Iterable[str]) -> list[Node]:
    """Return the nodes that hold the profiles of ranked keys, as `reader.root` does, by few requests."""
    nodes = {node.key: node for node in await reader.nodes([*keys]) if node}
    while parents := {node.parent for node in nodes.values() if node.parent} - nodes.keys():
        for node in await reader.nodes(sorted(parents)):
            if node is None:
                raise PartitionUnavailable("a profile was sent to another partition, and has not arrived yet")
            nodes[node.key] = node
    return [node for node in nodes.values() if not node.parent]


def attributes_of(profiles: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return the attributes that users see, by best identity without its rank."""
    attributes = {}
    for profile in profiles.values():
        key, _, registers, edges, _ = orjson.loads(profile)
        shown = profile_of(key, registers, edges)
        attributes[shown.key] = {
            attribute.name: attribute.value for attribute in shown.attributes if attribute.name != "version"
        }
    return attributes


def ranked_keys(visits: Iterable[dict[str, Any]], **ranks: int) -> list[str]:
    return sorted(
        {f"{rank:02d}:{kind}:{visit[kind]}" for visit in visits for kind, rank in ranks.items() if kind in visit}
    )


@asynccontextmanager
async def data_plane(
    folder: Path, empty_broker: Broker, roles: Sequence[str] = ROLES, **settings: Any
) -> AsyncIterator[DataPlane]:
    """Run all roles, with rules that identify people by cookie and email."""
    async with service(folder, empty_broker, roles, **settings) as running:
        tasks = RebuildTasks(running.broker.cluster)
        store = await ReadStore.open(running.settings.database())
        try:
            await tasks.start()
            async with ProfilesClient(store.plane, running.settings.partitions) as client:
                plane = DataPlane(running, tasks, client, store.plane)
                await plane.apply("identity", IDENTITY)
                await plane.apply("mapping:visits", VISITS_MAPPING)
                await plane.until("the rules are active", lambda: "visits" in tasks.rules.mappings)
                yield plane
        finally:
            await tasks.stop()
            await store.close()


async def write(running: Service, rng: random.Random, visits: list[dict[str, Any]], name: str = "upload") -> None:
    """Write half of the visits to each lane, and some of the packed records twice."""
    half = len(visits) // 2
    await write_single(running, "realtime", "visits", visits[:half])
    records = [packed("visits", f"{name}/{n}", visits[n : n + 200]) for n in range(half, len(visits), 200)]
    await write_packed(running, "backfill", [*records, *rng.sample(records, len(records) // 3)])


@asynccontextmanager
async def sampled_versions(plane: DataPlane, keys: list[str]) -> AsyncIterator[list[set[Any]]]:
    """Read random profiles in the background; yield the rule versions that each sample was made by.

    A few samples a second, as a rebuild has a low priority.
    """
    samples: list[set[Any]] = []

    async def sample() -> None:
        while True:
            profiles = await plane.profiles(random.Random(len(samples)).sample(keys, 20))
            states = [orjson.loads(profile) for profile in profiles.values()]
            if versions := {registers["latest:version"][3] for _, _, registers, _, _ in states}:
                samples.append(versions)
            await asyncio.sleep(0.2)

    async with in_background(sample()):
        yield samples


@asynccontextmanager
async def traffic(running: Service, rng: random.Random) -> AsyncIterator[None]:
    """Write messages of other people in the background.

    At most a hundred a second: a rebuild, which has a low priority, has to catch up on a busy machine too.
    """
    stop = asyncio.Event()

    async def trickle() -> None:
        for number in count():
            if stop.is_set():
                return
            await write(running, rng, messages(rng, 20, 20, "other."), f"trickle-{number}")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.2)

    writing = asyncio.create_task(trickle())
    try:
        yield
    finally:
        stop.set()  # not cancel(): a cancelled producer leaves tasks behind
        await writing
