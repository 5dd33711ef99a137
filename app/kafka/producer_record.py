"""One record to produce, and whether the broker takes one of its size. Knows no client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

RECORD_OVERHEAD_BYTES: Final = 512  # more than a batch header and the lengths of one record's fields take


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """One record to publish. Without `partition` the key's hash decides; `value` None is a tombstone."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None  # since 1970 UTC; None: now


class RecordTooLarge(Exception):
    """The record can't be stored by the broker; nothing was sent. Make it smaller, or refuse what asked for it."""


def check_size(topic: str, key: bytes | None, value: bytes | None, largest: int, headers: Sequence[Any] = ()) -> None:
    """Raise `RecordTooLarge` for a record that would not fit into `largest` bytes with all that surrounds it."""
    size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
    size += sum(len(name) + len(content) + 10 for name, content in headers)
    if size > largest:
        raise RecordTooLarge(f"a record of {size} bytes for {topic} is over the limit of {largest} bytes")
