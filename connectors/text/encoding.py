"""Transcode text to UTF-8 incrementally. Undecodable bytes become invalid UTF-8, which the parsers reject."""

import codecs
from typing import Final

from connectors.contract import FixConfiguration

BOM: Final = codecs.BOM_UTF8  # the byte-order mark, in the text as UTF-8
SWAPPED_BOM: Final = "\ufffe".encode()  # of UTF-16 that was read in the wrong byte order
MARKER: Final = "\udcff"  # a lone surrogate: never in valid text, and every UTF-8 decoder rejects it


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return MARKER, error.end


codecs.register_error("entrepot.mark", _mark_undecodable)


def is_utf8(encoding: str) -> bool:
    """Whether text in `encoding` is valid UTF-8 as it is. Raise `LookupError` for an unknown encoding."""
    return codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}


class ToUtf8:
    """An incremental transcoder. UTF-8 passes unchanged, also if only its byte-order mark shows that it is UTF-8."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = None if is_utf8(encoding) else codecs.getincrementaldecoder(encoding)("entrepot.mark")
        self._head: bytes | None = None if self._decoder is None else b""  # until it shows whether there is a mark

    def convert(self, data: bytes, *, final: bool) -> bytes:
        """Return the next bytes as UTF-8. Incomplete characters wait for the next call."""
        if self._head is not None:
            data = self._head + data
            if len(data) < len(BOM) and BOM.startswith(data) and not final:
                self._head = data
                return b""
            self._head = None
            if data.startswith(BOM):
                self._decoder = None  # servers name other encodings without a look at the file
        if self._decoder is None:
            return data
        try:
            return self._decoder.decode(data, final).encode("utf-8", "surrogatepass")
        except UnicodeError as error:  # codecs that ignore error handlers, such as UTF-16 without a BOM
            raise FixConfiguration("wrong_encoding", {"encoding": self._encoding}, detail=str(error)) from error


def has_bom(text: bytes) -> bool:
    """Whether a byte-order mark is in a text. The search for its first byte alone is much faster."""
    return BOM[:1] in text and BOM in text


def bom_length(start: bytes) -> int:
    """Return the length of the UTF-8 byte-order mark. Raise `FixConfiguration` for that of another encoding."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, SWAPPED_BOM)):
        raise FixConfiguration("utf_16_mark")
    return len(BOM) if start.startswith(BOM) else 0
