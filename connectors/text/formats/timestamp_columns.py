"""Parse timestamps by column. Agrees with `TimestampReader.micros`, or falls back to it.

It imports pyarrow, so it is imported only for reading.
"""

import re
from array import array
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.text.timestamps import InvalidRecord, TimestampReader
from schemas.instants import EARLIEST, LATEST
from schemas.timestamps.formats import EPOCH_UNITS

# 1970 to 2037: here all time zone libraries agree on the transitions in the tz database.
ZONES_AGREE: Final = (0, 2_145_916_800_000_000)
# strptime formats of a date and an optional time in digits: every implementation agrees on them.
NUMERIC: Final = re.compile(r"(?=.*%Y)(?=.*%m)(?=.*%d)(?:%Y|%m|%d|%H|%M|%S|[-/.:T ]){5,11}")


def micros_column(timestamps: TimestampReader, values: pa.Array) -> bytes | None:
    """Return the microseconds of strings or integers, at least one; None if one of them is invalid."""
    if values.null_count or values.type not in {pa.string(), pa.int64()}:
        return None
    try:
        stamps = _cast(timestamps, values)
    except pa.ArrowException:
        return _parse_individually(timestamps, values.to_pylist())
    extent = pc.min_max(stamps).as_py()
    low, high = (EARLIEST, LATEST) if _needs_no_zone(timestamps) else ZONES_AGREE
    if not (low <= extent["min"] and extent["max"] <= min(high, timestamps.latest())):
        return _parse_individually(timestamps, values.to_pylist())
    buffer: bytes = stamps.buffers()[1].to_pybytes()
    return buffer[stamps.offset * 8 : (stamps.offset + len(stamps)) * 8]


def _cast(timestamps: TimestampReader, values: pa.Array) -> pa.Array:
    match timestamps.formats:
        case ("epoch_s" | "epoch_ms" | "epoch_us" as unit,) if not _hexadecimal(values):
            return pc.multiply_checked(pc.cast(values, pa.int64()), EPOCH_UNITS[unit])
        case ("auto",) | ("epoch", "auto") if values.type == pa.string():
            return pc.cast(_cast_iso(timestamps, values), pa.int64())
        case (form,) if NUMERIC.fullmatch(form):
            return pc.cast(_localize(timestamps, _cast_numeric(form, values)), pa.int64())
        case _:
            raise pa.ArrowNotImplementedError("no cast for this format")


def _hexadecimal(values: pa.Array) -> bool:
    """Whether a string may be hexadecimal, like 0x1f, which a cast would accept as a number."""
    return values.type == pa.string() and bool(pc.any(pc.match_substring(values, "x")).as_py())


def _cast_iso(timestamps: TimestampReader, values: pa.Array) -> pa.Array:
    try:
        return pc.cast(values, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return _localize(timestamps, pc.cast(values, pa.timestamp("us")))


def _cast_numeric(form: str, values: pa.Array) -> pa.Array:
    """Parse a column. Accept the result only if formatting it gives the same text."""
    local = pc.strptime(values, form, "us")
    whole_seconds = pc.cast(local, pa.timestamp("s"))  # with microseconds, %S formats six decimals
    if not pc.all(pc.equal(pc.strftime(whole_seconds, form), values)).as_py():
        raise pa.ArrowInvalid("a value is not in the canonical form")
    return local


def _localize(timestamps: TimestampReader, local: pa.Array) -> pa.Array:
    if _needs_no_zone(timestamps):
        return local
    return pc.assume_timezone(local, timestamps.zone.key, ambiguous="earliest", nonexistent="raise")


def _needs_no_zone(timestamps: TimestampReader) -> bool:
    return timestamps.zone.key == "UTC" or timestamps.formats[0] in EPOCH_UNITS


def _parse_individually(timestamps: TimestampReader, values: list[str] | list[int]) -> bytes | None:
    cache: dict[str | int, int] = {}
    micros = array("q")
    for value in values:
        if (parsed := cache.get(value)) is None:
            try:
                parsed = cache[value] = timestamps.micros(value)
            except InvalidRecord:
                return None
        micros.append(parsed)
    return micros.tobytes()
