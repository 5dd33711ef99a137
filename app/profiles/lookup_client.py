"""Asks the owners of partitions about identities, wherever they run. Knows no HTTP status of the API and no rules."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
import orjson

from app.store.data_plane import PlaneStore
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key

TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=2)
MAX_KEYS: Final = 1_000  # that an owner is asked for at once
MAX_REDIRECTS: Final = 100  # pointers only go down, and each was the end of a chase once


class PartitionUnavailable(Exception):
    """No process answers for the partition: it is starting, or moving to another one. Ask again in a moment."""


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some nodes of a partition, and the offsets of the update topics that it had read when they were so."""

    offsets: Mapping[str, int]
    nodes: Sequence[Node]


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

    async def look(self) -> "GenerationReader":
        """Return what everything for one answer has to be asked with: it sees one generation alone."""
        assert self._session
        return GenerationReader(self._plane, self._partitions, self._session, (await self._plane.stage()).live)


class GenerationReader:
    """One look at the profiles of a generation."""

    def __init__(self, plane: PlaneStore, partitions: int, session: aiohttp.ClientSession, generation: int) -> None:
        self.generation = generation
        self._plane = plane
        self._partitions = partitions
        self._session = session

    async def root(self, key: str) -> Node | None:
        """Return the node that holds the profile of a ranked key; None when nothing is known of it.

        Raises:
            PartitionUnavailable: an owner can't be asked, or the profile is on its way from one to another.

        """
        node = await self.node(key)
        for _ in range(MAX_REDIRECTS):
            if node is None or not node.parent:
                return node
            node = await self.node(node.parent)
            if node is None:
                break  # it hasn't heard yet that it is somebody
        raise PartitionUnavailable(f"the identities of {key} are being brought together")

    async def node(self, key: str) -> Node | None:
        """Return the node of a ranked key."""
        (found,) = await self.nodes([key])
        return found

    async def nodes(self, keys: Sequence[str]) -> list[Node | None]:
        """Return the node of each ranked key, wherever they live."""
        by_partition: dict[int, list[str]] = defaultdict(list)
        for key in keys:
            by_partition[partition_of_key(key, self._partitions)].append(key)
        found: dict[str, Node | None] = {}
        for partition, those in by_partition.items():
            begin = 0
            while asked := those[begin : begin + MAX_KEYS]:
                told = await self._ask("nodes", partition, keys=asked)
                for key, facts in zip(asked, told, strict=False):  # of large ones only the first are told
                    found[key] = None if facts is None else Node(key, **facts)
                begin += len(told)
        return [found[key] for key in keys]

    async def references(self, key: str) -> Sequence[tuple[int, int, int, int, int]]:
        """Return where the raw messages behind a ranked key are: lane, partition, offset, index, rules_at.

        Of a key that is in more messages than anybody reads for an answer, only the first.
        """
        (found,) = await self._ask("references", partition_of_key(key, self._partitions), keys=[key])
        return [tuple(each) for each in found]

    async def page(self, partition: int, start: str, most: int) -> KeyPage:
        """Return up to `most` nodes that are kept in a partition from a ranked key on, in order: fewer large ones.

        Raises:
            PartitionUnavailable: the owner can't be asked.

        """
        found = await self._ask("page", partition, start=start, most=most)
        return KeyPage(found["offsets"], [Node(key, *facts) for key, facts in found["nodes"]])

    async def _ask(self, what: str, partition: int, **asked: Any) -> Any:
        owner = await self._plane.owner(self.generation, partition)
        if owner is None:
            raise PartitionUnavailable(f"no process has ever answered for partition {partition} of the profiles")
        body = orjson.dumps({"generation": self.generation, "partition": partition, **asked})
        headers: Mapping[str, str] = {"Authorization": f"Bearer {owner.secret}", "Content-Type": "application/json"}
        try:
            async with self._session.post(f"{owner.url}/{what}", data=body, headers=headers) as answer:
                if answer.status != 200:
                    raise PartitionUnavailable(
                        f"partition {partition} of the profiles is on its way to another process"
                    )
                return orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PartitionUnavailable(f"partition {partition} of the profiles doesn't answer: {error!r}") from error
