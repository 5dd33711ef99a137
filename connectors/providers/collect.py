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
from connectors.kit.field_errors import field_error
from connectors.kit.read_ahead import read_ahead
from connectors.text.config import TextConfig
from connectors.text.cursor import cursor_problems, parse_cursor
from connectors.text.formats.append_fields import append_fields
from connectors.text.importer import Source, read_text, sample_problems
from schemas.names import is_safe_line

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

    @field_validator("filename")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not is_safe_line(value):  # it names the job
            raise field_error("bad_filename", {})
        return value

    @field_validator("append")
    @classmethod
    def _check_size(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(orjson.dumps(value)) > MAX_APPENDED_BYTES:
            raise field_error("appended_too_large", {"max": MAX_APPENDED_BYTES})
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
        check_cursor=cursor_problems,
    )


async def check(config: Config, limits: Limits) -> tuple[ConfigurationProblem, ...]:
    """Report no problems: there is no provider to contact."""
    del config, limits
    return ()


async def read_upload(
    config: Config, cursor: Cursor, limits: Limits, source: Source, *, checked: bool = False
) -> AsyncGenerator[Batch, None]:
    """Yield the records after `cursor`, reading one batch ahead. The text before it is verified and skipped.

    With `checked`, fail before the first record if a job would not be created for such a file.
    """

    async def open_source(_start: int, _validator: str | None) -> Source:
        return source

    appended = orjson.dumps(config.append)[1:-1]
    bounded = _bound_batches(limits, appended)
    batches = read_ahead(read_text(config, config.filename, parse_cursor(cursor), bounded, open_source))
    try:
        async with aclosing(batches):
            async for batch in batches:
                if checked and not cursor:
                    _check_sample(config, batch)
                checked = False
                yield replace(batch, payload=append_fields(batch.payload, config.append)) if appended else batch
    except (FixConfiguration, RetryLater) as error:  # no retry: the body can't be read again
        code = KEY_REUSED if error.code == "source_changed" else error.code
        raise FixConfiguration(code, error.params, detail=error.detail) from error


def _check_sample(config: Config, first: Batch) -> None:
    """Refuse a file by its first records. One that is rejected alone says nothing about the others."""
    for problem in sample_problems(config, first) if first.count or first.read > 1 else ():
        raise FixConfiguration(problem.code, problem.params)


def _bound_batches(limits: Limits, appended: bytes) -> Limits:
    """Reduce the batch size so that a batch stays within `MAX_EXPANDED_BYTES` after appending fields."""
    if not appended:
        return limits
    batch_bytes = MAX_EXPANDED_BYTES * MIN_RECORD_BYTES // (MIN_RECORD_BYTES + len(appended))
    return replace(limits, batch_bytes=min(limits.batch_bytes, batch_bytes))


def redact(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return only the declared fields of the configuration."""
    return {name: value for name, value in configuration.items() if name in Config.model_fields}


PROVIDER: Final = "collect"
KEY_REUSED: Final = "idempotency_key_reused"
SENTENCES: Final = {  # where the settings of files have other names in a request
    "bad_filename": "invalid file name; control and bidirectional characters are not supported",
    KEY_REUSED: "this Idempotency-Key was used for a different body; send the same file, or use a new key",
    "truncated": "the body ends in the middle of its text or of its compression; send all of it",
    "wrong_compression": "the body should be {expected}, but its first bytes show {found}; correct Content-Encoding, "
    "or send an intact file",
    "duplicate_header": "the header row names {column!r} twice; rename one, or replace all names with `headers=…` and "
    "`header=present`",
    "corrupt_compression": "the compression of the body is corrupt; send an intact file",
    "html_page": "the data is an HTML page, such as a sign-in form or an error; download the file again, and send that",
    "columns_unnamed": "without a header row, name the columns with `headers`",
    "duplicate_field_name": "`headers` names a column twice",
    "field_names_too_long": "the names in `headers` are too long; at most {max:,} characters in total are allowed",
    "timestamp_field_not_in_fields": "`timestamp_field` {field!r} is not in `headers`",
}

CONNECTOR: Final = Connector(
    name=PROVIDER,
    title="Collect",
    description="CSV and JSON files that are sent to the API; see docs/collecting.md.",
    documentation="https://docs.lytics.com/reference/bulkcsvupload",
    job_types=_job_types(),
    redact=redact,
    sentences=SENTENCES,
)
