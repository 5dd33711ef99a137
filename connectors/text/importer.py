"""Read text files from any source, and test a configuration.

A provider supplies a function that opens its source; this module converts the source to batches.
"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from connectors.contract import Batch, ConfigurationProblem, ConnectorError, FixConfiguration, Limits, RetryLater
from connectors.kit.threads import in_thread
from connectors.text.compression import Uncompressed, Unpacker
from connectors.text.config import FormatName, TextConfig
from connectors.text.csv.grammar import Dialect
from connectors.text.csv.header import CsvOptions, unknown_field
from connectors.text.csv.parser import Csv
from connectors.text.cursor import START, TextCursor
from connectors.text.detection import Proposal, parse_content_type, propose
from connectors.text.encoding import ToUtf8, is_utf8
from connectors.text.fingerprint import PREFIX_BYTES, digest
from connectors.text.formats.json_array import JsonArray
from connectors.text.formats.ndjson import Ndjson
from connectors.text.formats.records import Format, Layout
from connectors.text.reader import BLOCK_BYTES, ReadPlan, TextReader
from connectors.text.timestamps import TimestampReader
from schemas.coded import caused_by

SAMPLE_BYTES: Final = 256 * 1024
QUIET_SECONDS: Final = 600.0  # after this time without changes the writer has probably finished


class Source(Protocol):
    """An open source of bytes."""

    name: str  # for display; never with credentials
    start: int  # offset of the first byte that `read` returns
    total: int | None  # bytes, if known
    validator: str | None

    @property
    def content_type(self) -> str:
        """The `Content-Type` header; "" without one."""
        ...

    @property
    def content_encoding(self) -> str:
        """The `Content-Encoding` header; "" without one."""
        ...

    @property
    def modified(self) -> float | None:
        """The time of the last change in seconds since 1970; None if unknown."""
        ...

    async def head(self, count: int) -> bytes | None:
        """Return the first bytes of the source without consuming them; None if it was opened at a later offset."""
        ...

    async def read(self, size: int) -> bytes:
        """Return the next bytes; b"" at the end."""
        ...

    async def close(self) -> None:
        """Close the source."""
        ...


OpenSource = Callable[[int, str | None], Awaitable[Source]]  # at this offset, if the validator still matches; else at 0


async def read_text(
    config: TextConfig, path: str, cursor: TextCursor, limits: Limits, open_source: OpenSource
) -> AsyncGenerator[Batch, None]:
    """Read the source from `cursor` to its end. The extensions of `path` select format and compression.

    With `limits.rereads`, a source whose text before `cursor` changed is read from its beginning.
    """
    try:
        async with aclosing(_read_from(config, path, cursor, limits, open_source)) as batches:
            async for batch in batches:
                yield batch
    except FixConfiguration as error:
        if error.code != "source_changed" or not limits.rereads:
            raise
        async with aclosing(_read_from(config, path, START, limits, open_source)) as batches:
            async for batch in batches:
                yield batch


async def _read_from(
    config: TextConfig, path: str, cursor: TextCursor, limits: Limits, open_source: OpenSource
) -> AsyncGenerator[Batch, None]:
    is_plain = cursor.plain and is_utf8(config.encoding)
    can_seek = is_plain and cursor.byte >= 2 * PREFIX_BYTES and cursor.checksum is not None
    source = await open_source(cursor.byte - PREFIX_BYTES if can_seek else 0, cursor.validator)
    try:
        reader = await _start_reading(config, path, cursor, limits, source)
        while not reader.ended:
            try:
                batch = await _next_batch(reader, source, limits)
            except RetryLater:
                while (batch := await in_thread(reader.salvage)) is not None:
                    yield batch  # complete records are imported
                raise
            except ConnectorError:
                if (batch := reader.flush()) is not None:
                    yield batch
                raise
            if batch is not None:
                yield batch
    finally:
        await source.close()


async def _next_batch(reader: TextReader, source: Source, limits: Limits) -> Batch | None:
    """Return a full batch, the remainder at the end, or the complete records of a slow source; None: there are none."""
    due = time.monotonic() + limits.batch_seconds
    while (batch := await in_thread(reader.next_batch)) is None and not reader.ended:
        if time.monotonic() >= due:
            due += limits.batch_seconds
            if (batch := await in_thread(reader.salvage)) is not None:
                return batch
        raw = await source.read(min(limits.batch_bytes, BLOCK_BYTES))
        reader.feed(raw, may_continue=not raw and _may_continue(limits, source))
    return batch


def _may_continue(limits: Limits, source: Source) -> bool:
    """Whether a source with an unterminated last line may still be being written."""
    return limits.recurring and source.modified is not None and abs(limits.clock() - source.modified) < QUIET_SECONDS


async def _start_reading(
    config: TextConfig, path: str, cursor: TextCursor, limits: Limits, source: Source
) -> TextReader:
    if source.start and (head := await source.head(PREFIX_BYTES)) is not None and digest(head) != cursor.head:
        raise FixConfiguration("source_changed")
    content_type = parse_content_type(source.content_type)
    proposal = propose(config, path, content_type)
    compression = "auto" if source.content_encoding else config.compression  # it is undone first
    unpacker = Uncompressed() if source.start else Unpacker(compression, proposal.compression)
    plan = ReadPlan(
        config.stream,
        config.lane,
        source.name,
        config.on_error,
        utf8=is_utf8(config.encoding),
        proposed=proposal.format,
        validator=source.validator,
        bytes_total=source.total,
    )

    def make(name: FormatName) -> Format:
        return make_format(config, name, proposal, cursor, limits)

    return TextReader(plan, limits, cursor, source.start, (unpacker, ToUtf8(config.encoding)), make)


def make_format(config: TextConfig, name: FormatName, proposal: Proposal, cursor: TextCursor, limits: Limits) -> Format:
    """Return the parser of a format, at the cursor."""
    stamps = None
    if config.timestamp_field:
        stamps = TimestampReader(
            config.timestamp_field, config.timestamp_format, ZoneInfo(config.time_zone), limits.clock
        )
    match name:
        case "csv":
            return _csv(config, proposal, cursor, stamps)
        case "ndjson":
            return Ndjson(stamps, config.on_error)
        case "json_array":
            return JsonArray(stamps, config.on_error, begun=cursor.byte > 0)


def _csv(config: TextConfig, proposal: Proposal, cursor: TextCursor, stamps: TimestampReader | None) -> Csv:
    fields = config.fields or cursor.fields
    if cursor.byte and not fields:
        raise FixConfiguration("cursor_without_fields")
    if not fields and not proposal.header_row:
        raise FixConfiguration("columns_unnamed")
    if stamps and fields and stamps.field not in fields:
        raise unknown_field(stamps.field, fields)
    delimiter = config.delimiter or ("\t" if proposal.tabs else ",")
    options = CsvOptions(
        Dialect(delimiter.encode(), config.quote.encode(), config.escape.encode()),
        config.fields,
        config.header_row and proposal.header_row,
        config.skip_lines,
        config.comment.encode(),
        delimiter_given=config.delimiter is not None,
    )
    if not cursor.byte:
        return Csv(options, stamps, config.on_error)
    layout = Layout(cursor.fields, cursor.delimiter, cursor.trailing_delimiter, cursor.padded)
    return Csv(options, stamps, config.on_error, layout)


async def check_text(
    config: TextConfig, path: str, limits: Limits, open_source: OpenSource
) -> tuple[ConfigurationProblem, ...]:
    """Parse a sample and return the problems of the configuration. Raise when the source can't be reached."""
    small = replace(limits, batch_bytes=min(SAMPLE_BYTES, limits.batch_bytes))
    lenient = config.model_copy(update={"on_error": "quarantine"})
    batches = read_text(lenient, path, START, small, open_source)
    try:
        batch = await anext(batches, None)
    except FixConfiguration as error:
        return (ConfigurationProblem(FIELD_OF.get(error.code, "/source"), error.code, error.params),)
    finally:
        await batches.aclose()
    return sample_problems(config, batch) if batch else ()


