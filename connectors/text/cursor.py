"""The cursor of a source that is one long text: where the next record begins, and how to recognise the text."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from connectors.contract import ConfigurationProblem, Cursor, FixConfiguration
from connectors.kit.field_hints import UNKNOWN, no_such_field
from schemas.json_pointer import json_pointer

SHOWN: Final = 100  # of what is wrong
MAX_POSITION: Final = 2**62  # operating systems count bytes in 63 bits
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class TextCursor(BaseModel):
    """Right behind the last record that was kept. Offsets count bytes of the text, unpacked and as UTF-8."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    byte: int = Field(default=0, ge=0, le=MAX_POSITION)
    row: int = Field(default=0, ge=0, le=MAX_POSITION)
    head: Digest | None = None
    tail: Digest | None = None
    fields: tuple[str, ...] | None = Field(default=None, strict=False)
    source_bytes: int = Field(
        default=0, ge=0, le=MAX_POSITION
    )  # of the source, as it lies there, already counted as read
    plain: bool = False  # the source is this very text, so that reading can begin in its middle
    open: bool = False  # the last record ended with the text, without a line end
    validator: str | None = None  # the ETag or Last-Modified of an HTTP source

    def to_json(self) -> Mapping[str, Any]:
        """As it is stored with the job."""
        return self.model_dump(mode="json", exclude_defaults=True)


START: Final = TextCursor()
ADVICE: Final = "reset the cursor to {} to read from the start, or restore the one that was there"


def check_cursor(cursor: Cursor) -> tuple[ConfigurationProblem, ...]:
    """Everything wrong with a cursor that a person edited; {} is always right."""
    try:
        parsed = TextCursor.model_validate(dict(cursor))
    except ValidationError as error:
        return tuple(
            ConfigurationProblem(json_pointer(*each["loc"]), "bad_cursor", f"{_said(each)}; {ADVICE}")
            for each in error.errors()[:SHOWN]
        )
    return tuple(
        ConfigurationProblem(f"/{field}", "bad_cursor", f"{message}; {ADVICE}") for field, message in _against(parsed)
    )[:1]


def _said(error: ErrorDetails) -> str:
    return no_such_field(TextCursor, error["loc"]) if error["type"] == UNKNOWN else error["msg"]


def _against(cursor: TextCursor) -> Iterator[tuple[str, str]]:
    """Yield what contradicts itself: a cursor is the start, or stands behind a record, each of at least a byte."""
    at = f"{cursor.byte:,} bytes"
    if cursor.byte and not (cursor.head and cursor.tail):
        yield "byte", "a place in the text needs `head` and `tail` beside it"
    if not cursor.byte:
        for name in ("row", "head", "tail", "source_bytes", "open"):
            if getattr(cursor, name):
                yield name, f"`{name}` says that something was read, and `byte` that nothing was"
    elif not cursor.row:
        yield "row", f"{at} of text were read, and in them not one record"
    elif cursor.row > cursor.byte:
        yield "row", f"{cursor.row:,} records can't be in {at} of text"
    elif cursor.plain and cursor.source_bytes < cursor.byte:
        yield "source_bytes", f"{at} of text can't come from {cursor.source_bytes:,} bytes of it"


def parse_cursor(cursor: Cursor) -> TextCursor:
    """The cursor, or `FixConfiguration` that says what is wrong with it."""
    if problems := check_cursor(cursor):
        raise FixConfiguration("bad_cursor", f"the job's cursor at {problems[0].field}: {problems[0].message}")
    return TextCursor.model_validate(dict(cursor))
