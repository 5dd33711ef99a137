"""Patch aiokafka so that a malicious batch of records can't crash its readers.

Decompression bombs: the broker limits only the compressed size, and 16 MB of zstd can expand to terabytes. aiokafka
decompresses everything, so one batch of a foreign producer would crash every consumer of its partition repeatedly. With
the patch, such a batch is replaced by one placeholder record, which consumers reject as an invalid message.

Header names: the broker accepts any bytes, and aiokafka fails on invalid UTF-8. With the patch, invalid bytes are
replaced. No header that Entrepot reads has such a name.

Offsets: the broker assigns the offsets of a batch, but the producer assigns the offsets of the records within it. An
offset beyond the batch would move the position of consumers past messages of other batches.
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
TOO_LARGE: Final = f"a batch that decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes"
CHUNK_BYTES: Final = 1024 * 1024
LZ4_RATIO: Final = 16  # assumed for the first attempt: a large buffer takes time to allocate
ZSTD_WINDOW: Final = 128 * 1024 * 1024

_LENGTH: Final = struct.Struct(">8xi")  # the batch length, after the 8 bytes of the base offset
_MEMORY_RECORDS: Final = fetcher.MemoryRecords
_SNAPPY: Final = default_records.snappy_decode


class UnreadableBatch(Exception):
    """The batch exceeds the decompressed size limit, or its records are not in order. The message says which."""


@dataclass(frozen=True, slots=True)
class UnreadableBatchPlaceholder:
    """A record that replaces all records of a batch, with the attributes of aiokafka records."""

    offset: int
    value: bytes
    timestamp: int
    key: None = None
    timestamp_type: int = 0
    checksum: None = None
    headers: tuple[()] = ()


def apply() -> None:
    """Apply the patch to this process. Idempotent."""
    for module in (default_records, legacy_records, slow_records):
        module.gzip_decode, module.lz4_decode, module.snappy_decode = _gzip, _lz4, _snappy
    default_records.zstd_decode = slow_records.zstd_decode = _zstd
    fetcher.MemoryRecords = _FetchedBatches


class _FetchedBatches:
    """Fetched batches with the interface of `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._batches = _MEMORY_RECORDS(data)
        self._remaining = memoryview(data)
        self.has_next = self._batches.has_next
        self.size_in_bytes = self._batches.size_in_bytes

    def next_batch(self) -> Any:
        end = _LENGTH.size + _LENGTH.unpack_from(self._remaining)[0]
        data, self._remaining = self._remaining[:end], self._remaining[end:]
        return _Batch(self._batches.next_batch(), data)


class _Batch:
    """A batch that is decompressed on iteration, once."""

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
        except UnicodeDecodeError:  # restart the batch: aiokafka skips records that it has already received
            yield from _in_order(_records_with_invalid_headers(self._data), last)


def _in_order(records: Iterable[Any], last: int) -> Iterator[Any]:
    """Yield records while their offsets increase and stay within the batch."""
    previous = -1
    for record in records:
        if not previous < record.offset <= last:
            raise UnreadableBatch("a batch whose records are not in order")
        previous = record.offset
        yield record


class _InvalidText(bytes):
    """Bytes that replace invalid UTF-8 when decoded."""

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        return _InvalidText(item) if isinstance(key, slice) else item

    def decode(self, _encoding: str = "utf-8", _errors: str = "") -> str:
        return super().decode("utf-8", "replace")


def _records_with_invalid_headers(data: memoryview) -> Iterator[Any]:
    """Yield the records of a batch with the pure Python reader of aiokafka, which decodes only header names.

    aiokafka has no public option for names that aren't UTF-8, so the decompressed buffer is replaced in the batch.
    """
    batch: Any = slow_records._DefaultRecordBatchPy(data)  # noqa: SLF001  # as above
    batch._maybe_uncompress()  # noqa: SLF001  # as above
    batch._buffer = _InvalidText(batch._buffer)  # noqa: SLF001  # as above
    yield from batch


def _gzip(payload: Any) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(payload)) as decompressor:
        return _read_bounded(decompressor)


def _zstd(payload: Any) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    return _read_bounded(decompressor.stream_reader(payload, read_across_frames=True))


def _read_bounded(decompressor: Any) -> bytes:
    chunks, size = [], 0
    while chunk := decompressor.read(CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_DECOMPRESSED_BYTES:
            raise UnreadableBatch(TOO_LARGE)
    return b"".join(chunks)


def _lz4(payload: Any) -> bytes:
    for capacity in (min(len(payload) * LZ4_RATIO, MAX_DECOMPRESSED_BYTES), MAX_DECOMPRESSED_BYTES):
        output = bytearray(capacity)
        try:
            size: int = cramjam.lz4.decompress_into(payload, output)
        except cramjam.DecompressionError:
            continue  # the buffer is too small: the broker has validated the batch, so it is not corrupt
        return bytes(memoryview(output)[:size])
    raise UnreadableBatch(TOO_LARGE)


def _snappy(payload: Any) -> bytes:
    output: bytes = _SNAPPY(payload)  # the ratio is at most 64 to 3
    if len(output) > MAX_DECOMPRESSED_BYTES:
        raise UnreadableBatch(TOO_LARGE)
    return output
