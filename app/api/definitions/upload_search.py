"""Finds uploads that are not jobs: the messages in Kafka are the only record of a request to `/collect/json`."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import Final
from uuid import UUID

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from schemas.topics import LANES

SEARCH_TIMEOUT_SECONDS: Final = 3.0


async def unknown_uploads(
    cluster: Cluster, upload_ids: Collection[str], partitions: int, seconds: float = SEARCH_TIMEOUT_SECONDS
) -> frozenset[str]:
    """Return the uploads of which no message is stored; none when the search takes too long.

    Failures are `KafkaError` or `OSError`.
    """
    by_partition = defaultdict[int, set[bytes]](set)
    for upload_id in upload_ids:
        by_partition[UUID(upload_id).int % partitions].add(upload_id.encode())
    unknown = set[bytes]()
    try:
        async with asyncio.timeout(seconds):
            for partition, keys in by_partition.items():
                searches = (_missing_keys(cluster, topic.name, partition, keys) for topic in LANES.values())
                unknown |= frozenset.intersection(*await asyncio.gather(*searches))
    except TimeoutError:
        return frozenset()
    return frozenset(key.decode() for key in unknown)


async def _missing_keys(cluster: Cluster, topic: str, partition: int, keys: set[bytes]) -> frozenset[bytes]:
    missing = set(keys)
    async with PartitionReader(cluster, topic, partition) as log:
        async for record in log.records():
            missing.discard(record.key or b"")
            if not missing:
                break
    return frozenset(missing)
