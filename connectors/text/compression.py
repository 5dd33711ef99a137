"""Decompress gzip and zstd incrementally, in bounded chunks, and reject decompression bombs.

The first bytes decide, not the name: servers compress and decompress files on the way, or do it twice.
A truncated stream raises `RetryLater` (it may still be written); a corrupt one raises `FixConfiguration`.
"""

import zlib
from typing import Final, Literal, Protocol

import zstandard

from connectors.contract import FixConfiguration, RetryLater
from connectors.text.content import refuse_foreign

Compression = Literal["none", "gzip", "zstd"]
SKIPPABLE_FRAMES: Final = tuple(bytes((first,)) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
MAGIC: Final[dict[Compression, tuple[bytes, ...]]] = {
    "gzip": (b"\x1f\x8b",),
    "zstd": (b"\x28\xb5\x2f\xfd", *SKIPPABLE_FRAMES),  # parallel compressors begin with a skippable one
}
PADDING: Final = b"\0\r\n"  # that some tools add after a gzip member
MAX_LAYERS: Final = 3
SAMPLE_BYTES: Final = 512  # of a file that is named like a compressed one, but isn't
CONTROLS: Final = bytes(code for code in range(0x20) if code not in b"\0\t\n\v\f\r\x1b")  # UTF-16 has NUL bytes
SUFFIXES: Final[dict[str, Compression]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
CHUNK_BYTES: Final = 1024 * 1024
ZSTD_SLICE: Final = 2048  # four bytes can expand to 128 KiB, so one slice expands to at most 64 MiB
ZSTD_WINDOW: Final = 128 * 1024 * 1024
BOMB_MIN_BYTES: Final = 64 * 1024 * 1024  # no limit on the ratio below this output size
MAX_EXPANSION_RATIO: Final = 1000


class Decoder(Protocol):
    """An incremental decompressor."""

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes; b"" marks the end."""
        ...

    def read(self) -> bytes:
        """Return the next decompressed bytes; b"" when more input is needed."""
        ...

    def finish(self) -> None:
        """Mark the end of the input. Raise `RetryLater` when the stream is incomplete."""
        ...


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

    plain: Final = True

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


class Unpacker:
    """Decompresses a source in as many layers as its content has, and refuses content that is no text.

    `expected` is the configured compression of the outermost layer; `named` is that of the file name.
    """

    def __init__(
        self, expected: Compression | Literal["auto"], named: Compression | None = None, layers: int = 0
    ) -> None:
        self._expected = expected
        self._named = named
        self._layers = layers
        self._head = b""
        self._ended = False
        self._inner: Decoder | None = None

    @property
    def plain(self) -> bool:
        """Whether the source isn't compressed, once data was read."""
        return isinstance(self._inner, Uncompressed)

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes; b"" marks the end."""
        if self._inner is not None:
            self._inner.feed(raw)
        else:
            self._head += raw
            self._ended = not raw

    def read(self) -> bytes:
        """Return the next decompressed bytes; b"" when more input is needed."""
        if self._inner is None:
            self._inner = self._choose()
            if self._inner is None:
                return b""
            self._inner.feed(self._head)
            if self._ended and self._head:
                self._inner.feed(b"")
        return self._inner.read()

    def finish(self) -> None:
        """Raise `RetryLater` when a layer is incomplete."""
        if self._inner is not None:
            self._inner.finish()

    def _choose(self) -> Decoder | None:
        """Return the decoder of the next layer by the first bytes; None if there are too few."""
        head = self._head
        kind: Compression = next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), "none")
        if kind == "none" and not self._ended:
            undecided = any(magic.startswith(head) for magics in MAGIC.values() for magic in magics)
            if undecided or (self._named and len(head) < SAMPLE_BYTES):
                return None
        if kind == "none" and not refuse_foreign(head, final=self._ended):
            return None
        if head:
            self._check(kind)
        if kind == "none":
            return Uncompressed()
        if self._layers == MAX_LAYERS:
            raise FixConfiguration("too_many_layers", {"max": MAX_LAYERS})
        return _Layer(Gzip() if kind == "gzip" else Zstd(), Unpacker("auto", layers=self._layers + 1))

    def _check(self, kind: Compression) -> None:
        expected = kind if self._expected == "auto" else self._expected
        sample = self._head[:SAMPLE_BYTES]
        if self._expected == "auto" and kind == "none" and sample.translate(None, CONTROLS) != sample:
            expected = self._named or kind  # the name of a compressed file may stay when it is decompressed on its way
        if kind != expected:
            found = kind if kind != "none" else "no known compression"
            raise FixConfiguration("wrong_compression", {"expected": expected, "found": found})


class _Layer:
    """A compression with the content inside."""

    def __init__(self, outer: "Gzip | Zstd", inner: Decoder) -> None:
        self._outer = outer
        self._inner = inner
        self._ended = False
        self._bytes_out = 0

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes; b"" marks the end."""
        self._outer.feed(raw)
        self._ended = not raw

    def read(self) -> bytes:
        """Return the next decompressed bytes; b"" when more input is needed."""
        while not (chunk := self._inner.read()):
            part = self._outer.read()
            if part or self._ended:
                self._inner.feed(part)
            if not part:
                chunk = self._inner.read() if self._ended else b""
                break
        self._bytes_out += len(chunk)
        check_expansion(self._outer.bytes_in, self._bytes_out)
        return chunk

    def finish(self) -> None:
        """Raise `RetryLater` when a layer is incomplete."""
        self._outer.finish()
        self._inner.finish()


def check_expansion(bytes_in: int, bytes_out: int) -> None:
    """Raise `FixConfiguration` for a decompression bomb."""
    if bytes_out > BOMB_MIN_BYTES and bytes_out > MAX_EXPANSION_RATIO * bytes_in:
        params = {"compressed": bytes_in, "bytes": bytes_out, "max_ratio": MAX_EXPANSION_RATIO}
        raise FixConfiguration("compression_bomb", params)


class _ExpansionLimit:
    """Limits the ratio of output to input."""

    def __init__(self) -> None:
        self._raw = b""
        self.bytes_in = 0
        self._bytes_out = 0

    def feed(self, raw: bytes) -> None:
        """Add the next compressed bytes."""
        self._raw = self._raw + raw if self._raw else raw

    def _count(self, consumed: int, chunk: bytes) -> bytes:
        self.bytes_in += consumed
        self._bytes_out += len(chunk)
        check_expansion(self.bytes_in, self._bytes_out)
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
            if self._member is None and self._members:
                self._skip_padding()
                if not self._raw:
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

    def _skip_padding(self) -> None:
        available = len(self._raw)
        self._raw = self._raw.lstrip(PADDING)
        self._count(available - len(self._raw), b"")
        if self._raw and not self._raw.startswith(b"\x1f"):
            raise _corrupt("gzip", "data after the last member")

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
