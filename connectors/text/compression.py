"""Decompress gzip and zstd incrementally, in bounded chunks, and reject decompression bombs.

A truncated stream raises `RetryLater` (it may still be written); a corrupt one raises `FixConfiguration`.
"""

import zlib
from typing import Final, Literal, Protocol

import zstandard

from connectors.contract import FixConfiguration, RetryLater

Compression = Literal["none", "gzip", "zstd"]
MAGIC: Final[dict[Compression, bytes]] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
MAGIC_BYTES: Final = 4
SUFFIXES: Final[dict[str, Compression]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
CHUNK_BYTES: Final = 1024 * 1024
ZSTD_SLICE: Final = 2048  # four bytes can expand to 128 KiB, so one slice expands to at most 64 MiB
ZSTD_WINDOW: Final = 128 * 1024 * 1024
BOMB_MIN_BYTES: Final = 64 * 1024 * 1024  # no limit on the ratio below this output size
MAX_EXPANSION_RATIO: Final = 1000


class Decoder(Protocol):
    """An incremental decompressor."""

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes."""
        ...

    def read(self) -> bytes:
        """Return the next decompressed bytes; b"" when more input is needed."""
        ...

    def finish(self) -> None:
        """Mark the end of the input. Raise `RetryLater` when the stream is incomplete."""
        ...


def detect(configured: Compression | Literal["auto"], name: str, start: bytes) -> Compression:
    """Return the compression of a source: configured, by file extension, or by its first bytes, which must match."""
    by_name = next((kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix)), None)
    by_bytes = next((kind for kind, magic in MAGIC.items() if start.startswith(magic)), None)
    kind = configured if configured != "auto" else by_name or by_bytes or "none"
    if kind == "none" or not start or by_bytes == kind:
        return kind
    raise FixConfiguration("wrong_compression", {"expected": kind, "found": by_bytes or "no known compression"})


def decoder(kind: Compression) -> Decoder:
    """Return a new decoder."""
    match kind:
        case "none":
            return Uncompressed()
        case "gzip":
            return Gzip()
        case "zstd":
            return Zstd()


class Uncompressed:
    """No compression."""

    def __init__(self) -> None:
        self._raw = b""

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes."""
        self._raw = self._raw + raw if self._raw else raw

    def read(self) -> bytes:
        """Return the input unchanged."""
        raw, self._raw = self._raw, b""
        return raw

    def finish(self) -> None:
        """Accept any input as complete."""


class _ExpansionLimit:
    """Limits the ratio of output to input."""

    def __init__(self) -> None:
        self._raw = b""
        self._bytes_in = 0
        self._bytes_out = 0

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes."""
        self._raw = self._raw + raw if self._raw else raw

    def _count(self, consumed: int, chunk: bytes) -> bytes:
        self._bytes_in += consumed
        self._bytes_out += len(chunk)
        if self._bytes_out > BOMB_MIN_BYTES and self._bytes_out > MAX_EXPANSION_RATIO * self._bytes_in:
            raise FixConfiguration(
                "compression_bomb",
                {"compressed": self._bytes_in, "bytes": self._bytes_out, "max_ratio": MAX_EXPANSION_RATIO},
            )
        return chunk


class Gzip(_ExpansionLimit):
    """gzip (RFC 1952), any number of members."""

    def __init__(self) -> None:
        super().__init__()
        self._member: zlib._Decompress | None = None
        self._members = 0

    def read(self) -> bytes:
        """Return the next decompressed bytes; b"" when more input is needed."""
        while self._raw:
            if self._member is None and self._members and not (raw := self._raw.lstrip(b"\0")):
                self._raw = raw  # some tools pad after the last member with zeros
                break
            member = self._member = self._member or zlib.decompressobj(wbits=31)
            available = len(self._raw)
            try:
                chunk = member.decompress(self._raw, CHUNK_BYTES)
            except zlib.error as error:
                raise _corrupt("gzip", str(error)) from error
            self._raw = member.unconsumed_tail or member.unused_data
            if member.eof:
                self._member = None
                self._members += 1
            if chunk := self._count(available - len(self._raw), chunk):
                return chunk
        return b""

    def finish(self) -> None:
        """Raise `RetryLater` if a member is incomplete."""
        if self._member is not None:
            raise _truncated("gzip")


class Zstd(_ExpansionLimit):
    """Zstandard (RFC 8878), any number of frames."""

    def __init__(self) -> None:
        super().__init__()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._position = 0

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes."""
        self._raw = self._raw[self._position :] + raw
        self._position = 0

    def read(self) -> bytes:
        """Return the next decompressed bytes; b"" when more input is needed."""
        while self._position < len(self._raw):
            frame = self._frame = self._frame or zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
            part = self._raw[self._position : self._position + ZSTD_SLICE]
            try:
                chunk = frame.decompress(part)
            except zstandard.ZstdError as error:
                raise _corrupt("zstd", str(error)) from error
            consumed = len(part) - len(frame.unused_data)
            self._position += consumed
            if frame.eof:
                self._frame = None
            if chunk := self._count(consumed, chunk):
                return chunk
        return b""

    def finish(self) -> None:
        """Raise `RetryLater` if a frame is incomplete."""
        if self._frame is not None:
            raise _truncated("zstd")


def _truncated(kind: str) -> RetryLater:
    return RetryLater("truncated", {"compression": kind})


def _corrupt(kind: str, detail: str) -> FixConfiguration:
    return FixConfiguration("corrupt_compression", {"compression": kind}, detail=detail)
