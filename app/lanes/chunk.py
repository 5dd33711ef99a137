"""Some consecutive raw records of one partition, mapped: what they say to identities, and what was odd about them.

The same records mapped by the same rules always give the same; where one chunk ends and the next begins doesn't matter.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from app.kafka.producer_record import ProducerRecord
from app.lanes.field_sampler import FieldSample
from app.records.dead_letters import dead_letter_at
from app.store.models import StreamDelta
from projections.definitions.compiled_rules import CompiledRules, is_forgotten
from projections.definitions.rules import Forgotten
from projections.mapping.mapper import Mapper
from projections.mapping.raw_messages import UNREADABLE, Raw, RawRecord, UnreadableMessageError, open_raw, parse
from projections.profiles.crdt import COUNTED
from projections.profiles.partitioning import partition_of_key
from projections.profiles.payload_limits import drop_excess
from projections.profiles.update_codec import encode_mapped
from projections.profiles.updates import Group, MappedMessages
from schemas.coded import CodedError, Params, because
from schemas.instants import moment, rfc3339
from schemas.topics import FUTURE_BOUND_MS, UPDATES
from schemas.updates import MappedBatch
from schemas.wire.codec import encode

MAX_FAULTS: Final = 20  # of a record, each with a dead letter of its own
FULL_BYTES: Final = 4 * 1024 * 1024  # of raw records
MAX_UPDATE_BYTES: Final = 12 * 1024 * 1024  # of JSON; with all that surrounds it, the broker takes it
FULL_ROWS: Final = 1_000  # for one partition: what profiles do at a time has to be short enough not to be felt


@dataclass(slots=True)
class Fault:
    """One thing that is wrong with messages of a record: how many they are, and the first of them."""

    params: Params
    index: int
    excerpt: bytes
    count: int = 1
    detail: str = ""


@dataclass(slots=True)
class StreamCounts:
    """What was seen of a stream; times are in microseconds since 1970 UTC."""

    newest: int
    arrived: int
    count: int = 0
    bytes: int = 0


class MappingChunk:
    """Takes records until it is full; then `updates`, `letters` and `seen` of those in `fitting` have to be written."""

    def __init__(  # all that its updates depend on, and who looks on
        self,
        lane: str,
        book: CompiledRules,
        forgotten: Forgotten,
        partitions: int,
        now: datetime,
        sample: FieldSample | None = None,
    ) -> None:
        self._lane = lane
        self.book = book
        self._forgotten = forgotten or None  # whether it is empty is asked once
        self._partitions = partitions
        self._payloads: dict[int, bytes] | None = None  # once it is known to fit
        self._now = now
        self._sample = sample
        self._packets: dict[int, MappedMessages] = defaultdict(MappedMessages)
        self._singles: dict[tuple[int, str], Group] = {}  # still open, by partition and stream
        self._said: set[tuple[str, int]] = set()  # the messages in them that may come again
        self._rows = 0
        self._bytes = 0
        self.records: list[RawRecord] = []
        self.next_offset = 0
        self._seen: dict[str, StreamCounts] = {}
        self.jobs: Counter[str] = Counter()  # messages by the job that wrote them
        self.letters: list[ProducerRecord] = []

    @property
    def is_full(self) -> bool:
        """Whether it has as much as is sent at a time."""
        return self._rows >= FULL_ROWS * self._partitions or self._bytes >= FULL_BYTES

    def add(self, record: RawRecord) -> None:
        """Take the next record. What can't be read becomes a dead letter, and the partition goes on."""
        self.records.append(record)
        self._bytes += len(record.value or b"")
        self.next_offset = record.offset + 1
        try:
            raw = open_raw(record)
        except UNREADABLE as error:
            malformed = because("malformed_message", error)
            self.letters.append(dead_letter_at(record, record.key, record.value, malformed, self._now))
            return
        self._count(raw, record)
        if self._sample is not None:
            self._sample.inspect(raw)
        odd: dict[str, Fault] = {}
        mapper = self.book.mapper(raw.stream)
        if self.book.scope.leaves_out(raw.job_id, raw.arrived):
            return
        if mapper is not None:
            self._map(raw, record, mapper, odd)
        elif raw.count == 1:
            _parsed(raw, 0, odd)
        for code, each in odd.items():
            self.letters.append(self._letter(record, raw, code, each))

    @property
    def seen(self) -> Mapping[str, StreamDelta]:
        """What was seen of each stream."""
        return {
            stream: StreamDelta(
                stream=stream,
                lane=self._lane,
                count=each.count,
                bytes=each.bytes,
                last_message_at=moment(each.newest),
                last_arrival_at=moment(each.arrived),
            )
            for stream, each in self._seen.items()
        }

    @property
    def mapped(self) -> Mapping[int, MappedMessages]:
        """What the records say, by the partition of identities that is told."""
        return self._packets

    def fitting(self) -> Iterator["MappingChunk"]:
        """Yield it or, when a partition would be told more than a record may have, a chunk of each of its records.

        Whatever a single record says beyond that is left out, and has a dead letter. So what is said doesn't depend on
        which records are in a chunk together.
        """
        payloads = {partition: encode_mapped(mapped) for partition, mapped in self._packets.items()}
        too_large = [partition for partition, each in payloads.items() if len(each) > MAX_UPDATE_BYTES]
        if too_large and len(self.records) > 1:
            for record in self.records:
                alone = MappingChunk(self._lane, self.book, self._forgotten or Forgotten(), self._partitions, self._now)
                alone.add(record)
                yield from alone.fitting()
            return
        for partition in too_large:
            payloads[partition] = self._cut(self._packets[partition])
        self._payloads = payloads
        yield self

    def updates(self) -> list[ProducerRecord]:
        """Return what the partitions of identities are told."""
        assert self._payloads is not None, "only what is `fitting` is told"
        told, first = [], self.records[0]
        for partition, payload in self._payloads.items():
            word = MappedBatch(
                topic=first.topic,
                partition=first.partition,
                first_offset=first.offset,
                next_offset=self.next_offset,
                rules_at=self.book.rules_at,
                payload=payload,
                generation=self.book.generation,
            )
            told.append(ProducerRecord(UPDATES[self._lane].name, encode(word), partition=partition))
        return told

    def _cut(self, mapped: MappedMessages) -> bytes:
        """Leave out what can't be told of what a single record says to a partition, and return what is left."""
        (record,) = self.records
        error = CodedError("too_large", {"dropped": drop_excess(mapped, MAX_UPDATE_BYTES), "max": MAX_UPDATE_BYTES})
        self.letters.append(dead_letter_at(record, record.key, record.value, error, self._now))
        return encode_mapped(mapped)

    def _map(self, raw: Raw, record: RawRecord, mapper: Mapper, odd: dict[str, Fault]) -> None:
        counts = raw.may_repeat and any(name.startswith(COUNTED) for name in mapper.columns)
        groups: dict[int, Group] = {}
        mapped_lines: list[int] = []  # the mapper counts what it was given
        latest, takes, partitions = raw.arrived + FUTURE_BOUND_MS * 1_000, self.book.scope.takes, self._partitions
        stamps = raw.timestamps or [raw.arrived] * raw.count
        for index, stamp in enumerate(stamps):
            message = _parsed(raw, index, odd)
            if message is None:
                continue
            mapped_lines.append(index)
            mapped = mapper.map(message, stamp)
            if mapped is None:
                continue
            key, links, at, values = mapped
            if at > latest:
                _note(odd, "future_timestamp", {"value": rfc3339(moment(at))}, index, raw.lines[index])
                continue
            if not takes(at) or (self._forgotten and is_forgotten(self._forgotten, (key, *links), at)):
                continue
            home = partition_of_key(key, partitions)
            group = groups.get(home)
            if group is None:
                groups[home] = group = self._group(home, raw, record, mapper, counted=counts)
            number = raw.first + index
            group.rows.append([key, at, len(group.batches) - 1, number, record.offset - group.offset, *values])
            self._rows += 1
            for link in links:
                packet = self._packets[partition_of_key(link, partitions)]
                packet.links.append((link, key, at, raw.batch, number))
        self._add_fault_letters(raw, record, mapper, mapped_lines)

    def _add_fault_letters(self, raw: Raw, record: RawRecord, mapper: Mapper, mapped_lines: list[int]) -> None:
        """Add the dead letters of values that a mapping could not use."""
        faults = mapper.drain_faults()
        for (target, code), (count, example, number) in islice(faults.items(), MAX_FAULTS):
            index = mapped_lines[number]
            fault = Fault({"target": target, "value": example}, index, raw.lines[index], count)
            self.letters.append(self._letter(record, raw, code, fault))
        if len(faults) > MAX_FAULTS:
            targets = tuple(target for target, _ in islice(faults, MAX_FAULTS, None))
            params: Params = {"more": len(targets), "targets": targets}
            self.letters.append(self._letter(record, raw, "more_faults", Fault(params, 0, raw.lines[0])))

    def _group(self, home: int, raw: Raw, record: RawRecord, mapper: Mapper, *, counted: bool) -> Group:
        """Return the group that the rows of a record belong to. Single messages share one, as they share columns."""
        single = raw.count == 1
        group = self._singles.get((home, raw.stream)) if single else None
        message = (raw.batch, raw.first)
        if group is None or (counted and message in self._said):
            group = Group(raw.stream, mapper.columns, record.offset, [])
            self._packets[home].groups.append(group)
            if single:
                self._singles[home, raw.stream] = group
        if not group.batches or group.batches[-1] != raw.batch:
            group.batches.append(raw.batch)
        if counted:
            group.counted.append((raw.batch, raw.first, raw.count))
            if single:
                self._said.add(message)
        return group

    def _count(self, raw: Raw, record: RawRecord) -> None:
        if raw.run:
            self.jobs[raw.job_id] += raw.count
        newest, arrived = raw.newest(), raw.arrived
        seen = self._seen.get(raw.stream)
        if seen is None:
            seen = self._seen[raw.stream] = StreamCounts(newest, arrived)
        seen.count += raw.count
        seen.bytes += len(record.value or b"")
        seen.newest = max(seen.newest, newest)
        seen.arrived = max(seen.arrived, arrived)

    def _letter(self, record: RawRecord, raw: Raw, code: str, odd: Fault) -> ProducerRecord:
        many = {"count": odd.count, "messages": raw.count, "first_index": raw.first + odd.index}
        error = CodedError(code, {**odd.params, **(many if raw.count > 1 else {})}, detail=odd.detail)
        return dead_letter_at(record, record.key, odd.excerpt, error, self._now, stream=raw.stream, job_id=raw.job_id)


def _parsed(raw: Raw, index: int, odd: dict[str, Fault]) -> dict[str, Any] | None:
    try:
        return parse(raw.lines[index])
    except UnreadableMessageError as error:
        _note(odd, error.code, error.params, index, raw.lines[index], error.detail)
        return None


def _note(odd: dict[str, Fault], code: str, params: Params, index: int, line: bytes, detail: str = "") -> None:
    fault = odd.get(code)
    if fault is None:
        odd[code] = Fault(params, index, line, detail=detail)
    else:
        fault.count += 1
