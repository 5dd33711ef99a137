"""What a stream may be called, wherever its messages come from."""

from typing import Final

LONGEST: Final = 200
STREAM_NAME: Final = f"a stream's name has 1 to {LONGEST} printable characters"


def is_stream_name(name: str) -> bool:
    """Whether a stream can be called that."""
    return name.isprintable() and 0 < len(name) <= LONGEST
