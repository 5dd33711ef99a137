"""A batch that swells when it is unpacked is one unreadable record; all others are what they were."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record._crecords.default_records import DefaultRecordBatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as InPython

from app.kafka.patch_decompression import MAX_DECOMPRESSED_BYTES, mend

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class LatinName(str):
    """A header's name as a producer sends it that knows no UTF-8."""

    __slots__ = ()

    def encode(self, _encoding: str = "", _errors: str = "") -> bytes:
        return super().encode("latin-1")


def batch(codec: str, values: list[bytes]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 2**31 - 1)
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"k", value, [("h", b"1")])
    return bytes(builder.build())


def read(data: bytes) -> list[Any]:
    mend()
    mend()
    records = fetcher.MemoryRecords(data)
    where = TopicPartition("t", 0)
    return [*fetcher.PartitionRecords(where, records, [], 0, None, None, True, fetcher.READ_COMMITTED)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 300_000])
def test_what_fits_is_as_it_was_sent(codec: str, size: int) -> None:
    values = [bytes([n % 251]) * size for n in range(100)]
    found = read(batch(codec, values) + batch(codec, values))
    assert [each.value for each in found][:100] == values
    assert (found[3].offset, found[3].key, found[3].headers) == (3, b"k", (("h", b"1"),))


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_what_swells_is_one_record_that_says_so(codec: str) -> None:
    values = [bytes(MAX_DECOMPRESSED_BYTES // 8)] * 9
    data = batch(codec, values)
    assert len(data) < MAX_DECOMPRESSED_BYTES // 15
    (found,) = read(data)
    assert (found.offset, found.key, found.timestamp) == (8, None, 1_700_000_000_000)
    assert found.value == b"offsets 0 to 8: a batch that unpacks to more than 33554432 bytes"


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_whose_name_is_no_utf_8_costs_no_record(codec: str) -> None:
    values = [b"%d" % n for n in range(5)]
    builder = InPython(2, CODECS[codec], 0, -1, -1, -1, 2**31 - 1)
    for offset, value in enumerate(values):
        name = LatinName("größe") if offset in {1, 3} else "stream"
        builder.append(offset, 1_700_000_000_000, b"k", value, [(name, b"1"), ("ce_id", None)])
    found = read(bytes(builder.build()) + batch(codec, values))
    assert [(each.offset, each.key, each.value) for each in found[:5]] == [(n, b"k", b"%d" % n) for n in range(5)]
    assert [each.headers[0] for each in found[:4]] == [("stream", b"1"), ("gr\ufffd\ufffde", b"1")] * 2
    assert {each.headers[1] for each in found[:5]} == {("ce_id", None)}


@pytest.mark.parametrize("codec", CODECS)
def test_a_record_that_claims_the_place_of_others_is_not_believed(codec: str) -> None:
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 2**31 - 1)
    for offset in (0, 500, 2):
        builder.append(offset, 1_700_000_000_000, b"k", b"%d" % offset, [])
    first, told = read(bytes(builder.build()))
    assert (first.offset, first.value) == (0, b"0")
    assert (told.offset, told.value) == (2, b"offsets 0 to 2: a batch whose records are not in order")
