"""The cursor of a text source: the position of the next record, and fingerprints that identify the text."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from connectors.contract import ConfigurationProblem, Cursor, FixConfiguration
from connectors.kit.field_errors import UNKNOWN_FIELD, field_names
from connectors.text.config import FormatName
from schemas.coded import Params, caused_by
from schemas.json_values import json_pointer

MAX_PROBLEMS: Final = 100
MAX_POSITION: Final = 2**62  # file offsets have 63 bits
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


DELIMITER: Final = r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$"


class TextCursor(BaseModel):
    """The position after the last committed record. Offsets count bytes of the decompressed text in UTF-8."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    byte: int = Field(default=0, ge=0, le=MAX_POSITION)
    row: int = Field(default=0, ge=0, le=MAX_POSITION)
    head: Digest | None = None
    tail: Digest | None = None
    checksum: int | None = Field(default=None, ge=0, lt=2**32)  # CRC-32 of all text before it
    fields: tuple[str, ...] | None = Field(default=None, strict=False)
    delimiter: str | None = Field(default=None, pattern=DELIMITER)  # of a `sep=` line
    trailing_delimiter: bool = False  # of every row
    padded: bool = False  # fields have blanks around them
    source_bytes: int = Field(default=0, ge=0, le=MAX_POSITION)  # raw bytes of the source already counted as read
    plain: bool = False  # the source is uncompressed UTF-8, so reading can start at an offset
    open: bool = False  # the last record ended at the end of the text, without a line end
    format: FormatName | None = None  # of the text, if it isn't the proposed one
    validator: str | None = None  # the version of the source, such as its ETag; equal only if nothing changed

    def to_json(self) -> Mapping[str, Any]:
        """Return the JSON object that is stored with the job."""
        return self.model_dump(mode="json", exclude_defaults=True)


START: Final = TextCursor()


def cursor_problems(cursor: Cursor) -> tuple[ConfigurationProblem, ...]:
    """Return the problems of an edited cursor; {} is always valid."""
    try:
        parsed = TextCursor.model_validate(dict(cursor))
    except ValidationError as error:
        return tuple(
            ConfigurationProblem(json_pointer(*problem["loc"]), "bad_cursor_field", _params(problem))
            for problem in error.errors()[:MAX_PROBLEMS]
        )
    return tuple(_contradictions(parsed))[:1]


def _params(problem: ErrorDetails) -> Params:
    if problem["type"] == UNKNOWN_FIELD:
        return {"problem": UNKNOWN_FIELD, "fields": field_names(TextCursor, problem["loc"])}
    return {"problem": problem["type"]}


def _contradictions(cursor: TextCursor) -> Iterator[ConfigurationProblem]:
    """Yield contradictions: a cursor is the start, or follows a record, and each record has at least one byte."""
    if cursor.byte and not (cursor.head and cursor.tail):
        yield ConfigurationProblem("/byte", "cursor_without_digests", {})
    if not cursor.byte:
        for name in ("row", "head", "tail", "checksum", "source_bytes", "open"):
            if getattr(cursor, name):
                yield ConfigurationProblem(f"/{name}", "cursor_before_start", {"field": name})
    elif not 1 <= cursor.row <= cursor.byte:
        yield ConfigurationProblem("/row", "impossible_cursor_row", {"rows": cursor.row, "bytes": cursor.byte})
    elif cursor.plain and cursor.source_bytes < cursor.byte:
        params = {"source_bytes": cursor.source_bytes, "bytes": cursor.byte}
        yield ConfigurationProblem("/source_bytes", "impossible_cursor_bytes", params)


def parse_cursor(cursor: Cursor) -> TextCursor:
    """Parse a stored cursor or raise `FixConfiguration`."""
    if problems := cursor_problems(cursor):
        first = problems[0]
        raise FixConfiguration("bad_cursor", {"pointer": first.field, **caused_by(first.code, first.params)})
    return TextCursor.model_validate(dict(cursor))
