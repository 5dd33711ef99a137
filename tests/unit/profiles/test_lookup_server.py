"""Look-ups return bounded responses; clients fetch the rest with further requests."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.process import utc_now
from app.profile_store.partition_store import Changes, PartitionStore, Shard
from app.profiles import lookup_client
from app.profiles.lookup_client import MAX_KEYS, GenerationReader, PartitionUnavailable, ProfilesClient
from app.profiles.lookup_server import MAX_RESPONSE_BYTES, LookupServer
from app.profiles.open_partitions import OpenPartitions
from app.profiles.partition import MAX_REFERENCES, REFERENCE
from app.store.read_store import ReadStore
from projections.definitions.rules import key_hash
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import shown_key
from projections.profiles.updates import encode_node


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@asynccontextmanager
async def answering(folder: Path, changes: Changes, host: str = "127.0.0.1") -> AsyncIterator[GenerationReader]:
    """One partition that has only what is given, and who asks its owner."""
    store = PartitionStore.open(folder / "store")
    store.write(changes)
    views = await ReadStore.open(f"sqlite+aiosqlite:///{folder / 'views.db'}")
    partitions = OpenPartitions(BatchProducer(MemoryCluster()), 1, utc_now)
    partitions.open(Shard(0, 0), store, max_nodes=100)
    try:
        async with (
            LookupServer(host, views.plane, partitions) as owner,
            ProfilesClient(views.plane, 1) as asking,
        ):
            await owner.announce(Shard(0, 0))
            yield await asking.reader()
    finally:
        store.close()
        await views.close()


def nodes(count: int, size: int) -> dict[str, Node]:
    """Nodes of about so many bytes each."""
    keys = [f"00:email:{number:06}" for number in range(count)]
    return {key: Node(key, registers={"latest:text": [0, "upload/1", 0, "x" * size]}) for key in keys}


def stored(those: Mapping[str, Node]) -> Changes:
    return Changes(nodes={key.encode(): encode_node(node) for key, node in those.items()})


@pytest.mark.parametrize(("count", "size"), [(2_500, 10), (40, 500_000), (3, 10_000_000)])
async def test_responses_are_bounded_and_no_node_is_missing(tmp_path: Path, count: int, size: int) -> None:
    those = nodes(count, size)
    most = MAX_RESPONSE_BYTES // size + 1
    async with answering(tmp_path, stored(those)) as reader:
        walked: list[str] = []
        start = ""
        while page := (await reader.page(0, start, MAX_KEYS)).nodes:
            assert len(page) <= most
            walked += [item.key for item in page]
            start = walked[-1] + "\0"
        assert walked == sorted(those)
        wanted = [*those, "00:email:unknown"]
        random.Random(7).shuffle(wanted)
        found = await reader.nodes(wanted)
        assert [item and item.registers for item in found] == [
            those[key].registers if key in those else None for key in wanted
        ]


async def test_keys_are_found_by_their_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_client, "MAX_HASHES", 2)
    those = nodes(2 * MAX_KEYS, 10)
    wanted = sorted(those)[:: MAX_KEYS // 2]
    async with answering(tmp_path, stored(those)) as reader:
        hashes = [key_hash(shown_key(key)) for key in (*wanted, "00:email:unknown")]
        assert sorted(await reader.keys(0, hashes)) == wanted
        assert await reader.keys(0, []) == []


async def test_references_of_a_key_are_bounded(
    tmp_path: Path,
) -> None:
    page = REFERENCE.pack(0, 0, 0, 0, 0) * 4_000
    refs: dict[bytes, bytes | None] = {b"00:email:all\0" + number.to_bytes(8): page for number in range(50)}
    refs |= {b"00:email:almost\0" + number.to_bytes(8): REFERENCE.pack(0, 0, number, 0, 0) for number in range(3)}
    async with answering(tmp_path, Changes(refs=refs)) as reader:
        assert len(await reader.references("00:email:all")) == MAX_REFERENCES
        assert [reference[2] for reference in await reader.references("00:email:almost")] == [0, 1, 2]
        assert await reader.references("00:email:al") == []


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
async def test_an_owner_with_an_ipv6_address_is_found(tmp_path: Path) -> None:
    refs: dict[bytes, bytes | None] = {b"00:email:a\0" + bytes(8): REFERENCE.pack(0, 0, 7, 0, 0)}
    async with answering(tmp_path, Changes(refs=refs), "::1") as reader:
        assert [reference[2] for reference in await reader.references("00:email:a")] == [7]


async def test_a_bearer_that_is_not_utf_8_is_unauthorized(tmp_path: Path) -> None:
    views = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    partitions = OpenPartitions(BatchProducer(MemoryCluster()), 1, utc_now)
    async with LookupServer("127.0.0.1", views.plane, partitions) as server:
        await server.announce(Shard(0, 0))
        owner = await views.plane.owner(0, 0)
        assert owner
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(owner.url).port)
        writer.write(b"POST /nodes HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
    await views.close()


async def test_a_profile_that_moves_to_a_better_identity_is_unavailable_not_unknown(tmp_path: Path) -> None:
    moved, missing = Node("05:cookie:c", parent="00:email:ada"), "05:cookie:unknown"
    async with answering(tmp_path / "before", stored({moved.key: moved})) as reader:
        with pytest.raises(PartitionUnavailable, match="being merged"):
            await reader.root(moved.key)
        assert await reader.root(missing) is None
    arrived = Node("00:email:ada", registers={"latest:city": [0, "upload/1", 0, "Graz"]})
    async with answering(tmp_path / "after", stored({item.key: item for item in (moved, arrived)})) as reader:
        found = await reader.root(moved.key)
        assert found
        assert found.registers == arrived.registers
