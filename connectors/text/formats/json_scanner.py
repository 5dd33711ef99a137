"""Find the boundaries of JSON values by brackets and strings alone. Validates nothing else."""

import re
from typing import Final

_BOUNDARY: Final = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+\{")
STRING_END: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_WHITE_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
# Everything up to the next bracket outside a string, or to the quote of an incomplete string.
_FLAT: Final = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)


def match_end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """Return the end of a match at `start`; the pattern has to accept the empty string."""
    match = pattern.match(text, start)
    assert match is not None
    return match.end()


def skip_blanks(text: bytes, start: int) -> int:
    """Return the offset of the next token, or the end of the text."""
    return match_end(_WHITE_SPACE, text, start)


def closing_end(text: bytes, start: int) -> int | None:
    """Return the end of the object or array at `start`; None if the text is incomplete."""
    at, depth = start + 1, 1
    while depth:
        at = match_end(_FLAT, text, at) + 1
        match text[at - 1 : at]:
            case b"{" | b"[":
                depth += 1
            case b"}" | b"]":
                depth -= 1
            case _:
                return None
    return at


def cut_at_boundaries(text: bytes, start: int) -> tuple[list[bytes], int]:
    """Split at every `},{`, even inside strings; return the pieces and the offset of the remainder.

    No proper prefix of a JSON object is an object, so if every piece is an object, all splits were right.
    """
    pieces = []
    for boundary in _BOUNDARY.finditer(text, start):
        pieces.append(text[start : boundary.start() + 1])
        start = boundary.end() - 1
    return pieces, start
