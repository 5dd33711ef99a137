"""Files: CSV, NDJSON and JSON arrays, plain, gzip or zstd, from the operator's directories or over HTTP(S).

CSV is documented in RFC 4180, NDJSON at github.com/ndjson/ndjson-spec, JSON in RFC 8259, fetching in RFC 9110.
A cursor is a position in the decompressed text. Plain UTF-8 resumes at that byte; other text is read again up to it.
"""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.contract import Batch, ConfigurationProblem, Connector, Cursor, JobType, Limits
from connectors.kit.field_errors import field_error
from connectors.kit.http_address import parse_address
from connectors.kit.http_source import open_http
from connectors.kit.local_source import open_local
from connectors.kit.read_ahead import read_ahead
from connectors.redaction import URL_START
from connectors.text.config import TextConfig
from connectors.text.cursor import cursor_problems, parse_cursor
from connectors.text.importer import OpenSource, Source, check_text, read_text


class FileSource(BaseModel):
    """The location of a file."""

    source: str = Field(
        title="Source",
        description="path of a file in an allowed directory, or an http(s) URL",
        examples=["flights-2013-01.csv.gz", "https://data.example.com/contacts.csv"],
        min_length=1,
        max_length=4096,
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, value: str) -> str:
        stripped = value.strip()
        if re.match(r"https?:(?!//)", stripped, re.IGNORECASE):
            raise field_error("url_without_slashes", {})
        return stripped if _is_url(stripped) else value


class Config(TextConfig, FileSource):
    """The location and format of a file, and the stream that its records go into."""

    model_config = ConfigDict(title="File import")


def _job_types() -> tuple[JobType, ...]:
    return (
        JobType(
            name="import",
            kind="import",
            title="Import a file",
            description="Imports the records of one file into a stream. When the job runs again, it reads the records "
            "that were appended, and all of a file that was replaced. A recurring job skips an unterminated last line "
            "until the file has not changed for ten minutes.",
            config=Config,
            check=check,
            read=read,
            check_cursor=cursor_problems,
        ),
    )


async def check(config: Config, limits: Limits) -> tuple[ConfigurationProblem, ...]:
    """Open the source and parse a sample."""
    return await check_text(config, _path(config.source), limits, _source_opener(config.source, limits))


async def read(config: Config, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
    """Yield the records after `cursor`, reading one batch ahead."""
    opener = _source_opener(config.source, limits)
    batches = read_ahead(read_text(config, _path(config.source), parse_cursor(cursor), limits, opener))
    async with aclosing(batches):
        async for batch in batches:
            yield batch


def _source_opener(source: str, limits: Limits) -> OpenSource:
    async def open_source(start: int, validator: str | None) -> Source:
        if _is_url(source):
            return await open_http(source, limits, start, validator)
        return await open_local(source, limits, start, validator)

    return open_source


def _is_url(source: str) -> bool:
    return URL_START.match(source) is not None


def _path(source: str) -> str:
    return parse_address(source).path if _is_url(source) else source


CONNECTOR: Final = Connector(
    name="file",
    title="File",
    description="CSV, NDJSON and JSON files from local directories or over HTTP.",
    documentation="https://www.rfc-editor.org/rfc/rfc4180",
    job_types=_job_types(),
)
