"""Maps consecutive raw records of one partition to updates of profiles and dead letters.

The result depends on the records and the rules alone, and not on where one chunk ends and the next begins.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
from projections.mapping.raw_messages import UNREADABLE, Raw, RawRecord, UnreadableMessageError, open_raw, parse_message
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
MAX_UPDATE_BYTES: Final = 12 * 1024 * 1024  # of JSON; the broker accepts it with its envelope
FULL_ROWS: Final = 1_000  # for one partition; profiles apply them at a time, which must not delay look-ups


@dataclass(slots=True)
class MappingFault:
    """One kind of fault in messages of a record: the count of these messages, and the first of them."""

    params: Params
    index: int
    excerpt: bytes
    count: int = 1
    detail: str = ""


@dataclass(slots=True)
class StreamCounts:
    """Counts of the messages of a stream; times are in microseconds since 1970 UTC."""

    newest: int
    arrived: int
    count: int = 0
    bytes: int = 0
    blocked: Counter[tuple[str, str]] = field(default_factory=Counter)  # identities by kind and folded value
    last_offset: int = -1


class MappingChunk:
    """Add records until it is full; then write `updates`, `dead_letters` and `streams` of each chunk in `fitting`."""

    def __init__(
        self,
        lane: str,
        rules: CompiledRules,
        forgotten: Forgotten,
        partitions: int,
        now: datetime,
        sample: FieldSample | None = None,
        forgettings_offset: int = 0,
    ) -> None:
        self._lane = lane
        self.rules = rules
        self._forgotten = forgotten or None  # tested for each message
        self._forgettings_offset = forgettings_offset  # that `forgotten` has read up to
        self._partitions = partitions
        self._payloads: dict[int, bytes] | None = None  # of chunks in `fitting`
        self._now = now
        self._sample = sample
        self._mapped: dict[int, MappedMessages] = defaultdict(MappedMessages)
        self._singles: dict[tuple[int, str], Group] = {}  # still open, by partition and stream
        self._counted: set[tuple[str, int]] = set()  # the messages in them that may be repeated
        self._rows = 0
        self._bytes = 0
        self.records: list[RawRecord] = []
        self.stream = ""  # of the latest record
        self.next_offset = 0
        self._streams: dict[str, StreamCounts] = {}
        self.jobs: Counter[str] = Counter()  # messages by the job that wrote them
        self.dead_letters: list[ProducerRecord] = []
        self.rejected: Counter[str] = Counter()  # the dead letters, by code

    @property
    def is_full(self) -> bool:
        """Whether it has as much as is to be sent at a time."""
        return self._rows >= FULL_ROWS * self._partitions or self._bytes >= FULL_BYTES

    @property
    def position(self) -> tuple[int, int]:
        """How far the mapping is, also while a thread maps: the number of records, and of messages of the stream."""
        mapper = self.rules.mapper(self.stream)
        return len(self.records), mapper.position if mapper else 0

    @property
    def mapping_now(self) -> str:
        """The stream that is being mapped, its definition, and the record, for the log."""
        mapping = self.rules.rules.mappings.get(self.stream)
        definition = f"mapping:{self.stream} version {mapping.version}" if mapping else "no mapping"
        records = [f"{record.topic}/{record.partition}@{record.offset}" for record in self.records[-1:]]
        return f"stream {self.stream} ({definition}) in {''.join(records)}"

    def fill(self, records: Iterable[RawRecord], end: float) -> None:
        """Add records before the offset `end` until the chunk is full, but at least the first one."""
        for record in records:
            if self.records and (self.is_full or record.offset >= end):
                return
            self.add(record)

    def add(self, record: RawRecord) -> None:
        """Add the next record. An invalid one becomes a dead letter, and the partition continues."""
        self.records.append(record)
        self._bytes += len(record.value or b"")
        self.next_offset = record.offset + 1
        try:
            raw = open_raw(record)
        except UNREADABLE as error:
            self._reject(record, record.value, because("malformed_message", error))
            return
        self.stream = raw.stream
        self._count(raw, record)
        if self._sample is not None:
            self._sample.inspect(raw)
        faults: dict[str, MappingFault] = {}
        mapper = self.rules.mapper(raw.stream)
        if self.rules.scope.excludes(raw.job_id, raw.arrived):
            return
        if mapper is not None:
            self._map(raw, record, mapper, faults)
        elif raw.count == 1:
            _parsed(raw, 0, faults)
        for code, fault in faults.items():
            self._report(record, raw, code, fault)

    @property
    def streams(self) -> Mapping[str, StreamDelta]:
        """The counts of each stream."""
        return {
            stream: StreamDelta(
                stream=stream,
                lane=self._lane,
                count=counts.count,
                bytes=counts.bytes,
                last_message_at=moment(counts.newest),
                last_arrival_at=moment(counts.arrived),
                blocked=counts.blocked,
                last_offset=counts.last_offset,
            )
            for stream, counts in self._streams.items()
        }

    @property
    def mapped(self) -> Mapping[int, MappedMessages]:
        """The updates of the records, by partition of identities."""
        return self._mapped

    def fitting(self) -> Iterator["MappingChunk"]:
        """Yield this chunk or, when an update is larger than a record may be, a chunk of each of its records.

        The excess of a single record is dropped, with a dead letter. So the updates do not depend on which records
        share a chunk.
        """
        payloads = {partition: encode_mapped(mapped) for partition, mapped in self._mapped.items()}
        too_large = [partition for partition, payload in payloads.items() if len(payload) > MAX_UPDATE_BYTES]
        if too_large and len(self.records) > 1:
            for record in self.records:
                single = MappingChunk(
                    self._lane,
                    self.rules,
                    self._forgotten or Forgotten(),
                    self._partitions,
                    self._now,
                    forgettings_offset=self._forgettings_offset,
                )
                single.add(record)
                yield from single.fitting()
            return
        for partition in too_large:
            payloads[partition] = self._cut(self._mapped[partition])
        self._payloads = payloads
        yield self

    def updates(self) -> list[ProducerRecord]:
        """Return the updates as records, one for each partition of identities."""
        assert self._payloads is not None, "take the chunks of `fitting`"
        first = self.records[0]
        updates = []
        for partition, payload in self._payloads.items():
            update = MappedBatch(
                topic=first.topic,
                partition=first.partition,
                first_offset=first.offset,
                next_offset=self.next_offset,
                rules_offset=self.rules.rules_offset,
                payload=payload,
                generation=self.rules.generation,
                forgettings_offset=self._forgettings_offset,
            )
            updates.append(ProducerRecord(UPDATES[self._lane].name, encode(update), partition=partition))
        return updates

    def _cut(self, mapped: MappedMessages) -> bytes:
        """Drop the excess of a single record's update of a partition; return the rest as payload."""
        (record,) = self.records
        error = CodedError("too_large", {"dropped": drop_excess(mapped, MAX_UPDATE_BYTES), "max": MAX_UPDATE_BYTES})
        self._reject(record, record.value, error)
        return encode_mapped(mapped)

    def _map(self, raw: Raw, record: RawRecord, mapper: Mapper, faults: dict[str, MappingFault]) -> None:
        counts = raw.may_repeat and any(name.startswith(COUNTED) for name in mapper.columns)
        groups: dict[int, Group] = {}
        mapped_lines: list[int] = []  # indexes, by the number that the mapper gives each message
        latest = raw.arrived + FUTURE_BOUND_MS * 1_000
        includes, partitions = self.rules.scope.includes, self._partitions
        timestamps = raw.timestamps or [raw.arrived] * raw.count
        for index, timestamp in enumerate(timestamps):
            message = _parsed(raw, index, faults)
            if message is None:
                continue
            mapped_lines.append(index)
            mapped = mapper.map(message, timestamp)
            if mapped is None:
                continue
            key, links, at, values = mapped
            if at > latest:
                _note(faults, "future_timestamp", {"value": rfc3339(moment(at))}, index, raw.lines[index])
                continue
            if not includes(at) or (self._forgotten and is_forgotten(self._forgotten, (key, *links), at)):
                continue
            home = partition_of_key(key, partitions)
            group = groups.get(home)
            if group is None:
                groups[home] = group = self._group(home, raw, record, mapper, counted=counts)
            number = raw.first + index
            group.rows.append([key, at, len(group.batches) - 1, number, record.offset - group.offset, *values])
            self._rows += 1
            for link in links:
                self._mapped[partition_of_key(link, partitions)].links.append((link, key, at, raw.batch, number))
        if mapper.blocked:
            self._streams[raw.stream].blocked.update(mapper.drain_blocked())
        self._report_faults(raw, record, mapper, mapped_lines)

    def _report_faults(self, raw: Raw, record: RawRecord, mapper: Mapper, mapped_lines: list[int]) -> None:
        """Add the dead letters of values that a mapping could not use."""
        faults = mapper.drain_faults()
        for (target, code), (count, example, number) in islice(faults.items(), MAX_FAULTS):
            index = mapped_lines[number]
            fault = MappingFault({"target": target, "value": example}, index, raw.lines[index], count)
            self._report(record, raw, code, fault)
        if len(faults) > MAX_FAULTS:
            targets = tuple(target for target, _ in islice(faults, MAX_FAULTS, None))
            params: Params = {"more": len(targets), "targets": targets}
            self._report(record, raw, "more_faults", MappingFault(params, 0, raw.lines[0]))

    def _group(self, home: int, raw: Raw, record: RawRecord, mapper: Mapper, *, counted: bool) -> Group:
        """Return the group for the rows of a record. Single messages of a stream share one."""
        single = raw.count == 1
        group = self._singles.get((home, raw.stream)) if single else None
        message = (raw.batch, raw.first)
        if group is None or (counted and message in self._counted):
            group = Group(raw.stream, mapper.columns, record.offset, [])
            self._mapped[home].groups.append(group)
            if single:
                self._singles[home, raw.stream] = group
        if not group.batches or group.batches[-1] != raw.batch:
            group.batches.append(raw.batch)
        if counted:
            group.counted.append((raw.batch, raw.first, raw.count))
            if single:
                self._counted.add(message)
        return group

    def _count(self, raw: Raw, record: RawRecord) -> None:
        if raw.run:
            self.jobs[raw.job_id] += raw.count
        newest, arrived = raw.newest(), raw.arrived
        counts = self._streams.get(raw.stream)
        if counts is None:
            counts = self._streams[raw.stream] = StreamCounts(newest, arrived)
        counts.count += raw.count
        counts.bytes += len(record.value or b"")
        counts.newest = max(counts.newest, newest)
        counts.arrived = max(counts.arrived, arrived)
        counts.last_offset = record.offset

    def _report(self, record: RawRecord, raw: Raw, code: str, fault: MappingFault) -> None:
        many = {"count": fault.count, "messages": raw.count, "first_index": raw.first + fault.index}
        error = CodedError(code, {**fault.params, **(many if raw.count > 1 else {})}, detail=fault.detail)
        self._reject(record, fault.excerpt, error, stream=raw.stream, job_id=raw.job_id)

    def _reject(
        self, record: RawRecord, excerpt: bytes | None, error: CodedError, *, stream: str = "", job_id: str = ""
    ) -> None:
        """Add a dead letter."""
        letter = dead_letter_at(record, record.key, excerpt, error, self._now, stream=stream, job_id=job_id)
        self.dead_letters.append(letter)
        self.rejected[error.code] += 1


def _parsed(raw: Raw, index: int, faults: dict[str, MappingFault]) -> dict[str, Any] | None:
    try:
        return parse_message(raw.lines[index])
    except UnreadableMessageError as error:
        _note(faults, error.code, error.params, index, raw.lines[index], error.detail)
        return None


def _note(
    faults: dict[str, MappingFault], code: str, params: Params, index: int, line: bytes, detail: str = ""
) -> None:
    fault = faults.get(code)
    if fault is None:
        faults[code] = MappingFault(params, index, line, detail=detail)
    else:
        fault.count += 1
