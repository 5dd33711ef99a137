"""The raw messages behind a profile, and the profile at an earlier time: mapped and folded again, by the same rules.

Messages are read in chunks, in the order of the raw topics. The caller decides in which process they are evaluated.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition

from app.definitions.rules import RulesReader
from app.definitions.rules_cache import RulesCache
from app.kafka.clients import Cluster, Consumer, started
from app.profiles.lookup_client import GenerationReader
from projections.definitions.compiled_rules import identity_of, is_forgotten, source_of
from projections.definitions.rules import Rules
from projections.mapping.evaluation import MappingSource, map_messages
from projections.mapping.raw_messages import Raw, RawMessage, UnreadableMessageError, open_raw
from projections.profiles.identity_node import Node
from projections.profiles.impact import settle
from projections.profiles.updates import Group, MappedMessages
from schemas.topics import LANES

MAX_MESSAGES: Final = 10_000
MAX_RECORDS: Final = 500  # of a profile as of an earlier time
CHUNK_MESSAGES: Final = 1_000
CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_CACHED_RULES: Final = 4  # each has the bodies of all mappings
READ_TIMEOUT_MS: Final = 2_000


class HistoryTooLargeError(Exception):
    """The profile has too many messages for one request. Read the topics instead."""


class Reference(NamedTuple):
    """The position of a raw message, and the offset of the rules that it was mapped by. Sorts as the topics."""

    topic: str
    partition: int
    offset: int
    message_index: int
    rules_offset: int


Call = Callable[..., Awaitable[Any]]  # calls a function with arguments, possibly in another process


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One raw message behind a profile: its position, its content, and how it was mapped."""

    reference: Reference
    stream: str
    job_id: str
    raw: RawMessage
    at: int  # microseconds since 1970 UTC
    key: str  # ranked
    links: Sequence[str]
    values: Sequence[Any]
    columns: tuple[str, ...]
    blocked: Sequence[tuple[str, str]]  # kind and folded value of identities that were ignored


@dataclass(frozen=True, slots=True)
class _Unmapped:
    """A raw message, and the rules that it was mapped by."""

    reference: Reference
    source: MappingSource
    job_id: str
    raw: RawMessage


