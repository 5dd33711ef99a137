"""Incremental decompression: any chunk size, several members, truncated and corrupt streams, and bombs."""

import gzip
import random
import tracemalloc
import zlib
from typing import Any

import pytest
import zstandard

from connectors.contract import FixConfiguration, RetryLater
from connectors.text.compression import Decoder, Gzip, Unpacker, Zstd, decoder

TEXT = b"".join(b"%d,some text\n" % number for number in range(5_000))
PACKED = {"gzip": gzip.compress(TEXT), "zstd": zstandard.compress(TEXT)}


def unpack(kind: Decoder, raw: bytes, size: int) -> bytes:
    chunks = []
    for at in range(0, len(raw), size):
        kind.feed(raw[at : at + size])
        chunks.extend(iter(kind.read, b""))
    kind.feed(b"")
    chunks.extend(iter(kind.read, b""))
    kind.finish()
    return b"".join(chunks)


@pytest.mark.parametrize("size", [1, 7, 1000, 1_000_000])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_chunk_size_makes_no_difference(kind: str, size: int) -> None:
    assert unpack(Gzip() if kind == "gzip" else Zstd(), PACKED[kind], size) == TEXT


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_members_and_frames_are_concatenated(size: int) -> None:
    assert unpack(Gzip(), PACKED["gzip"] * 3 + b"\0" * 20, size) == TEXT * 3
    assert unpack(Zstd(), PACKED["zstd"] * 3, size) == TEXT * 3


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize("padding", [bytes(700), b"\n", b"\r\n\0"])
def test_padding_after_gzip_members_is_skipped(padding: bytes, size: int) -> None:
    packed = PACKED["gzip"] + padding
    assert unpack(Unpacker("auto"), packed, size) == TEXT
    assert unpack(Unpacker("auto"), packed * 2, size) == TEXT * 2


@pytest.mark.parametrize("rest", [b"x", b"garbage", bytes(9) + b"garbage"])
def test_other_data_after_a_gzip_member_is_a_permanent_error(rest: bytes) -> None:
    with pytest.raises(FixConfiguration, match="corrupt_compression"):
        unpack(Unpacker("auto"), PACKED["gzip"] + rest, 1000)


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize("first", [b"P", b"_"])
def test_skippable_frames_of_zstd_are_skipped(first: bytes, size: int) -> None:
    frame = first + b"\x2a\x4d\x18\x04\0\0\0meta"
    packed = frame + PACKED["zstd"] + frame * 2 + PACKED["zstd"] + frame
    assert unpack(Unpacker("auto"), packed, size) == TEXT * 2


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_truncated_stream_returns_its_data_and_is_retried(kind: str) -> None:
    archive = decoder("gzip" if kind == "gzip" else "zstd")
    random.seed(5)
    noise = random.randbytes(1_000_000)
    packed = gzip.compress(noise) if kind == "gzip" else zstandard.compress(noise)
    archive.feed(packed[: len(packed) // 2])
    decompressed = b"".join(iter(archive.read, b""))
    assert len(decompressed) > 300_000
    assert noise.startswith(decompressed)
    with pytest.raises(RetryLater, match="truncated"):
        archive.finish()


def test_a_corrupt_stream_is_a_permanent_error() -> None:
    broken = bytearray(PACKED["gzip"])
    broken[-6] ^= 1  # in its checksum
    with pytest.raises(FixConfiguration, match="corrupt_compression"):
        unpack(Gzip(), bytes(broken), 100)
    with pytest.raises(FixConfiguration, match="corrupt_compression"):
        unpack(Zstd(), PACKED["zstd"][:8] + b"\xff" * 100, 100)


def zeros(kind: str) -> bytes:
    """Compress 200 MB of zeros at the highest level."""
    if kind == "zstd":
        return zstandard.compress(bytes(200_000_000))
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(200)), packer.flush()])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_rejected_in_bounded_memory(kind: str) -> None:
    raw = zeros(kind)
    archive = decoder("gzip" if kind == "gzip" else "zstd")
    archive.feed(raw)
    tracemalloc.start()
    try:
        with pytest.raises(FixConfiguration, match="compression_bomb"):
            assert max(map(len, iter(archive.read, b""))) <= 70_000_000
        assert tracemalloc.get_traced_memory()[1] < 160_000_000
    finally:
        tracemalloc.stop()


def test_a_high_compression_ratio_alone_is_no_bomb() -> None:
    text = b"a,b,c,some value that is always the same\n" * 2_000_000
    assert len(unpack(Gzip(), gzip.compress(text, 1), 65536)) == len(text)


@pytest.mark.parametrize("size", [1, 3, 1_000_000])
@pytest.mark.parametrize("expected", ["auto", "gzip"])
@pytest.mark.parametrize("name", [None, "gzip", "zstd"])
def test_the_first_bytes_decide_and_layers_are_undone(size: int, expected: Any, name: Any) -> None:
    gzipped = PACKED["gzip"]
    for packed in (gzipped, gzip.compress(gzipped), gzip.compress(gzip.compress(PACKED["zstd"]))):
        unpacker = Unpacker(expected, name)
        assert unpack(unpacker, packed, size) == TEXT
        assert not unpacker.plain
    if expected == "auto":
        unpacker = Unpacker(expected, name)
        assert unpack(unpacker, TEXT[:2_000], size) == TEXT[:2_000]
        assert unpacker.plain
    assert unpack(Unpacker(expected, name), b"", size) == b""


@pytest.mark.parametrize(
    ("expected", "name", "data"),
    [
        ("zstd", None, PACKED["gzip"]),
        ("gzip", None, b"a,b\n"),
        ("none", None, PACKED["gzip"]),
        ("auto", "gzip", b"\x1f\x8c" + PACKED["gzip"][2:]),
    ],
)
def test_content_that_contradicts_is_refused(expected: Any, name: Any, data: bytes) -> None:
    with pytest.raises(FixConfiguration, match="wrong_compression"):
        unpack(Unpacker(expected, name), data, 100)


def test_too_many_layers_are_refused() -> None:
    packed = TEXT
    for _ in range(4):
        packed = gzip.compress(packed)
    with pytest.raises(FixConfiguration, match="too_many_layers"):
        unpack(Unpacker("auto"), packed, 1000)


def test_the_bytes_of_all_layers_count_for_a_bomb() -> None:
    bomb = gzip.compress(gzip.compress(bytes(200_000_000), 9), 9)
    with pytest.raises(FixConfiguration, match="compression_bomb"):
        unpack(Unpacker("auto"), bomb, 65_536)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_truncated_layer_is_retried(layers: int) -> None:
    packed = gzip.compress(random.Random(3).randbytes(5_000).hex().encode())
    cut = packed[:-4000] if layers == 1 else gzip.compress(packed[:-4000])
    with pytest.raises(RetryLater, match="truncated"):
        unpack(Unpacker("auto"), cut, 100)
