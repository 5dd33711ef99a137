"""The raw messages behind a profile, and the profile as it was at a moment: folded again, by the same rules."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition

from app.definitions.compiled_rules import CompiledRulesCache
from app.definitions.rules import RulesReader
from app.kafka.clients import Cluster, started
from app.profiles.lookup_client import GenerationReader
from projections.definitions.compiled_rules import identity_of, is_forgotten
from projections.definitions.rules import Rules
from projections.mapping.raw_messages import Raw, open_raw, parse
from projections.profiles.identity_node import Node
from projections.profiles.impact import settle
from projections.profiles.updates import Group, MappedMessages
from schemas.topics import LANES

MAX_MESSAGES: Final = 10_000
MAX_RECORDS: Final = 500
MAX_BYTES: Final = 64 * 1024 * 1024  # of messages, which are held at once
WAIT_MS: Final = 2_000

RecordPosition = tuple[str, int, int]  # topic, partition, offset


class HistoryTooLargeError(Exception):
    """More messages are behind the profile than are read for one answer. Narrow it, or read the topics."""


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One raw message behind a profile: where it is, what it says, and by which rules it was mapped."""

    topic: str
    partition: int
    offset: int
    message_id: str
    stream: str
    job_id: str
    at: int  # microseconds since 1970 UTC
    key: str  # ranked
    links: Sequence[str]
    rules_at: int
    message: Mapping[str, Any]
    row: Sequence[Any]
    columns: tuple[str, ...]


class ProfileHistory:
    """Reads raw messages again, by the references that profiles keep."""

    def __init__(self, cluster: Cluster, rules: RulesReader) -> None:
        self._cluster = cluster
        self._rules = rules
        self._books = CompiledRulesCache(rules.at)

    async def behind(self, look: GenerationReader, identities: Iterable[str]) -> list[SourceMessage]:
        """Return the raw messages behind identities (ranked keys), by time.

        Raises:
            HistoryTooLargeError: they are too many.
            NobodyAnswers: an owner can't be asked.

        """
        wanted: dict[RecordPosition, set[tuple[int, int]]] = defaultdict(set)
        topics = [topic.name for topic in LANES.values()]
        count = 0
        for key in identities:
            for lane, partition, offset, index, rules_at in await look.references(key):
                wanted[topics[lane], partition, offset].add((index, rules_at))
                count += 1
            if count > MAX_MESSAGES or len(wanted) > MAX_RECORDS:
                raise HistoryTooLargeError(f"{count:,} messages or more in {len(wanted):,} records are behind it")
        found, size = [], 0
        async for place, raw in self._records(wanted):
            for index, rules_at in sorted(wanted[place]):
                behind = await self._behind(place, raw, index, rules_at)
                if behind is not None:
                    found.append(behind)
                    size += len(raw.lines[index - raw.first])
            if size > MAX_BYTES:
                raise HistoryTooLargeError(f"more than {MAX_BYTES:,} bytes of messages are behind it")
        return sorted(found, key=lambda each: (each.at, each.message_id))

    async def as_of(self, behind: Iterable[SourceMessage], key: str, at: int, rules: Rules) -> Node:
        """Return the root of `key` when only the messages up to `at` are known."""
        nodes = {key: Node(key)}
        mapped = MappedMessages()
        for each in behind:
            if each.at <= at:
                mapped.groups.append(Group(each.stream, each.columns, 0, [each.row[0]], [each.row[1]]))
                batch, index = each.row[0], each.row[1][3]
                mapped.links += [(link, each.key, each.at, batch, index) for link in each.links]
        settle(mapped, nodes, identity_of(rules).max_identities)
        node = nodes[key]
        while node.parent:
            node = nodes[node.parent]
        return node

    async def _behind(self, place: RecordPosition, raw: Raw, index: int, rules_at: int) -> SourceMessage | None:
        book = await self._books.at(rules_at)
        mapper = book.mapper(raw.stream)
        number = index - raw.first
        if mapper is None or not 0 <= number < raw.count:
            return None
        message = parse(raw.lines[number])
        mapped = mapper.map(message, raw.timestamps[number] if raw.timestamps else raw.arrived)
        mapper.take_faults()
        if mapped is None:
            return None
        key, links, at, values = mapped
        if is_forgotten(self._rules.rules.forgotten, (key, *links), at):
            return None  # since it was mapped
        return SourceMessage(
            *place,
            message_id=f"{raw.batch}/{index}",
            stream=raw.stream,
            job_id=raw.job_id,
            at=at,
            key=key,
            links=links,
            rules_at=rules_at,
            message=message,
            row=(raw.batch, [key, at, 0, index, 0, *values]),
            columns=mapper.columns,
        )

    async def _records(self, places: Iterable[RecordPosition]) -> AsyncIterator[tuple[RecordPosition, Raw]]:
        by_partition: dict[TopicPartition, list[int]] = defaultdict(list)
        for topic, partition, offset in places:
            by_partition[TopicPartition(topic, partition)].append(offset)
        async with started(self._cluster.consumer(isolation="read_committed")) as consumer:
            for where, offsets in by_partition.items():
                consumer.assign([where])
                for offset in sorted(offsets):
                    consumer.seek(where, offset)
                    polled = await consumer.getmany(where, timeout_ms=WAIT_MS, max_records=1)
                    for record in polled.get(where, ()):
                        if record.offset == offset:
                            yield (*where, offset), open_raw(record)
