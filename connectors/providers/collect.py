"""Uploads: CSV and JSON files in requests. Documented at docs.lytics.com/reference and docs/collecting.md.

Their jobs are pushed: the request handler reads the body with `read_upload`, and no runner drives them.
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
from connectors.text.formats.append_fields import append_fields
from connectors.text.importer import Source, read_text

MAX_APPENDED_BYTES: Final = 1024
MAX_EXPANDED_BYTES: Final = 32 * 1024 * 1024  # of one batch after appending fields
MIN_RECORD_BYTES: Final = 3  # `{}` and a line end


class Config(TextConfig):
    """The format of an upload, and the stream that its records go into."""

    model_config = ConfigDict(title="Upload")

    filename: str = Field(
        default="",
        title="File name",
        description="name of the uploaded file; its extensions select compression and format",
        examples=["contacts.csv.gz"],
        max_length=255,
        pattern=r"^[^/\\\x00-\x1f\x7f]*$",
    )
    append: dict[str, Any] = Field(
        default_factory=dict,
        title="Appended fields",
        description="constant fields, added to every record that doesn't have them",
        examples=[{"source": "crm"}],
    )

    @field_validator("append")
    @classmethod
    def _check_size(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(value)) > MAX_APPENDED_BYTES:
            raise ValueError(f"the appended fields are limited to {MAX_APPENDED_BYTES:,} bytes of JSON")
        return value


def _job_types() -> tuple[JobType, ...]:
    return (
        _pushed("bulk_csv", "CSV upload", "Imports the rows of a CSV file that is sent in a request."),
        _pushed("bulk_json", "JSON upload", "Imports the JSON objects of a file that is sent in a request."),
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
    """Report no problems: there is no provider to contact."""
    del config, limits
    return ()


async def read_upload(config: Config, cursor: Cursor, limits: Limits, source: Source) -> AsyncGenerator[Batch, None]:
    """Yield the records after `cursor`, reading one batch ahead. The text before it is verified and skipped."""

    async def open_source(_start: int, _validator: str | None) -> Source:
        return source

    appended = orjson.dumps(config.append)[1:-1]
    bounded = _bound_batches(limits, appended)
    batches = read_ahead(read_text(config, config.filename, parse_cursor(cursor), bounded, open_source))
    try:
        async with aclosing(batches):
            async for batch in batches:
                yield replace(batch, payload=append_fields(batch.payload, config.append)) if appended else batch
    except (FixConfiguration, RetryLater) as error:  # no retry: the body can't be read again
        code, message = UPLOAD_MESSAGES.get(error.code, (error.code, _rename_settings(error.message)))
        raise FixConfiguration(code, message, detail=error.detail or error.message) from error


def _rename_settings(message: str) -> str:
    """Replace the names of file settings by their names in upload requests."""
    return message.replace("`fields`", "`headers`").replace("`encoding`", "the charset of Content-Type")


def _bound_batches(limits: Limits, appended: bytes) -> Limits:
    """Reduce the batch size so that a batch stays within `MAX_EXPANDED_BYTES` after appending fields."""
    if not appended:
        return limits
    batch_bytes = MAX_EXPANDED_BYTES * MIN_RECORD_BYTES // (MIN_RECORD_BYTES + len(appended))
    return replace(limits, batch_bytes=min(limits.batch_bytes, batch_bytes))


def redact(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return only the declared fields of the configuration."""
    return {name: value for name, value in configuration.items() if name in Config.model_fields}


KEY_REUSED: Final = (
    "idempotency_key_reused",
    "Idempotency-Key was already used for a different request: send the same file, or use a new key",
)
UPLOAD_MESSAGES: Final = {
    "source_changed": KEY_REUSED,
    "truncated": ("truncated", "the body is truncated; send the complete file"),
    "wrong_compression": (
        "wrong_compression",
        "the compression of the body doesn't match Content-Encoding or the extension of `filename`",
    ),
    "wrong_encoding": (
        "wrong_encoding",
        "the text doesn't match the charset of Content-Type (default UTF-8); set it, as in `text/csv; charset=utf-16`",
    ),
    "corrupt_compression": ("corrupt_compression", "the compressed body is corrupt; send an intact file"),
}

CONNECTOR: Final = Connector(
    name="collect",
    title="Collect",
    description="CSV and JSON files that are sent to the API; see docs/collecting.md.",
    documentation="https://docs.lytics.com/reference/bulkcsvupload",
    job_types=_job_types(),
    redact=redact,
)
