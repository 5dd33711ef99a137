"""Incremental decompression: any chunk size, several members, truncated and corrupt streams, and bombs."""

import gzip
import random
import tracemalloc
import zlib

import pytest
import zstandard

from connectors.contract import FixConfiguration, RetryLater
from connectors.text.compression import Decoder, Gzip, Zstd, decoder, detect

TEXT = b"".join(b"%d,some text\n" % number for number in range(5_000))
PACKED = {"gzip": gzip.compress(TEXT), "zstd": zstandard.compress(TEXT)}


def unpack(kind: Decoder, raw: bytes, size: int) -> bytes:
    chunks = []
    for at in range(0, len(raw), size):
        kind.feed(raw[at : at + size])
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


def test_extension_and_first_bytes_have_to_match() -> None:
    assert detect("auto", "a.csv.GZ", PACKED["gzip"][:4]) == "gzip"
    assert detect("auto", "a.csv", PACKED["zstd"][:4]) == "zstd"
    assert detect("auto", "a.csv", b"a,b\n") == "none"
    assert detect("gzip", "a.csv", PACKED["gzip"][:4]) == "gzip"
    assert detect("none", "a.csv.gz", b"a,b\n") == "none"
    assert detect("auto", "a.csv.gz", b"") == "gzip"
    for setting, name, start in (
        ("auto", "a.gz", b"a,b\n"),
        ("zstd", "a", PACKED["gzip"][:4]),
        ("gzip", "a", b"a,b,"),
    ):
        with pytest.raises(FixConfiguration, match="wrong_compression"):
            detect(setting, name, start)
