"""Reads the ends of topics, the offsets of a group, and the next record at a position."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from projections.mapping.raw_messages import arrival
from projections.views.lag import PartitionId
from schemas.instants import moment

REQUEST_TIMEOUT_MS: Final = 2_000
NEXT_TIMEOUT_SECONDS: Final = 1.0  # for the next records of all positions
CLOSE_TIMEOUT_SECONDS: Final = 2.0  # of each client
POLL_MS: Final = 50
FETCH_BYTES: Final = 4_096  # Kafka returns a whole batch in any case

Next = tuple[int, datetime | None]  # the offset of a record, and its arrival; None: it has none, or is the end


class LagReader:
    """Reads committed records, as the lanes do. Failures are `KafkaError` or `OSError`."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._group = cluster.group_consumer(group)  # reads offsets only: it joins no group without a subscription
        self._consumer = cluster.consumer(
            isolation="read_committed", partition_bytes=FETCH_BYTES, request_timeout_ms=REQUEST_TIMEOUT_MS
        )

    async def start(self) -> None:
        """Connect."""
        await self._group.start()
        await self._consumer.start()

    async def close(self) -> None:
        """Disconnect. Failures are ignored, and so is a client that does not stop: others wait for the lag."""
        for client in (self._consumer, self._group):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await client.stop()

    async def ends(self, partitions: Sequence[PartitionId]) -> Mapping[PartitionId, int]:
        """Return the offset after the last committed record of each partition."""
        return await self._consumer.end_offsets([TopicPartition(*partition) for partition in partitions])

    async def positions(self, partitions: Sequence[PartitionId]) -> Mapping[PartitionId, int]:
        """Return the offsets that the group has committed."""
        offsets = await asyncio.gather(*(self._group.committed(TopicPartition(*partition)) for partition in partitions))
        return {partition: offset for partition, offset in zip(partitions, offsets, strict=True) if offset is not None}

    async def next_records(
        self, positions: Mapping[PartitionId, int], ends: Mapping[PartitionId, int]
    ) -> Mapping[PartitionId, Next]:
        """Return the first record at or after each position, without those that did not arrive in time."""
        partitions = [TopicPartition(*partition) for partition in positions]  # equal to the tuples
        self._consumer.assign(partitions)
        for partition in partitions:
            self._consumer.seek(partition, positions[partition])
        following: dict[PartitionId, Next] = {}
        try:
            async with asyncio.timeout(NEXT_TIMEOUT_SECONDS):
                while pending := [partition for partition in partitions if partition not in following]:
                    polled = await self._consumer.getmany(*pending, timeout_ms=POLL_MS)
                    for partition in pending:
                        if records := polled.get(partition):
                            following[partition] = (records[0].offset, _arrival(records[0]))
                        elif await self._consumer.position(partition) >= ends[partition]:
                            following[partition] = (ends[partition], None)
        except TimeoutError:
            pass
        finally:
            self._consumer.unsubscribe()
        return following


def _arrival(record: Any) -> datetime | None:
    """Return when a record arrived; the timestamp of a raw batch is that of its messages."""
    micros = arrival(record)
    return None if micros is None else moment(micros)
