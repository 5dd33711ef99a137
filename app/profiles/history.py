"""The raw messages behind a profile, and the profile at an earlier time: folded again, by the same rules."""

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
from projections.mapping.raw_messages import Raw, open_raw, parse_message
from projections.profiles.identity_node import Node
from projections.profiles.impact import settle
from projections.profiles.updates import INDEX, Group, MappedMessages
from schemas.topics import LANES

MAX_MESSAGES: Final = 10_000
MAX_RECORDS: Final = 500
MAX_BYTES: Final = 64 * 1024 * 1024  # of messages in memory
READ_TIMEOUT_MS: Final = 2_000

RawPosition = tuple[str, int, int]  # topic, partition, offset


class HistoryTooLargeError(Exception):
    """The profile has more messages than one response may read. Narrow the request, or read the topics."""


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One raw message behind a profile: its position, its content, and how it was mapped."""

    topic: str
    partition: int
    offset: int
    message_id: str
    stream: str
    job_id: str
    at: int  # microseconds since 1970 UTC
    key: str  # ranked
    links: Sequence[str]
    rules_offset: int
    message: Mapping[str, Any]
    row: Sequence[Any]
    columns: tuple[str, ...]


class ProfileHistory:
    """Reads the raw messages that profiles refer to."""

    def __init__(self, cluster: Cluster, rules: RulesReader) -> None:
        self._cluster = cluster
        self._rules = rules
        self._compiled = CompiledRulesCache(rules.at)

    async def source_messages(self, reader: GenerationReader, identities: Iterable[str]) -> list[SourceMessage]:
        """Return the raw messages behind identities (ranked keys), by time.

        Raises:
            HistoryTooLargeError: there are too many.
            PartitionUnavailable: an owner can't be reached.

        """
        references = await _references(reader, identities)
        messages, size = [], 0
        async for position, raw in self._records(references):
            for index, rules_offset in sorted(references[position]):
                message = await self._mapped(position, raw, index, rules_offset)
                if message is not None:
                    messages.append(message)
                    size += len(raw.lines[index - raw.first])
            if size > MAX_BYTES:
                raise HistoryTooLargeError(f"the profile has more than {MAX_BYTES:,} bytes of messages")
        return sorted(messages, key=lambda message: (message.at, message.message_id))

    async def as_of(self, messages: Iterable[SourceMessage], key: str, at: int, rules: Rules) -> Node:
        """Return the root of `key` after the messages up to `at`."""
        nodes = {key: Node(key)}
        mapped = MappedMessages()
        for message in messages:
            if message.at <= at:
                batch, row = message.row
                mapped.groups.append(Group(message.stream, message.columns, 0, [batch], [row]))
                mapped.links += [(link, message.key, message.at, batch, row[INDEX]) for link in message.links]
        settle(mapped, nodes, identity_of(rules).max_identities)
        node = nodes[key]
        while node.parent:
            node = nodes[node.parent]
        return node

    async def _mapped(self, position: RawPosition, raw: Raw, index: int, rules_offset: int) -> SourceMessage | None:
        mapper = (await self._compiled.at(rules_offset)).mapper(raw.stream)
        number = index - raw.first
        if mapper is None or not 0 <= number < raw.count:
            return None
        message = parse_message(raw.lines[number])
        mapped = mapper.map(message, raw.timestamps[number] if raw.timestamps else raw.arrived)
        mapper.drain_faults()
        if mapped is None:
            return None
        key, links, at, values = mapped
        if is_forgotten(self._rules.rules.forgotten, (key, *links), at):
            return None  # since it was mapped
        return SourceMessage(
            *position,
            message_id=f"{raw.batch}/{index}",
            stream=raw.stream,
            job_id=raw.job_id,
            at=at,
            key=key,
            links=links,
            rules_offset=rules_offset,
            message=message,
            row=(raw.batch, [key, at, 0, index, 0, *values]),
            columns=mapper.columns,
        )

    async def _records(self, positions: Iterable[RawPosition]) -> AsyncIterator[tuple[RawPosition, Raw]]:
        by_partition: dict[TopicPartition, list[int]] = defaultdict(list)
        for topic, partition, offset in positions:
            by_partition[TopicPartition(topic, partition)].append(offset)
        async with started(self._cluster.consumer(isolation="read_committed")) as consumer:
            for source, offsets in by_partition.items():
                consumer.assign([source])
                for offset in sorted(offsets):
                    consumer.seek(source, offset)
                    polled = await consumer.getmany(source, timeout_ms=READ_TIMEOUT_MS, max_records=1)
                    for record in polled.get(source, ()):
                        if record.offset == offset:
                            yield (*source, offset), open_raw(record)


async def _references(
    reader: GenerationReader, identities: Iterable[str]
) -> Mapping[RawPosition, set[tuple[int, int]]]:
    """Return the messages behind identities by raw record: index, and the offset of the rules it was mapped by."""
    references: dict[RawPosition, set[tuple[int, int]]] = defaultdict(set)
    topics = [topic.name for topic in LANES.values()]
    count = 0
    for key in identities:
        for lane, partition, offset, index, rules_offset in await reader.references(key):
            references[topics[lane], partition, offset].add((index, rules_offset))
            count += 1
        if count > MAX_MESSAGES or len(references) > MAX_RECORDS:
            raise HistoryTooLargeError(f"the profile has at least {count:,} messages in {len(references):,} records")
    return references
