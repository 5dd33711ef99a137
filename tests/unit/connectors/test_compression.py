"""Archives as they arrive: in any pieces, in several parts, cut off, broken, or swelling without end."""

import gzip
import random
import tracemalloc
import zlib

import pytest
import zstandard

from connectors.contract import FixConfiguration, RetryLater
from connectors.text.compression import Decoder, Gzip, Zstd, decoder, detect

TEXT = b"".join(b"%d,some text\n" % each for each in range(5_000))
PACKED = {"gzip": gzip.compress(TEXT), "zstd": zstandard.compress(TEXT)}


def unpack(kind: Decoder, raw: bytes, size: int) -> bytes:
    pieces = []
    for at in range(0, len(raw), size):
        kind.feed(raw[at : at + size])
        pieces.extend(iter(kind.read, b""))
    kind.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 7, 1000, 1_000_000])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_the_pieces_make_no_difference(kind: str, size: int) -> None:
    assert unpack(Gzip() if kind == "gzip" else Zstd(), PACKED[kind], size) == TEXT


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_several_members_and_frames_are_one_text(size: int) -> None:
    assert unpack(Gzip(), PACKED["gzip"] * 3 + b"\0" * 20, size) == TEXT * 3
    assert unpack(Zstd(), PACKED["zstd"] * 3, size) == TEXT * 3


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_stream_that_stops_in_the_middle_gives_what_it_has_and_is_tried_again(kind: str) -> None:
    archive = decoder("gzip" if kind == "gzip" else "zstd")
    random.seed(5)
    noise = random.randbytes(1_000_000)
    packed = gzip.compress(noise) if kind == "gzip" else zstandard.compress(noise)
    archive.feed(packed[: len(packed) // 2])
    found = b"".join(iter(archive.read, b""))
    assert len(found) > 300_000
    assert noise.startswith(found)
    with pytest.raises(RetryLater, match="stops in the middle"):
        archive.finish()


def test_a_broken_stream_needs_another_file() -> None:
    broken = bytearray(PACKED["gzip"])
    broken[-6] ^= 1  # in its checksum
    with pytest.raises(FixConfiguration, match="broken"):
        unpack(Gzip(), bytes(broken), 100)
    with pytest.raises(FixConfiguration, match="broken"):
        unpack(Zstd(), PACKED["zstd"][:8] + b"\xff" * 100, 100)


def zeros(kind: str) -> bytes:
    """200 MB of zeros, packed as hard as it goes."""
    if kind == "zstd":
        return zstandard.compress(bytes(200_000_000))
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(200)), packer.flush()])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_refused_in_little_memory(kind: str) -> None:
    raw = zeros(kind)
    archive = decoder("gzip" if kind == "gzip" else "zstd")
    archive.feed(raw)
    tracemalloc.start()
    try:
        with pytest.raises(FixConfiguration, match="refused"):
            assert max(map(len, iter(archive.read, b""))) <= 70_000_000
        assert tracemalloc.get_traced_memory()[1] < 160_000_000
    finally:
        tracemalloc.stop()


def test_what_compresses_well_is_no_bomb() -> None:
    text = b"a,b,c,some value that is always the same\n" * 2_000_000
    assert len(unpack(Gzip(), gzip.compress(text, 1), 65536)) == len(text)


def test_the_name_and_the_first_bytes_have_to_agree() -> None:
    assert detect("auto", "a.csv.GZ", PACKED["gzip"][:4]) == "gzip"
    assert detect("auto", "a.csv", PACKED["zstd"][:4]) == "zstd"
    assert detect("auto", "a.csv", b"a,b\n") == "none"
    assert detect("gzip", "a.csv", PACKED["gzip"][:4]) == "gzip"
    assert detect("none", "a.csv.gz", b"a,b\n") == "none"
    assert detect("auto", "a.csv.gz", b"") == "gzip"
    for asked, name, start in (("auto", "a.gz", b"a,b\n"), ("zstd", "a", PACKED["gzip"][:4]), ("gzip", "a", b"a,b,")):
        with pytest.raises(FixConfiguration, match="set `compression` to match"):
            detect(asked, name, start)
