"""What a job's id may be, wherever it comes from."""

from typing import Final

MAX_JOB_ID: Final = 200
JOB_ID: Final = f"a job's id has 1 to {MAX_JOB_ID} printable characters"


def is_job_id(text: str) -> bool:
    """Whether a job can have that id."""
    return text.isprintable() and 0 < len(text) <= MAX_JOB_ID


MAX_NAME_CHARACTERS: Final = 200
STREAM_NAME: Final = f"a stream's name has 1 to {MAX_NAME_CHARACTERS} printable characters"


def is_stream_name(name: str) -> bool:
    """Whether a stream can be called that."""
    return name.isprintable() and 0 < len(name) <= MAX_NAME_CHARACTERS
