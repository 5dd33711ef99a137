"""Asks the owners of partitions about identities, in whichever process they run."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import aiohttp
import orjson

from app.store.data_plane import PlaneStore
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key

TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=2)
MAX_KEYS: Final = 1_000  # in one request
MAX_HASHES: Final = 5_000  # in one request
MAX_POINTERS: Final = 100  # followed to a root; pointers only go down, and shortcuts keep chains short


class PartitionUnavailable(Exception):
    """The partition has no owner: a process is starting, or the partition is moving to another one. Retry shortly."""


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some nodes of a partition, and the offsets of the update topics that they include."""

    offsets: Mapping[str, int]
    nodes: Sequence[Node]


class FanInRow(NamedTuple):
    """An identity with many links: the root of its profile and its own key, both ranked."""

    root: str
    key: str
    links: int
    since: int  # event time of the link that exceeded the limit, in microseconds since 1970 UTC


class ProfilesClient:
    """A client of all owners; use it as an async context manager."""

    def __init__(self, plane: PlaneStore, partitions: int) -> None:
        self._plane = plane
        self._partitions = partitions
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._session
        await self._session.close()

    async def reader(self) -> "GenerationReader":
        """Return a reader of the live generation. Use one reader for all look-ups of one response."""
        assert self._session
        return GenerationReader(self._plane, self._partitions, self._session, (await self._plane.generations()).live)


class GenerationReader:
    """Reads the profiles of one generation."""

    def __init__(self, plane: PlaneStore, partitions: int, session: aiohttp.ClientSession, generation: int) -> None:
        self.generation = generation
        self._plane = plane
        self._partitions = partitions
        self._session = session

    async def root(self, key: str) -> Node | None:
        """Return the node that holds the profile of a ranked key; None when the key is unknown.

        Raises:
            PartitionUnavailable: an owner can't be reached, or the profile is moving from one node to another.

        """
        node = await self.node(key)
        for _ in range(MAX_POINTERS):
            if node is None or not node.parent:
                return node
            node = await self.node(node.parent)
            if node is None:
                break  # the state was sent, but has not arrived yet
        raise PartitionUnavailable(f"the identities of {key} are being merged")

    async def node(self, key: str) -> Node | None:
        """Return the node of a ranked key."""
        (node,) = await self.nodes([key])
        return node

    async def nodes(self, keys: Sequence[str]) -> list[Node | None]:
        """Return the node of each ranked key, from all partitions."""
        by_partition: dict[int, list[str]] = defaultdict(list)
        for key in keys:
            by_partition[partition_of_key(key, self._partitions)].append(key)
        nodes: dict[str, Node | None] = {}
        for partition, partition_keys in by_partition.items():
            begin = 0
            while batch := partition_keys[begin : begin + MAX_KEYS]:
                response = await self._post("nodes", partition, keys=batch)
                for key, node in zip(batch, response, strict=False):  # large nodes: only the first ones
                    nodes[key] = None if node is None else Node(key, **node)
                begin += len(response)
        return [nodes[key] for key in keys]

    async def references(self, key: str) -> Sequence[tuple[int, int, int, int, int]]:
        """Return the positions of the first raw messages of a key: lane, partition, offset, index, rules_offset."""
        (references,) = await self._post("references", partition_of_key(key, self._partitions), keys=[key])
        return [tuple(reference) for reference in references]

    async def keys(self, partition: int, hashes: Iterable[str]) -> list[str]:
        """Return the stored ranked keys of a partition whose SHA-256 (of `kind:value`) is one of `hashes`.

        The owner compares all keys, in slices, and has as much time for its other work: half a minute for a million.

        Raises:
            PartitionUnavailable: the owner can't be reached.

        """
        keys, wanted = list[str](), sorted(hashes)
        for begin in range(0, len(wanted), MAX_HASHES):
            start: str | None = ""
            while start is not None:
                sent_at = asyncio.get_running_loop().time()
                response = await self._post("keys", partition, hashes=wanted[begin : begin + MAX_HASHES], start=start)
                keys += response["keys"]
                start = response["next"]
                await asyncio.sleep(asyncio.get_running_loop().time() - sent_at)
        return keys

    async def page(self, partition: int, start: str, limit: int) -> KeyPage:
        """Return up to `limit` stored nodes of a partition from a ranked key on, in order; fewer when they are large.

        Raises:
            PartitionUnavailable: the owner can't be reached.

        """
        response = await self._post("page", partition, start=start, limit=limit)
        return KeyPage(response["offsets"], [Node(key, *stored) for key, stored in response["nodes"]])

    async def fan_in(self, partition: int, limits: Mapping[str, int]) -> list[FanInRow]:
        """Return the identities with more links than the limit of their kind, at most those with the most.

        Raises:
            PartitionUnavailable: the owner can't be reached.

        """
        return [FanInRow(*row) for row in await self._post("fan-in", partition, limits=limits)]

    async def _post(self, path: str, partition: int, **content: Any) -> Any:
        owner = await self._plane.owner(self.generation, partition)
        if owner is None:
            raise PartitionUnavailable(f"partition {partition} of the profiles has no owner yet")
        body = orjson.dumps({"generation": self.generation, "partition": partition, **content})
        headers: Mapping[str, str] = {"Authorization": f"Bearer {owner.secret}", "Content-Type": "application/json"}
        try:
            async with self._session.post(f"{owner.url}/{path}", data=body, headers=headers) as response:
                if response.status != 200:
                    raise PartitionUnavailable(f"partition {partition} of the profiles is moving to another process")
                return orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PartitionUnavailable(
                f"the owner of partition {partition} of the profiles does not respond: {error!r}"
            ) from error
