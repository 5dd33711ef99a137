"""Undoes gzip and zstd as bytes arrive, a bounded piece at a time, and refuses archives that swell without end.

A stream that stops in the middle is `RetryLater` (it may still be written); one that is broken is `FixConfiguration`.
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
ZSTD_SLICE: Final = 2048  # four bytes can stand for 128 KiB: so much input at once makes at most 64 MiB
ZSTD_WINDOW: Final = 128 * 1024 * 1024
BOMB_FROM: Final = 64 * 1024 * 1024
BOMB_RATIO: Final = 1000


class Decoder(Protocol):
    """Raw bytes in, plain bytes out."""

    def feed(self, raw: bytes) -> None:
        """Take the next raw bytes."""
        ...

    def read(self) -> bytes:
        """Return the next plain bytes; b"" when more raw bytes are needed."""
        ...

    def finish(self) -> None:
        """Nothing more comes: raise `RetryLater` when the stream isn't complete."""
        ...


def detect(asked: Compression | Literal["auto"], name: str, start: bytes) -> Compression:
    """What a source is compressed with: as asked, by its name, or by its first bytes, which must agree."""
    by_name = next((kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix)), None)
    by_bytes = next((kind for kind, magic in MAGIC.items() if start.startswith(magic)), None)
    kind = asked if asked != "auto" else by_name or by_bytes or "none"
    if kind == "none" or not start or by_bytes == kind:
        return kind
    origin = "is named like" if asked == "auto" else "is configured as"
    found = by_bytes or "no compression known here"
    raise FixConfiguration(
        "wrong_compression", f"the source {origin} {kind}, but its first bytes show {found}; set `compression` to match"
    )


def decoder(kind: Compression) -> Decoder:
    """A fresh decoder."""
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
        """Take the next raw bytes."""
        self._raw = self._raw + raw if self._raw else raw

    def read(self) -> bytes:
        """Return what was fed."""
        raw, self._raw = self._raw, b""
        return raw

    def finish(self) -> None:
        """Always complete."""


class _ExpansionLimit:
    """Counts what goes in and what comes out."""

    def __init__(self) -> None:
        self._raw = b""
        self._taken = 0
        self._given = 0

    def feed(self, raw: bytes) -> None:
        """Take the next raw bytes."""
        self._raw = self._raw + raw if self._raw else raw

    def _count(self, taken: int, piece: bytes) -> bytes:
        self._taken += taken
        self._given += len(piece)
        if self._given > BOMB_FROM and self._given > BOMB_RATIO * self._taken:
            raise FixConfiguration(
                "compression_bomb",
                f"{self._taken:,} compressed bytes swelled to more than {self._given:,}: over {BOMB_RATIO} to 1 is "
                "refused; unpack the file first if this is really meant",
            )
        return piece


class Gzip(_ExpansionLimit):
    """gzip (RFC 1952), any number of members."""

    def __init__(self) -> None:
        super().__init__()
        self._member: zlib._Decompress | None = None
        self._members = 0

    def read(self) -> bytes:
        """Return the next plain bytes; b"" when more raw bytes are needed."""
        while self._raw:
            if self._member is None and self._members and not (raw := self._raw.lstrip(b"\0")):
                self._raw = raw  # some tools pad behind the last member
                break
            member = self._member = self._member or zlib.decompressobj(wbits=31)
            before = len(self._raw)
            try:
                piece = member.decompress(self._raw, CHUNK_BYTES)
            except zlib.error as error:
                raise _corrupt("gzip", str(error)) from error
            self._raw = member.unconsumed_tail or member.unused_data
            if member.eof:
                self._member = None
                self._members += 1
            if piece := self._count(before - len(self._raw), piece):
                return piece
        return b""

    def finish(self) -> None:
        """Raise `RetryLater` in the middle of a member."""
        if self._member is not None:
            raise _truncated("gzip")


class Zstd(_ExpansionLimit):
    """Zstandard (RFC 8878), any number of frames."""

    def __init__(self) -> None:
        super().__init__()
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._at = 0

    def feed(self, raw: bytes) -> None:
        """Take the next raw bytes."""
        self._raw = self._raw[self._at :] + raw
        self._at = 0

    def read(self) -> bytes:
        """Return the next plain bytes; b"" when more raw bytes are needed."""
        while self._at < len(self._raw):
            frame = self._frame = self._frame or zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
            some = self._raw[self._at : self._at + ZSTD_SLICE]
            try:
                piece = frame.decompress(some)
            except zstandard.ZstdError as error:
                raise _corrupt("zstd", str(error)) from error
            taken = len(some) - len(frame.unused_data)
            self._at += taken
            if frame.eof:
                self._frame = None
            if piece := self._count(taken, piece):
                return piece
        return b""

    def finish(self) -> None:
        """Raise `RetryLater` in the middle of a frame."""
        if self._frame is not None:
            raise _truncated("zstd")


def _truncated(kind: str) -> RetryLater:
    return RetryLater(
        "truncated",
        f"the {kind} stream stops in the middle: what was complete is kept, and reading goes on behind it once the "
        "rest is there; if the file isn't being written any more, put a complete one in its place",
    )


def _corrupt(kind: str, detail: str) -> FixConfiguration:
    return FixConfiguration(
        "corrupt_compression", f"the {kind} stream is broken; put an intact file in its place", detail=detail
    )