class ProfileHistory:
    """Reads the raw messages that profiles refer to."""

    def __init__(self, cluster: Cluster, rules: RulesReader) -> None:
        self._cluster = cluster
        self._rules = rules
        self._earlier_rules = RulesCache(rules.at, MAX_CACHED_RULES)

    async def references(self, reader: GenerationReader, identities: Iterable[str]) -> Sequence[Reference]:
        """Return the references to the messages behind identities (ranked keys), sorted.

        Raises:
            HistoryTooLargeError: there are too many.
            PartitionUnavailable: an owner can't be reached.

        """
        topics = [topic.name for topic in LANES.values()]
        references: set[Reference] = set()
        for key in identities:
            references.update(Reference(topics[lane], *position) for lane, *position in await reader.references(key))
            if len(references) > MAX_MESSAGES:
                raise HistoryTooLargeError(f"the profile has more than {MAX_MESSAGES:,} messages")
        return sorted(references)

    async def page(
        self, call: Call, references: Sequence[Reference], after: Reference | None, limit: int
    ) -> tuple[list[SourceMessage], Reference | None]:
        """Return the messages after a reference, by time, and the last reference that was read if more follow.

        A page has up to `limit` messages, and fewer when they are large.
        """
        remaining = references[bisect_right(references, after) if after else 0 :]
        async with aclosing(self._chunks(remaining, limit)) as chunks:
            async for chunk, end in chunks:
                messages = await self._mapped(call, chunk)
                messages.sort(key=lambda message: (message.at, message.raw.message_id))
                return messages, remaining[end - 1] if end < len(remaining) else None
        return [], None

    async def as_of(self, call: Call, references: Sequence[Reference], key: str, at: int, rules: Rules) -> Node:
        """Return the root of `key` after the messages up to `at`.

        Raises:
            HistoryTooLargeError: they are in too many records.

        """
        if len(set(map(_record_of, references))) > MAX_RECORDS:
            raise HistoryTooLargeError(f"the profile has messages in more than {MAX_RECORDS:,} records")
        nodes, max_identities = {key: Node(key)}, identity_of(rules).max_identities
        async with aclosing(self._chunks(references, CHUNK_MESSAGES)) as chunks:
            async for chunk, _ in chunks:
                mapped = MappedMessages()
                for message in await self._mapped(call, chunk):
                    if message.at <= at:
                        _add(mapped, message)
                nodes = await call(settle, mapped, nodes, max_identities)
        node = nodes[key]
        while node.parent:
            node = nodes[node.parent]
        return node

    async def _chunks(
        self, references: Sequence[Reference], max_messages: int
    ) -> AsyncGenerator[tuple[list[_Unmapped], int], None]:
        """Yield messages in chunks, each with the number of references that are read so far."""
        chunk: list[_Unmapped] = []
        size = end = 0
        async with started(self._cluster.consumer(isolation="read_committed")) as consumer:
            for _, record in groupby(references, key=_record_of):
                raw = None
                for number, reference in enumerate(record):
                    raw = raw if number else await _read(consumer, reference)
                    message = await self._unmapped(reference, raw)
                    end += 1
                    if message is not None:
                        chunk.append(message)
                        size += len(message.raw.line)
                    if len(chunk) >= max_messages or size >= CHUNK_BYTES:
                        yield chunk, end
                        chunk, size = [], 0
        if chunk:
            yield chunk, end

    async def _unmapped(self, reference: Reference, raw: Raw | None) -> _Unmapped | None:
        number = reference.message_index - raw.first if raw else -1
        if raw is None or not 0 <= number < raw.count:
            return None
        source = source_of(await self._earlier_rules.at(reference.rules_offset), raw.stream)
        return None if source is None else _Unmapped(reference, source, raw.job_id, raw.message(number))

    async def _mapped(self, call: Call, chunk: Sequence[_Unmapped]) -> list[SourceMessage]:
        messages: list[SourceMessage] = []
        forgotten = self._rules.rules.forgotten
        for source, group in groupby(chunk, key=lambda message: message.source):
            unmapped = list(group)
            lines = [(message.raw.line, message.raw.at) for message in unmapped]
            sample = await call(map_messages, source, lines)
            for message, result, blocked in zip(unmapped, sample.results, sample.blocked, strict=True):
                if result is None or isinstance(result, UnreadableMessageError):
                    continue
                key, links, at, values = result
                if is_forgotten(forgotten, (key, *links), at):
                    continue  # since it was mapped
                messages.append(
                    SourceMessage(
                        message.reference, source.stream, message.job_id, message.raw, at, key, links, values,
                        sample.columns, blocked,
                    )
                )  # fmt: skip
        return messages


def _record_of(reference: Reference) -> tuple[str, int, int]:
    return reference.topic, reference.partition, reference.offset


def _add(mapped: MappedMessages, message: SourceMessage) -> None:
    raw = message.raw
    row = [message.key, message.at, 0, raw.index, 0, *message.values]
    mapped.groups.append(Group(message.stream, message.columns, 0, [raw.batch], [row]))
    mapped.links += [(link, message.key, message.at, raw.batch, raw.index) for link in message.links]


async def _read(consumer: Consumer, reference: Reference) -> Raw | None:
    """Return the record of a reference; None if it is deleted."""
    source = TopicPartition(reference.topic, reference.partition)
    if source not in consumer.assignment():
        consumer.assign([source])
    consumer.seek(source, reference.offset)
    polled = await consumer.getmany(source, timeout_ms=READ_TIMEOUT_MS, max_records=1)
    return next((open_raw(record) for record in polled.get(source, ()) if record.offset == reference.offset), None)
