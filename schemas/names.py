"""Validation of IDs, names and texts of users."""

import re
from typing import Final
from uuid import UUID

MAX_JOB_ID: Final = 200
MAX_NAME_CHARACTERS: Final = 200
# Controls (terminal escapes, line breaks), bidirectional marks and overrides, lone surrogates, and invisible format
# characters that no script needs. Not U+200B to U+200D: some scripts, and emoji, need them, and they reorder nothing.
_UNSAFE: Final = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
UNSAFE_IN_LINE: Final = re.compile(f"[{_UNSAFE}]")
UNSAFE_IN_LINES: Final = re.compile(f"(?![\n\t])[{_UNSAFE}]")


def is_job_id(text: str) -> bool:
    """Whether a text is a valid job ID."""
    return text.isprintable() and 0 < len(text) <= MAX_JOB_ID


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as Entrepot writes it, such as the ID of an upload."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def is_stream_name(name: str) -> bool:
    """Whether a text is a valid stream name."""
    return name.isprintable() and 0 < len(name) <= MAX_NAME_CHARACTERS


def is_safe_line(text: str) -> bool:
    """Whether a text, such as the name of a job, has no unsafe character."""
    return not UNSAFE_IN_LINE.search(text)


def is_safe_text(text: str) -> bool:
    """Whether a text, such as a description, has no unsafe character besides line breaks and tabs."""
    return not UNSAFE_IN_LINES.search(text)
