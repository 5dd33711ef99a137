"""What every import of text files has in common, wherever they lie: reading them, and trying a configuration.

A provider brings a way to open its source; this module turns it into batches. It opens nothing by itself.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from connectors.contract import Batch, ConfigurationProblem, ConnectorError, FixConfiguration, Limits, RetryLater
from connectors.kit.read_ahead import in_thread
from connectors.text.compression import MAGIC_BYTES, SUFFIXES, decoder, detect
from connectors.text.config import FORMAT_SUFFIXES, TextConfig
from connectors.text.cursor import START, TextCursor
from connectors.text.encoding import ToUtf8, is_utf8
from connectors.text.fingerprint import PREFIX_BYTES, digest
from connectors.text.formats.csv import Csv, unknown_field
from connectors.text.formats.csv_grammar import Dialect
from connectors.text.formats.json_array import JsonArray
from connectors.text.formats.ndjson import Ndjson
from connectors.text.formats.records import Format
from connectors.text.reader import SOURCE_CHANGED, STRETCH, Reading, ReadPlan
from connectors.text.timestamps import TimestampReader

SAMPLE_BYTES: Final = 256 * 1024
QUIET_SECONDS: Final = 600.0  # a writer that holds lines back for longer has most likely ended


class Source(Protocol):
    """Something open: its bytes, one after the other."""

    name: str  # for a person; never with credentials
    start: int  # where the first byte that `read` gives lies
    total: int | None  # bytes, when it is known
    validator: str | None

    @property
    def modified(self) -> float | None:
        """When it was last written to, in seconds since 1970; None when that isn't known."""
        ...

    async def head(self, count: int) -> bytes | None:
        """The very first bytes; None when only later ones were asked for. They are not taken away from `read`."""
        ...

    async def read(self, size: int) -> bytes:
        """The next bytes; b"" at the end."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


Open = Callable[[int, str | None], Awaitable[Source]]  # from this byte, if it is still this version; else from 0


async def read_text(
    config: TextConfig, path: str, cursor: TextCursor, limits: Limits, open_source: Open
) -> AsyncGenerator[Batch, None]:
    """Read the source named `path` from behind `cursor` to its end."""
    can_seek = cursor.plain and cursor.byte >= 2 * PREFIX_BYTES and is_utf8(config.encoding)
    source = await open_source(cursor.byte - PREFIX_BYTES if can_seek else 0, cursor.validator)
    try:
        reading = await _begin(config, path, cursor, limits, source)
        while not reading.ended:
            try:
                batch = await in_thread(reading.next_batch)
                if batch is None and not reading.ended:
                    raw = await source.read(min(limits.batch_bytes, STRETCH))
                    reading.feed(raw, may_go_on=not raw and _may_go_on(limits, source))
            except RetryLater:
                while (batch := await in_thread(reading.salvage)) is not None:
                    yield batch  # what could be read is kept
                raise
            except ConnectorError:
                if (batch := reading.flush()) is not None:
                    yield batch
                raise
            if batch is not None:
                yield batch
    finally:
        await source.close()


def _may_go_on(limits: Limits, source: Source) -> bool:
    """Whether a source that ended in the middle of a line may have been caught while it is written."""
    return limits.comes_again and source.modified is not None and abs(limits.clock() - source.modified) < QUIET_SECONDS


async def _begin(config: TextConfig, path: str, cursor: TextCursor, limits: Limits, source: Source) -> Reading:
    head = await source.head(PREFIX_BYTES if source.start else MAGIC_BYTES)
    if source.start and head is not None and digest(head) != cursor.head:
        raise FixConfiguration("source_changed", SOURCE_CHANGED)
    kind = detect(config.compression, path, head or b"") if not source.start else "none"
    plan = ReadPlan(
        config.stream,
        config.lane,
        source.name,
        config.on_error,
        plain=kind == "none" and is_utf8(config.encoding),
        validator=source.validator,
        bytes_total=source.total,
    )
    form = make_format(config, path, cursor, limits)
    return Reading(plan, limits, cursor, source.start, (decoder(kind), ToUtf8(config.encoding)), form)


def make_format(config: TextConfig, path: str, cursor: TextCursor, limits: Limits) -> Format:
    """The reader of the configured format, at the cursor."""
    suffixes = [each for each in PurePosixPath(path.lower()).suffixes if each not in SUFFIXES]
    suffix = suffixes[-1] if suffixes else ""
    name = FORMAT_SUFFIXES.get(suffix) if config.format == "auto" else config.format
    stamps = None
    if config.timestamp_field:
        stamps = TimestampReader(
            config.timestamp_field, config.timestamp_format, ZoneInfo(config.time_zone), limits.clock
        )
    match name:
        case "csv":
            delimiter = config.delimiter or ("\t" if suffix == ".tsv" else ",")
            fields = config.fields or cursor.fields
            if cursor.byte and not fields:
                raise FixConfiguration("bad_cursor", "the job's cursor lacks `fields`; reset it to {}")
            if stamps and fields and stamps.field not in fields:
                raise FixConfiguration("unknown_timestamp_field", unknown_field(stamps.field, fields))
            header_row = config.header_row and not cursor.byte
            dialect = Dialect(delimiter.encode(), config.quote.encode())
            return Csv(dialect, stamps, config.on_error, fields, header_row=header_row)
        case "ndjson":
            return Ndjson(stamps, config.on_error)
        case "json_array":
            return JsonArray(stamps, config.on_error, begun=cursor.byte > 0)
        case None:
            known = ", ".join(FORMAT_SUFFIXES)
            raise FixConfiguration("unknown_format", f"the name ends with none of {known}: set `format`")


async def check_text(
    config: TextConfig, path: str, limits: Limits, open_source: Open
) -> tuple[ConfigurationProblem, ...]:
    """Read a sample and say what is wrong with the configuration, by field. Raises when the source can't be asked."""
    small = replace(limits, batch_bytes=min(SAMPLE_BYTES, limits.batch_bytes))
    careful = config.model_copy(update={"on_error": "quarantine"})
    batches = read_text(careful, path, START, small, open_source)
    try:
        batch = await anext(batches, None)
    except FixConfiguration as error:
        return (ConfigurationProblem(FIELD_OF.get(error.code, "/source"), error.code, error.message),)
    finally:
        await batches.aclose()
    return _sampled(config, batch) if batch else ()


