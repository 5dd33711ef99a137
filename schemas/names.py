"""Validation of job IDs, upload IDs and stream names."""

from typing import Final
from uuid import UUID

MAX_JOB_ID: Final = 200
MAX_NAME_CHARACTERS: Final = 200


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
