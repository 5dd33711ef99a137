"""Any text encoding to UTF-8, as bytes arrive. What the encoding lacks stays visible as invalid UTF-8."""

import codecs
from typing import Final

from connectors.contract import FixConfiguration

MARK: Final = "\udcff"  # a lone surrogate: no valid text holds one, and its UTF-8 form is refused by every decoder


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return MARK, error.end


codecs.register_error("entrepot.mark", _mark)


def is_utf8(encoding: str) -> bool:
    """Whether text in `encoding` is UTF-8 as it is. Raises `LookupError` when no such encoding is known."""
    return codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}


class ToUtf8:
    """Transcodes a stream. UTF-8 passes as it is, except that a byte-order mark at its start is noticed."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = None if is_utf8(encoding) else codecs.getincrementaldecoder(encoding)("entrepot.mark")

    def convert(self, piece: bytes, *, final: bool) -> bytes:
        """Return the UTF-8 of the next bytes; what isn't complete waits for the next call."""
        if self._decoder is None:
            return piece
        try:
            return self._decoder.decode(piece, final).encode("utf-8", "surrogatepass")
        except UnicodeError as error:  # of those codecs that don't ask how to go on, as UTF-16 without a mark
            raise FixConfiguration(
                "wrong_encoding",
                f"the text isn't {self._encoding}: {error}; set `encoding` to what it is, such as utf-16-le",
            ) from error


def after_bom(start: bytes) -> int:
    """How many bytes of a byte-order mark a UTF-8 text starts with; raises when the mark is another encoding's."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FixConfiguration("wrong_encoding", "the text starts with the mark of UTF-16; set `encoding` to `utf-16`")
    return len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
