"""Lets aiokafka unpack a batch of records only as far as there is room for it.

A batch is bounded by the broker as it was sent; sixteen megabytes of zstd can stand for terabytes. aiokafka unpacks all
of it, so that one batch of a stranger ends every process that reads its partition, again and again. With this, a record
stands in its place that says so: whoever reads it finds no message in it, and goes on.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from typing import Any, Final

import cramjam
import zstandard
from aiokafka.consumer import fetcher
from aiokafka.record._crecords import default_records, legacy_records

MOST_BYTES: Final = 32 * 1024 * 1024
PIECE: Final = 1024 * 1024
LZ4_RATIO: Final = 16  # what is tried first, as room costs time
ZSTD_WINDOW: Final = 128 * 1024 * 1024

_RECORDS: Final = fetcher.PartitionRecords
_SNAPPY: Final = default_records.snappy_decode


class TooLargeBatch(Exception):
    """The batch unpacks to more than there is room for."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A record in the place of all records of a batch, as aiokafka has records."""

    offset: int
    value: bytes
    timestamp: int
    key: None = None
    timestamp_type: int = 0
    checksum: None = None
    headers: tuple[()] = ()


def mend() -> None:
    """Mend it for this process. Once more changes nothing."""
    for module in (default_records, legacy_records):
        module.gzip_decode, module.lz4_decode, module.snappy_decode = _gzip, _lz4, _snappy
    default_records.zstd_decode = _zstd
    fetcher.PartitionRecords = _partition_records


@wraps(_RECORDS)
def _partition_records(where: Any, records: Any, *rest: Any) -> Any:
    return _RECORDS(where, _Guarded(records), *rest)


class _Guarded:
    """The batches that were fetched, as aiokafka asks for them."""

    def __init__(self, records: Any) -> None:
        self.has_next = records.has_next
        self._next = records.next_batch

    def next_batch(self) -> Any:
        return _Batch(self._next())


class _Batch:
    """A batch that is iterated once, from which on it is unpacked."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        try:
            return iter(batch)
        except TooLargeBatch:
            last = batch.next_offset - 1
            text = f"offsets {batch.base_offset} to {last}: a batch that unpacks to more than {MOST_BYTES} bytes"
            return iter((StandIn(last, text.encode(), batch.max_timestamp),))


def _gzip(payload: Any) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(payload)) as unpacking:
        return _whole(unpacking)


def _zstd(payload: Any) -> bytes:
    unpacking = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    return _whole(unpacking.stream_reader(payload, read_across_frames=True))


def _whole(unpacking: Any) -> bytes:
    parts, size = [], 0
    while part := unpacking.read(PIECE):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise TooLargeBatch
    return b"".join(parts)


def _lz4(payload: Any) -> bytes:
    for room in (min(len(payload) * LZ4_RATIO, MOST_BYTES), MOST_BYTES):
        unpacked = bytearray(room)
        try:
            size: int = cramjam.lz4.decompress_into(payload, unpacked)
        except cramjam.DecompressionError:
            continue  # there is no room: the broker has unpacked it before, so nothing else is wrong with it
        return bytes(memoryview(unpacked)[:size])
    raise TooLargeBatch


def _snappy(payload: Any) -> bytes:
    unpacked: bytes = _SNAPPY(payload)  # three bytes stand for at most 64
    if len(unpacked) > MOST_BYTES:
        raise TooLargeBatch
    return unpacked
