"""The cursor of a source that is one long text: where the next record begins, and how to recognise the text."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.contract import Cursor, FixConfiguration, Problem

LARGEST: Final = 2**62  # operating systems count bytes in 63 bits
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class TextCursor(BaseModel):
    """Right behind the last record that was kept. Offsets count bytes of the text, unpacked and as UTF-8."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    byte: int = Field(default=0, ge=0, le=LARGEST)
    row: int = Field(default=0, ge=0, le=LARGEST)
    head: Digest | None = None
    tail: Digest | None = None
    fields: tuple[str, ...] | None = Field(default=None, strict=False)
    source_bytes: int = Field(default=0, ge=0, le=LARGEST)  # of the source, as it lies there, already counted as read
    plain: bool = False  # the source is this very text, so that reading can begin in its middle
    open: bool = False  # the last record ended with the text, without a line end
    validator: str | None = None  # the ETag or Last-Modified of an HTTP source

    def to_json(self) -> Mapping[str, Any]:
        """As it is stored with the job."""
        return self.model_dump(mode="json", exclude_defaults=True)


START: Final = TextCursor()
ADVICE: Final = "reset the cursor to {} to read from the start, or restore the one that was there"


def check_cursor(cursor: Cursor) -> tuple[Problem, ...]:
    """Everything wrong with a cursor that a person edited; {} is always right."""
    try:
        parsed = TextCursor.model_validate(dict(cursor))
    except ValidationError as error:
        return tuple(
            Problem("/" + "/".join(map(str, each["loc"])), "bad_cursor", f"{each['msg']}; {ADVICE}")
            for each in error.errors()
        )
    if parsed.byte and not (parsed.head and parsed.tail):
        return (Problem("/byte", "bad_cursor", f"a place in the text needs `head` and `tail` beside it; {ADVICE}"),)
    return ()


def parse_cursor(cursor: Cursor) -> TextCursor:
    """The cursor, or `FixConfiguration` that says what is wrong with it."""
    if problems := check_cursor(cursor):
        raise FixConfiguration("bad_cursor", f"the job's cursor at {problems[0].field}: {problems[0].message}")
    return TextCursor.model_validate(dict(cursor))
