"""The cursor of a text source: the position of the next record, and fingerprints that identify the text."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from connectors.contract import ConfigurationProblem, Cursor, FixConfiguration
from connectors.kit.field_hints import UNKNOWN_FIELD, unknown_field_message
from schemas.json_pointer import json_pointer

MAX_PROBLEMS: Final = 100
MAX_POSITION: Final = 2**62  # file offsets have 63 bits
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class TextCursor(BaseModel):
    """The position after the last committed record. Offsets count bytes of the decompressed text in UTF-8."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    byte: int = Field(default=0, ge=0, le=MAX_POSITION)
    row: int = Field(default=0, ge=0, le=MAX_POSITION)
    head: Digest | None = None
    tail: Digest | None = None
    fields: tuple[str, ...] | None = Field(default=None, strict=False)
    source_bytes: int = Field(default=0, ge=0, le=MAX_POSITION)  # raw bytes of the source already counted as read
    plain: bool = False  # the source is uncompressed UTF-8, so reading can start at an offset
    open: bool = False  # the last record ended at the end of the text, without a line end
    validator: str | None = None  # the ETag or Last-Modified of an HTTP source

    def to_json(self) -> Mapping[str, Any]:
        """Return the JSON object that is stored with the job."""
        return self.model_dump(mode="json", exclude_defaults=True)


START: Final = TextCursor()
ADVICE: Final = "reset the cursor to {} to read from the start, or restore the previous one"


def check_cursor(cursor: Cursor) -> tuple[ConfigurationProblem, ...]:
    """Return the problems of an edited cursor; {} is always valid."""
    try:
        parsed = TextCursor.model_validate(dict(cursor))
    except ValidationError as error:
        return tuple(
            ConfigurationProblem(json_pointer(*details["loc"]), "bad_cursor", f"{_message(details)}; {ADVICE}")
            for details in error.errors()[:MAX_PROBLEMS]
        )
    return tuple(
        ConfigurationProblem(f"/{field}", "bad_cursor", f"{message}; {ADVICE}")
        for field, message in _contradictions(parsed)
    )[:1]


def _message(error: ErrorDetails) -> str:
    return unknown_field_message(TextCursor, error["loc"]) if error["type"] == UNKNOWN_FIELD else error["msg"]


def _contradictions(cursor: TextCursor) -> Iterator[tuple[str, str]]:
    """Yield contradictions. A cursor is the start, or follows records of at least one byte each."""
    text_size = f"{cursor.byte:,} bytes"
    if cursor.byte and not (cursor.head and cursor.tail):
        yield "byte", "a position other than 0 requires `head` and `tail`"
    if not cursor.byte:
        for name in ("row", "head", "tail", "source_bytes", "open"):
            if getattr(cursor, name):
                yield name, f"`{name}` requires `byte` to be greater than 0"
    elif not cursor.row:
        yield "row", f"{text_size} of text must contain at least one record"
    elif cursor.row > cursor.byte:
        yield "row", f"{text_size} of text can't contain {cursor.row:,} records"
    elif cursor.plain and cursor.source_bytes < cursor.byte:
        yield "source_bytes", f"{text_size} of text can't come from a source of {cursor.source_bytes:,} bytes"


def parse_cursor(cursor: Cursor) -> TextCursor:
    """Parse a stored cursor or raise `FixConfiguration`."""
    if problems := check_cursor(cursor):
        raise FixConfiguration("bad_cursor", f"invalid cursor at {problems[0].field}: {problems[0].message}")
    return TextCursor.model_validate(dict(cursor))