def sample_problems(config: TextConfig, batch: Batch) -> tuple[ConfigurationProblem, ...]:
    """Return the problems of a configuration that its first records show."""
    columns = batch.cursor.get("fields", ())
    if len(columns) == 1 and not config.fields and (candidates := [sign for sign in ";\t|," if sign in columns[0]]):
        return (ConfigurationProblem("/delimiter", "one_column", {"delimiter": candidates[0]}),)
    if batch.count or not batch.rejects:
        return ()
    code, _ = Counter(reject.code for reject in batch.rejects).most_common(1)[0]
    first = next(reject for reject in batch.rejects if reject.code == code)
    params = {"records": batch.read, "position": first.position, **caused_by(code, first.params)}
    return (ConfigurationProblem(FIELD_OF.get(code, "/source"), "all_records_rejected", params),)


FIELD_OF: Final = {
    "wrong_compression": "/compression",
    "wrong_encoding": "/encoding",
    "broken_encoding": "/encoding",
    "nul_byte": "/encoding",
    "unknown_format": "/format",
    "json_not_csv": "/format",
    "html_type": "/format",
    "columns_unnamed": "/fields",
    "not_an_array_of_objects": "/format",
    "blanks_in_array": "/format",
    "invalid_json": "/format",
    "not_an_object": "/format",
    "unclosed_header_quote": "/quote",
    "text_after_header_quote": "/quote",
    "sep_line_conflict": "/delimiter",
    "unsupported_sep_line": "/delimiter",
    "nul_in_header": "/encoding",
    "header_encoding": "/encoding",
    "utf_16_mark": "/encoding",
    "bare_cr_in_header": "/header_row",
    "duplicate_header": "/fields",
    "too_many_columns": "/delimiter",
    "column_names_too_long": "/delimiter",
    "header_too_long": "/delimiter",
    "wrong_column_count": "/delimiter",
    "unclosed_quote": "/quote",
    "text_after_quote": "/quote",
    "unknown_timestamp_field": "/timestamp_field",
    "missing_timestamp": "/timestamp_field",
    "bad_timestamp": "/timestamp_format",
    "future_timestamp": "/timestamp_format",
}
