"""Uploads: CSV and JSON files that come with a request. Documented at docs.lytics.com/reference and docs/collecting.md.

Their jobs are pushed: whoever has the request reads its body with `read_upload`, and no runner drives them.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import orjson
from pydantic import ConfigDict, Field, field_validator

from connectors.contract import (
    Batch,
    ConfigurationProblem,
    Connector,
    Cursor,
    FixConfiguration,
    JobType,
    Limits,
    RetryLater,
)
from connectors.kit.read_ahead import read_ahead
from connectors.text.config import TextConfig
from connectors.text.cursor import check_cursor, parse_cursor
from connectors.text.formats.added import with_fields
from connectors.text.importer import Source, read_text

MAX_APPENDED_BYTES: Final = 1024
MAX_EXPANDED_BYTES: Final = 32 * 1024 * 1024  # of one batch; the shortest record is `{}` and a line end
MIN_RECORD_BYTES: Final = 3


class Config(TextConfig):
    """How an upload is written, and which stream its records go into."""

    model_config = ConfigDict(title="Upload")

    filename: str = Field(
        default="",
        title="File name",
        description="what the upload is called; its endings say how it is packed and written",
        examples=["contacts.csv.gz"],
        max_length=255,
        pattern=r"^[^/\\\x00-\x1f\x7f]*$",
    )
    append: dict[str, Any] = Field(
        default_factory=dict,
        title="Appended fields",
        description="fields that every record gets, unless it has them itself",
        examples=[{"source": "crm"}],
    )

    @field_validator("append")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(value)) > MAX_APPENDED_BYTES:
            raise ValueError(f"the fields to append have at most {MAX_APPENDED_BYTES:,} bytes as JSON")
        return value


def _job_types() -> tuple[JobType, ...]:
    return (
        _pushed("bulk_csv", "CSV upload", "Takes the rows of a CSV file that comes with a request."),
        _pushed("bulk_json", "JSON upload", "Takes the JSON objects of a file that comes with a request."),
    )


def _pushed(name: str, title: str, description: str) -> JobType:
    return JobType(
        name=name,
        kind="import",
        title=title,
        description=description,
        config=Config,
        check=check,
        read=None,
        check_cursor=check_cursor,
    )


async def check(config: Config, limits: Limits) -> tuple[ConfigurationProblem, ...]:
    """Find nothing: there is no provider to ask."""
    del config, limits
    return ()


async def read_upload(config: Config, cursor: Cursor, limits: Limits, source: Source) -> AsyncGenerator[Batch, None]:
    """Yield the records behind `cursor`, one batch being read ahead; what lies before it is compared and skipped."""

    async def open_source(_start: int, _validator: str | None) -> Source:
        return source

    added = orjson.dumps(config.append)[1:-1]
    batches = read_ahead(read_text(config, config.filename, parse_cursor(cursor), _within(limits, added), open_source))
    try:
        async with aclosing(batches):
            async for batch in batches:
                yield replace(batch, payload=with_fields(batch.payload, config.append)) if added else batch
    except (FixConfiguration, RetryLater) as error:  # nobody can read the rest of it later
        code, message = IN_WORDS_OF_UPLOADS.get(error.code, (error.code, _said(error.message)))
        raise FixConfiguration(code, message, detail=error.detail or error.message) from error


def _said(message: str) -> str:
    """Return a message with what settings of files are called where files come with requests."""
    return message.replace("`fields`", "`headers`").replace("`encoding`", "the charset of Content-Type")


def _within(limits: Limits, added: bytes) -> Limits:
    """Take so little of a text at a time that what is appended to its records doesn't make too much of it."""
    most = MAX_EXPANDED_BYTES * MIN_RECORD_BYTES // (MIN_RECORD_BYTES + len(added)) if added else limits.batch_bytes
    return replace(limits, batch_bytes=min(limits.batch_bytes, most))


def redact(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration as anyone may see it: all that belongs there."""
    return {name: value for name, value in configuration.items() if name in Config.model_fields}


ANOTHER_BODY: Final = (
    "idempotency_key_reused",
    "what this Idempotency-Key came with before is not how this body begins: send the same file, or take a new key",
)
IN_WORDS_OF_UPLOADS: Final = {
    "source_changed": ANOTHER_BODY,
    "truncated": ("truncated", "the body stops in the middle of its text or of its compression; send it whole"),
    "wrong_compression": (
        "wrong_compression",
        "the body isn't packed as Content-Encoding, or the ending of `filename`, says: make them agree",
    ),
    "wrong_encoding": (
        "wrong_encoding",
        "the text isn't in the charset of Content-Type, or in UTF-8: set it, as in `text/csv; charset=utf-16`",
    ),
    "corrupt_compression": ("corrupt_compression", "the compression of the body is broken; send an intact file"),
}

CONNECTOR: Final = Connector(
    name="collect",
    title="Collect",
    description="CSV and JSON files that are sent to the API; see docs/collecting.md.",
    documentation="https://docs.lytics.com/reference/bulkcsvupload",
    job_types=_job_types(),
    redact=redact,
)
