"""The configuration of a text file. The source of validation, web form, documentation and command line."""

import codecs
import re
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.contract import LaneName
from connectors.kit.field_errors import field_error
from connectors.text.compression import Compression
from connectors.text.encoding import ToUtf8
from connectors.text.formats.records import OnError
from schemas.timestamps.formats import NAMED_FORMATS, is_timestamp_format

FormatName = Literal["csv", "ndjson", "json_array"]
MAX_NAME_CHARACTERS: Final = 100_000  # every cursor holds them, and is limited to 256 KiB
ENCODING_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")  # stricter than Python, which strips white space
UNSUITABLE_CODECS: Final = frozenset({"punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape"})
FORMAT_SUFFIXES: Final[dict[str, FormatName]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json_array",
}
FORMAT_TYPES: Final[dict[str, FormatName]] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "application/json": "ndjson",
}


class TextConfig(BaseModel):
    """The format of a text file, and the stream that its records go into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field(
        title="Stream",
        description="name of the target stream",
        examples=["flights"],
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    format: FormatName | Literal["auto"] = Field(
        default="auto",
        title="Format",
        description="auto: by file extension (.csv, .tsv, .ndjson, .jsonl, .json) or content type; the first bytes "
        "distinguish arrays from lines of JSON",
        examples=["csv"],
    )
    compression: Compression | Literal["auto"] = Field(
        default="auto",
        title="Compression",
        description="auto: by the first bytes; otherwise the compression that is expected",
        examples=["gzip"],
    )
    encoding: str = Field(
        default="utf-8",
        title="Encoding",
        description="text encoding; any that Python supports",
        examples=["utf-8", "utf-16", "latin-1", "cp1252"],
    )
    delimiter: str | None = Field(
        default=None,
        title="Delimiter (CSV)",
        description="one ASCII character between values; default: that of a first line `sep=`, comma, or tab for .tsv",
        examples=[",", ";", "\t"],
        pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$",
    )
    quote: str = Field(
        default='"',
        title="Quote (CSV)",
        description="one ASCII character around values that contain delimiters or line breaks; empty: no quoting",
        examples=['"'],
        pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]?$",
    )
    escape: Literal["", "\\"] = Field(
        default="",
        title="Escape (CSV)",
        description="character that escapes a quote, a delimiter, a line end or itself: a backslash, or none; a "
        "doubled quote always stands for one quote",
        examples=["\\"],
    )
    comment: str = Field(
        default="",
        title="Comment (CSV)",
        description="one ASCII character; lines that start with it are skipped; empty: no comments",
        examples=["#"],
        pattern=r"^[!-~]?$",
    )
    skip_lines: int = Field(
        default=0,
        title="Skipped lines (CSV)",
        description="number of lines before the header row that are not part of the table",
        examples=[2],
        ge=0,
        le=10_000,
    )
    header_row: bool = Field(
        default=True, title="Header row (CSV)", description="the first row names the fields", examples=[True]
    )
    fields: tuple[str, ...] | None = Field(
        default=None,
        title="Field names (CSV)",
        description="one name per column, in order; overrides the header row",
        examples=[["id", "email", "created_at"]],
        min_length=1,
        max_length=10_000,
    )
    timestamp_field: str | None = Field(
        default=None,
        title="Timestamp field",
        description="field that holds the event time of a record; default: the time of the import",
        examples=["time_hour"],
        min_length=1,
    )
    timestamp_format: tuple[str, ...] = Field(
        default=("auto",),
        title="Timestamp format",
        description="auto (ISO 8601), epoch (unit detected by magnitude), epoch_s, epoch_ms, epoch_us, excel (serial "
        "dates of a spreadsheet), rfc2822 (e-mail), or strptime formats; tried in the given order",
        examples=[["auto"], ["%d.%m.%Y %H:%M"]],
        min_length=1,
        max_length=10,
    )
    time_zone: str = Field(
        default="UTC",
        title="Time zone",
        description="IANA time zone for timestamps without an offset",
        examples=["Europe/Vienna", "America/New_York"],
    )
    on_error: OnError = Field(
        default="quarantine",
        title="Invalid records",
        description="handling of invalid records: abort the job, drop the record, or quarantine it as a dead letter",
        examples=["quarantine"],
    )
    lane: LaneName = Field(
        default="backfill",
        title="Lane",
        description="backfill for historical data, realtime for current data",
        examples=["backfill"],
    )

    @field_validator("timestamp_format", mode="before")
    @classmethod
    def _wrap_single_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("timestamp_format")
    @classmethod
    def _check_format(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for form in value:
            if not is_timestamp_format(form):
                raise field_error("unknown_timestamp_format", {"format": form, "formats": tuple(NAMED_FORMATS)})
        return value

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise field_error("unknown_time_zone", {"time_zone": value}) from error
        return value

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str) -> str:
        try:
            if not ENCODING_NAME.fullmatch(value) or codecs.lookup(value).name.replace("-", "_") in UNSUITABLE_CODECS:
                raise LookupError(value)  # noqa: TRY301  # same path as unknown codecs
            b"ab".decode(value, "replace")
            ToUtf8(value)
        except (LookupError, ValueError) as error:
            raise field_error("unknown_encoding", {"encoding": value}) from error
        return value

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.quote and self.quote == (self.delimiter or ","):
            raise field_error("quote_is_delimiter", {})
        if self.escape and self.escape in {self.quote, self.delimiter or ","}:
            raise field_error("escape_has_other_meaning", {})
        if self.comment and self.comment in {self.quote, self.escape, self.delimiter or ","}:
            raise field_error("comment_has_other_meaning", {})
        if not self.header_row and not self.fields:
            raise field_error("columns_unnamed", {})
        if sum(map(len, self.fields or ())) > MAX_NAME_CHARACTERS:
            raise field_error("field_names_too_long", {"max": MAX_NAME_CHARACTERS})
        if self.fields and len(set(self.fields)) < len(self.fields):
            raise field_error("duplicate_field_name", {})
        if self.fields and self.timestamp_field and self.timestamp_field not in self.fields:
            raise field_error("timestamp_field_not_in_fields", {"field": self.timestamp_field})
        return self
