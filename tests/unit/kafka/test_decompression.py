"""A batch that exceeds the limit when decompressed becomes one unreadable record; others are unchanged."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record._crecords.default_records import DefaultRecordBatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as PythonBatchBuilder

from app.kafka.patches.decompression import MAX_DECOMPRESSED_BYTES, apply

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class LatinName(str):
    """A header name that a producer encodes as Latin-1."""

    __slots__ = ()

    def encode(self, _encoding: str = "", _errors: str = "") -> bytes:
        return super().encode("latin-1")


def batch(codec: str, values: list[bytes]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 2**31 - 1)
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"k", value, [("h", b"1")])
    return bytes(builder.build())


def read(data: bytes) -> list[Any]:
    apply()
    apply()
    records = fetcher.MemoryRecords(data)
    partition = TopicPartition("t", 0)
    return [*fetcher.PartitionRecords(partition, records, [], 0, None, None, True, fetcher.READ_COMMITTED)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 300_000])
def test_batches_within_the_limit_are_unchanged(codec: str, size: int) -> None:
    values = [bytes([n % 251]) * size for n in range(100)]
    decoded = read(batch(codec, values) + batch(codec, values))
    assert [record.value for record in decoded][:100] == values
    assert (decoded[3].offset, decoded[3].key, decoded[3].headers) == (3, b"k", (("h", b"1"),))


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_over_the_limit_is_one_placeholder(codec: str) -> None:
    values = [bytes(MAX_DECOMPRESSED_BYTES // 8)] * 9
    data = batch(codec, values)
    assert len(data) < MAX_DECOMPRESSED_BYTES // 15
    (record,) = read(data)
    assert (record.offset, record.key, record.timestamp) == (8, None, 1_700_000_000_000)
    assert record.value == b"offsets 0 to 8: a batch that decompresses to more than 33554432 bytes"


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_name_that_is_not_utf8_loses_no_record(codec: str) -> None:
    values = [b"%d" % n for n in range(5)]
    builder = PythonBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 2**31 - 1)
    for offset, value in enumerate(values):
        name = LatinName("größe") if offset in {1, 3} else "stream"
        builder.append(offset, 1_700_000_000_000, b"k", value, [(name, b"1"), ("ce_id", None)])
    decoded = read(bytes(builder.build()) + batch(codec, values))
    assert [(record.offset, record.key, record.value) for record in decoded[:5]] == [
        (n, b"k", b"%d" % n) for n in range(5)
    ]
    assert [record.headers[0] for record in decoded[:4]] == [("stream", b"1"), ("gr\ufffd\ufffde", b"1")] * 2
    assert {record.headers[1] for record in decoded[:5]} == {("ce_id", None)}


@pytest.mark.parametrize("codec", CODECS)
def test_records_out_of_order_are_unreadable(codec: str) -> None:
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 2**31 - 1)
    for offset in (0, 500, 2):
        builder.append(offset, 1_700_000_000_000, b"k", b"%d" % offset, [])
    first, placeholder = read(bytes(builder.build()))
    assert (first.offset, first.value) == (0, b"0")
    assert (placeholder.offset, placeholder.value) == (2, b"offsets 0 to 2: a batch whose records are not in order")
