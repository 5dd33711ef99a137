"""Escapes for characters of outside text that must not reach a console, a log or a page."""

import re

from schemas.names import UNSAFE_IN_LINE, UNSAFE_IN_LINES


def escaped(text: str) -> str:
    r"""Return text from outside as one line, with unsafe characters as escapes: `\n` for a line break."""
    return UNSAFE_IN_LINE.sub(_escape, text)


def escaped_lines(text: str) -> str:
    """Return text from outside with unsafe characters as escapes; line breaks and tabs stay."""
    return UNSAFE_IN_LINES.sub(_escape, text)


def escaped_json(document: str) -> str:
    """Return a JSON document with unsafe characters as JSON escapes; it means the same."""
    return UNSAFE_IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
