"""How a text file is written, as a person configures it: validation, form, docs and command line come from here."""

import codecs
import re
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.contract import Lane
from connectors.text.compression import Compression
from connectors.text.encoding import ToUtf8
from connectors.text.formats.records import OnError
from schemas.timestamps import NAMED_FORMATS, is_timestamp_format

FormatName = Literal["csv", "ndjson", "json_array"]
MAX_NAME_CHARACTERS: Final = 100_000  # they stand in every cursor, which has at most 256 KiB
NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")  # of an encoding; Python overlooks blanks and line ends around one
NO_TEXT: Final = frozenset({"punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape"})  # of a file
FORMAT_SUFFIXES: Final[dict[str, FormatName]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json_array",
}


class TextConfig(BaseModel):
    """How a text file is written, and which stream its records go into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field(
        title="Stream",
        description="name of the stream that the records go into",
        examples=["flights"],
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    format: FormatName | Literal["auto"] = Field(
        default="auto",
        title="Format",
        description="auto goes by the name: .csv, .tsv, .ndjson, .jsonl, .json",
        examples=["csv"],
    )
    compression: Compression | Literal["auto"] = Field(
        default="auto",
        title="Compression",
        description="auto goes by the name (.gz, .zst), then by the first bytes",
        examples=["gzip"],
    )
    encoding: str = Field(
        default="utf-8",
        title="Encoding",
        description="of the text; any that Python knows",
        examples=["utf-8", "utf-16", "latin-1", "cp1252"],
    )
    delimiter: str | None = Field(
        default=None,
        title="Delimiter (CSV)",
        description="one ASCII character between values; by default a comma, or a tab if the name ends with .tsv",
        examples=[",", ";", "\t"],
        pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$",
    )
    quote: str = Field(
        default='"',
        title="Quote (CSV)",
        description="one ASCII character around values that hold delimiters or line ends; empty: quotes mean nothing",
        examples=['"'],
        pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]?$",
    )
    header_row: bool = Field(
        default=True, title="Header row (CSV)", description="the first row names the fields", examples=[True]
    )
    fields: tuple[str, ...] | None = Field(
        default=None,
        title="Field names (CSV)",
        description="one name per column, in order; they replace those of a header row",
        examples=[["id", "email", "created_at"]],
        min_length=1,
        max_length=10_000,
    )
    timestamp_field: str | None = Field(
        default=None,
        title="Timestamp field",
        description="the field that says when a record happened; without one, the time of the import counts",
        examples=["time_hour"],
        min_length=1,
    )
    timestamp_format: tuple[str, ...] = Field(
        default=("auto",),
        title="Timestamp format",
        description="auto (ISO 8601), epoch (its unit by its size), epoch_s, epoch_ms, epoch_us, rfc2822, or strptime "
        "formats; tried in this order",
        examples=[["auto"], ["%d.%m.%Y %H:%M"]],
        min_length=1,
        max_length=10,
    )
    time_zone: str = Field(
        default="UTC",
        title="Time zone",
        description="IANA name; for timestamps without an offset",
        examples=["Europe/Vienna", "America/New_York"],
    )
    on_error: OnError = Field(
        default="quarantine",
        title="On a bad record",
        description="abort the job, drop the record, or quarantine it as a dead letter",
        examples=["quarantine"],
    )
    lane: Lane = Field(
        default="backfill",
        title="Lane",
        description="backfill for history, realtime for what has just happened",
        examples=["backfill"],
    )

    @field_validator("timestamp_format", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("timestamp_format")
    @classmethod
    def _known_format(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not is_timestamp_format(each):
                raise ValueError(f"{each!r} is none of {', '.join(NAMED_FORMATS)}, and no strptime format with a date")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(f"{value!r} is no IANA time zone, such as Europe/Vienna") from error
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            if not NAME.fullmatch(value) or codecs.lookup(value).name.replace("-", "_") in NO_TEXT:
                raise LookupError(value)  # noqa: TRY301  # as Python says it of those that it doesn't know
            b"ab".decode(value, "replace")
            ToUtf8(value)
        except (LookupError, ValueError) as error:
            raise ValueError(f"{value!r} is no text encoding, such as utf-8, utf-16, latin-1 or cp1252") from error
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.quote and self.quote == (self.delimiter or ","):
            raise ValueError("`quote` and `delimiter` have to differ")
        if not self.header_row and not self.fields:
            raise ValueError("without a header row, name the columns with `fields`")
        if sum(map(len, self.fields or ())) > MAX_NAME_CHARACTERS:
            raise ValueError(f"the names in `fields` have at most {MAX_NAME_CHARACTERS:,} characters together")
        if self.fields and len(set(self.fields)) < len(self.fields):
            raise ValueError("`fields` names a column twice")
        if self.fields and self.timestamp_field and self.timestamp_field not in self.fields:
            raise ValueError("`timestamp_field` isn't among `fields`")
        return self
