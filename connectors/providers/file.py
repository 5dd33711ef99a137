"""Files: CSV, NDJSON and JSON arrays, plain, gzip or zstd, from the operator's directories or over HTTP(S).

CSV is documented in RFC 4180, NDJSON at github.com/ndjson/ndjson-spec, JSON in RFC 8259, fetching in RFC 9110.
A cursor is a place in the unpacked text. Plain UTF-8 goes on at that byte; anything else is read again up to it.
"""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.contract import Batch, ConfigurationProblem, Connector, Cursor, JobType, Limits
from connectors.kit.http_source import open_http, parse_url
from connectors.kit.local_source import open_local
from connectors.kit.read_ahead import read_ahead
from connectors.redaction import HIDDEN_QUERY, URL_START
from connectors.text.config import TextConfig
from connectors.text.cursor import check_cursor, parse_cursor
from connectors.text.importer import Open, Source, check_text, read_text


class FileSource(BaseModel):
    """Where a file is."""

    source: str = Field(
        title="Source",
        description="path of a file in a directory that the service may read, or an http(s) URL",
        examples=["flights-2013-01.csv.gz", "https://data.example.com/contacts.csv"],
        min_length=1,
        max_length=4096,
    )

    @field_validator("source")
    @classmethod
    def _written_out(cls, value: str) -> str:
        if re.match(r"https?:(?!//)", value, re.IGNORECASE):
            raise ValueError("an address begins with http:// or https://")
        if _is_url(value) and value.endswith(HIDDEN_QUERY):
            raise ValueError("the values of the query were hidden when this was shown: write the whole URL")
        return value


class Config(TextConfig, FileSource):
    """Where a file is, how it is written, and which stream its records go into."""

    model_config = ConfigDict(title="File import")


def _job_types() -> tuple[JobType, ...]:
    return (
        JobType(
            name="import",
            kind="import",
            title="Import a file",
            description="Reads the records of one file into a stream, and what is appended to it later. A job that "
            "runs more than once leaves a last line without an end alone for ten minutes: it may be half of one.",
            config=Config,
            check=check,
            read=read,
            check_cursor=check_cursor,
        ),
    )


async def check(config: Config, limits: Limits) -> tuple[ConfigurationProblem, ...]:
    """Open the source and read a sample of it."""
    return await check_text(config, _path(config.source), limits, _opener(config.source, limits))


async def read(config: Config, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
    """Yield the records behind `cursor`, one batch being read ahead."""
    opener = _opener(config.source, limits)
    batches = read_ahead(read_text(config, _path(config.source), parse_cursor(cursor), limits, opener))
    async with aclosing(batches):
        async for batch in batches:
            yield batch


def _opener(source: str, limits: Limits) -> Open:
    async def open_source(start: int, validator: str | None) -> Source:
        if _is_url(source):
            return await open_http(source, limits, start, validator)
        return await open_local(source, limits.file_roots, start)

    return open_source


def _is_url(source: str) -> bool:
    return URL_START.match(source) is not None


def _path(source: str) -> str:
    return parse_url(source).path if _is_url(source) else source


CONNECTOR: Final = Connector(
    name="file",
    title="File",
    description="CSV, NDJSON and JSON files from the service's own directories or from the web.",
    documentation="https://www.rfc-editor.org/rfc/rfc4180",
    job_types=_job_types(),
)
