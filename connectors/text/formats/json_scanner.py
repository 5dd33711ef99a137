"""Where the values of a JSON array begin and end, by brackets and strings alone. Checks nothing else."""

import re
from typing import Final

_BOUNDARY: Final = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+\{")
STRING_END: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_BLANK: Final = re.compile(rb"[ \t\r\n]*+")
# Everything up to the next bracket outside a string, or to the quote of a string that isn't complete.
_FLAT: Final = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)


def match_end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """Return the end of what a pattern that also matches nothing matches at `start`."""
    match = pattern.match(text, start)
    assert match is not None
    return match.end()


def skip_blanks(text: bytes, start: int) -> int:
    """Return where the next token begins, or the end of the text."""
    return match_end(_BLANK, text, start)


def closing_end(text: bytes, start: int) -> int | None:
    """Return the end of the object or array that begins at `start`; None when the text ends before that."""
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
    """Cut between `}`, `,` and `{`, wherever they are; return the pieces, and where what is behind them begins.

    No beginning of a JSON object is an object itself, so when every piece is an object, it was cut at its end.
    """
    pieces = []
    for boundary in _BOUNDARY.finditer(text, start):
        pieces.append(text[start : boundary.start() + 1])
        start = boundary.end() - 1
    return pieces, start