def _sampled(config: TextConfig, batch: Batch) -> tuple[ConfigurationProblem, ...]:
    columns = batch.cursor.get("fields", ())
    if len(columns) == 1 and not config.fields and (others := [each for each in ";\t|," if each in columns[0]]):
        return (
            ConfigurationProblem(
                "/delimiter", "one_column", f"there is only one column; is the delimiter {others[0]!r}?"
            ),
        )
    if batch.count or not batch.rejects:
        return ()
    code, _ = Counter(each.code for each in batch.rejects).most_common(1)[0]
    first = next(each for each in batch.rejects if each.code == code)
    message = f"none of the first {batch.read:,} records can be taken; {first.position} {first.reason}"
    return (ConfigurationProblem(FIELD_OF.get(code, "/source"), code, message),)


FIELD_OF: Final = {
    "wrong_compression": "/compression",
    "wrong_encoding": "/encoding",
    "broken_encoding": "/encoding",
    "nul_byte": "/encoding",
    "unknown_format": "/format",
    "not_an_array_of_objects": "/format",
    "invalid_json": "/format",
    "not_an_object": "/format",
    "bad_header": "/header_row",
    "duplicate_header": "/fields",
    "too_many_columns": "/delimiter",
    "wrong_column_count": "/delimiter",
    "unclosed_quote": "/quote",
    "unknown_timestamp_field": "/timestamp_field",
    "missing_timestamp": "/timestamp_field",
    "bad_timestamp": "/timestamp_format",
    "future_timestamp": "/timestamp_format",
}
