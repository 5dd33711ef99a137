"""Lets aiokafka unpack a batch of records only as far as there is room for it.

A batch is bounded by the broker as it was sent; sixteen megabytes of zstd can stand for terabytes. aiokafka unpacks all
of it, so that one batch of a stranger ends every process that reads its partition, again and again. With this, a record
stands in its place that says so: whoever reads it finds no message in it, and goes on.

A header may have any bytes for a name; the broker takes them, and aiokafka ends at those that are no UTF-8, again and
again. Here they are read as far as they go: none of our headers is called like that.

The broker gives a batch its offsets, and leaves it to the sender how they are spread over the records. Who reads takes
a record's offset for how far everything is read, so one that lies behind its batch would take others' messages with it.
"""

import gzip
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import cramjam
import zstandard
from aiokafka.consumer import fetcher
from aiokafka.record import default_records as slow_records
from aiokafka.record._crecords import default_records, legacy_records

MAX_DECOMPRESSED_BYTES: Final = 32 * 1024 * 1024
TOO_LARGE: Final = f"a batch that unpacks to more than {MAX_DECOMPRESSED_BYTES} bytes"
CHUNK_BYTES: Final = 1024 * 1024
LZ4_RATIO: Final = 16  # what is tried first, as room costs time
ZSTD_WINDOW: Final = 128 * 1024 * 1024

_LENGTH: Final = struct.Struct(">8xi")  # of a batch, from here on; its first offset stands before it
_MEMORY_RECORDS: Final = fetcher.MemoryRecords
_SNAPPY: Final = default_records.snappy_decode


class UnreadableBatch(Exception):
    """The batch unpacks to more than there is room for, or its records are not in order. The message says which."""


@dataclass(frozen=True, slots=True)
class UnreadableBatchPlaceholder:
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
    for module in (default_records, legacy_records, slow_records):
        module.gzip_decode, module.lz4_decode, module.snappy_decode = _gzip, _lz4, _snappy
    default_records.zstd_decode = slow_records.zstd_decode = _zstd
    fetcher.MemoryRecords = _Fetched


class _Fetched:
    """The batches that were fetched, as aiokafka asks for them."""

    def __init__(self, data: bytes) -> None:
        self._batches = _MEMORY_RECORDS(data)
        self._rest = memoryview(data)
        self.has_next = self._batches.has_next
        self.size_in_bytes = self._batches.size_in_bytes

    def next_batch(self) -> Any:
        end = _LENGTH.size + _LENGTH.unpack_from(self._rest)[0]
        data, self._rest = self._rest[:end], self._rest[end:]
        return _Batch(self._batches.next_batch(), data)


class _Batch:
    """A batch that is iterated once, from which on it is unpacked."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._records()
        except UnreadableBatch as error:
            last = self._batch.next_offset - 1
            text = f"offsets {self._batch.base_offset} to {last}: {error}"
            yield UnreadableBatchPlaceholder(last, text.encode(), self._batch.max_timestamp)

    def _records(self) -> Iterator[Any]:
        last = self._batch.next_offset - 1
        try:
            yield from _in_order(self._batch, last)
        except UnicodeDecodeError:  # from the beginning: aiokafka drops what it has had already
            yield from _in_order(_with_odd_headers(self._data), last)


def _in_order(records: Iterable[Any], last: int) -> Iterator[Any]:
    """Yield records as long as each is behind the one before, and none behind the batch."""
    before = -1
    for record in records:
        if not before < record.offset <= last:
            raise UnreadableBatch("a batch whose records are not in order")
        before = record.offset
        yield record


class _InvalidText(bytes):
    """Bytes of which the text is what can be read of it."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _InvalidText(found) if isinstance(place, slice) else found

    def decode(self, _encoding: str = "utf-8", _errors: str = "") -> str:
        return super().decode("utf-8", "replace")


def _with_odd_headers(data: memoryview) -> Iterator[Any]:
    """Yield the records of a batch by aiokafka's slow reader. Only names of headers are text to it.

    Nothing public takes names that aren't UTF-8: the unpacked bytes have to be swapped inside the batch.
    """
    batch: Any = slow_records._DefaultRecordBatchPy(data)  # noqa: SLF001  # as above
    batch._maybe_uncompress()  # noqa: SLF001  # as above
    batch._buffer = _InvalidText(batch._buffer)  # noqa: SLF001  # as above
    yield from batch


def _gzip(payload: Any) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(payload)) as unpacking:
        return _whole(unpacking)


def _zstd(payload: Any) -> bytes:
    unpacking = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    return _whole(unpacking.stream_reader(payload, read_across_frames=True))


def _whole(unpacking: Any) -> bytes:
    parts, size = [], 0
    while part := unpacking.read(CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > MAX_DECOMPRESSED_BYTES:
            raise UnreadableBatch(TOO_LARGE)
    return b"".join(parts)


def _lz4(payload: Any) -> bytes:
    for room in (min(len(payload) * LZ4_RATIO, MAX_DECOMPRESSED_BYTES), MAX_DECOMPRESSED_BYTES):
        unpacked = bytearray(room)
        try:
            size: int = cramjam.lz4.decompress_into(payload, unpacked)
        except cramjam.DecompressionError:
            continue  # there is no room: the broker has unpacked it before, so nothing else is wrong with it
        return bytes(memoryview(unpacked)[:size])
    raise UnreadableBatch(TOO_LARGE)


def _snappy(payload: Any) -> bytes:
    unpacked: bytes = _SNAPPY(payload)  # three bytes stand for at most 64
    if len(unpacked) > MAX_DECOMPRESSED_BYTES:
        raise UnreadableBatch(TOO_LARGE)
    return unpacked
