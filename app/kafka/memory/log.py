"""The log of one partition: records, transactions and their markers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.kafka.clients import Isolation


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A record as a consumer returns it, with the attributes of aiokafka's."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # milliseconds since 1970 UTC
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(eq=False, slots=True)
class Transaction:
    """One transaction of one producer, in all partitions."""

    status: Literal["open", "committed", "aborted"] = "open"


@dataclass(frozen=True, slots=True)
class _Entry:
    record: MemoryRecord | None  # None: the marker that ends a transaction
    transaction: Transaction | None


@dataclass(slots=True)
class PartitionLog:
    """The entries from offset `begin` up to `end`."""

    topic: str
    partition: int
    begin: int = 0
    _entries: list[_Entry] = field(default_factory=list)
    _open: dict[Transaction, int] = field(default_factory=dict)  # the offset of the first record of each

    @property
    def end(self) -> int:
        """The offset of the next entry."""
        return self.begin + len(self._entries)

    @property
    def last_stable(self) -> int:
        """The offset of the first record whose transaction is open, else the end."""
        return min(self._open.values(), default=self.end)

    def end_for(self, isolation: Isolation) -> int:
        """Return the offset that a consumer of this isolation level can't read beyond."""
        return self.last_stable if isolation == "read_committed" else self.end

    def append(
        self,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        transaction: Transaction | None,
    ) -> MemoryRecord:
        """Append a record."""
        record = MemoryRecord(self.topic, self.partition, self.end, timestamp, key, value, tuple(headers))
        if transaction is not None:
            self._open.setdefault(transaction, self.end)
        self._entries.append(_Entry(record, transaction))
        return record

    def end_transaction(self, transaction: Transaction) -> None:
        """Append the marker of a transaction, if it has records here."""
        if self._open.pop(transaction, None) is not None:
            self._entries.append(_Entry(None, transaction))

    def read(self, start: int, isolation: Isolation, max_records: int) -> tuple[list[MemoryRecord], int]:
        """Return records from offset `start` on, and the next offset to read, after markers and aborted records."""
        records: list[MemoryRecord] = []
        end = self.end_for(isolation)
        for offset in range(start, end):
            if len(records) == max_records:
                return records, offset
            entry = self._entries[offset - self.begin]
            aborted = entry.transaction is not None and entry.transaction.status == "aborted"
            if entry.record is not None and not (aborted and isolation == "read_committed"):
                records.append(entry.record)
        return records, max(start, end)

    def first_at(self, timestamp: int) -> MemoryRecord | None:
        """Return the first record at or after a time."""
        records = (entry.record for entry in self._entries if entry.record is not None)
        return next((record for record in records if record.timestamp >= timestamp), None)

    def delete_before(self, offset: int) -> None:
        """Delete the entries before an offset, as retention does."""
        del self._entries[: offset - self.begin]
        self.begin = max(offset, self.begin)
