"""Asks Kafka where topics end, where a group is, and which record comes next somewhere. Keeps one connection for it."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import KafkaCluster
from projections.mapping.raw_messages import UNREADABLE, open_raw
from projections.views.lag import Place
from schemas.instants import moment
from schemas.topics import LANES

REQUEST_MS: Final = 2_000
POLL_TIMEOUT_SECONDS: Final = 1.0  # for the records that come next
POLL_MS: Final = 50
FEW_BYTES: Final = 4_096  # Kafka gives a whole batch in any case
RAW: Final = frozenset(each.name for each in LANES.values())

Next = tuple[int, datetime | None]  # the offset of a record, and since when it waits; None: the end, there is none


class LagReader:
    """Reads committed records, as the lanes do. Whatever goes wrong is a `KafkaError` or an `OSError`."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._admin = cluster.admin(REQUEST_MS)
        self._consumer = cluster.consumer(
            isolation="read_committed", partition_bytes=FEW_BYTES, request_timeout_ms=REQUEST_MS
        )

    async def start(self) -> None:
        """Connect."""
        await self._admin.start()
        await self._consumer.start()

    async def close(self) -> None:
        """Disconnect, as far as that is possible."""
        with contextlib.suppress(Exception):
            await self._consumer.stop()
        with contextlib.suppress(Exception):
            await self._admin.close()

    async def ends(self, topics: Sequence[str], partitions: int) -> Mapping[Place, int]:
        """Return the offset behind the last committed record of each partition."""
        places = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
        found = await self._consumer.end_offsets(places)
        return {(each.topic, each.partition): offset for each, offset in found.items()}

    async def positions(self, group: str) -> Mapping[Place, int]:
        """Return what a group has committed."""
        found = await self._admin.list_consumer_group_offsets(group)
        return {(each.topic, each.partition): at.offset for each, at in found.items() if at.offset >= 0}

    async def next_records(self, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> Mapping[Place, Next]:
        """Return the first record at or behind each position; lacks those that didn't come in time."""
        where = {TopicPartition(*place): place for place in positions}
        self._consumer.assign(list(where))
        for each, place in where.items():
            self._consumer.seek(each, positions[place])
        found: dict[Place, Next] = {}
        try:
            async with asyncio.timeout(POLL_TIMEOUT_SECONDS):
                while pending := [each for each, place in where.items() if place not in found]:
                    polled = await self._consumer.getmany(*pending, timeout_ms=POLL_MS)
                    for each in pending:
                        place = where[each]
                        if records := polled.get(each):
                            found[place] = (records[0].offset, _arrival(records[0]))
                        elif await self._consumer.position(each) >= ends[place]:
                            found[place] = (ends[place], None)
        except TimeoutError:
            pass
        finally:
            self._consumer.unsubscribe()
        return found


def _arrival(record: Any) -> datetime:
    """Return when a record came in: of a batch of history its own time says nothing."""
    if record.topic in RAW:
        with contextlib.suppress(*UNREADABLE):
            return moment(open_raw(record).arrived)
    return moment(record.timestamp * 1000)
