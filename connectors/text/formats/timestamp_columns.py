"""Timestamps a column at a time. Agrees with `TimestampReader.micros`, or declines, and records are read one by one.

Imports pyarrow, so it is itself imported only when something is read.
"""

import re
from array import array
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.text.timestamps import TimestampReader, UnusableTimestamp
from schemas.instants import EARLIEST, LATEST
from schemas.timestamps import EPOCH_UNITS

# 1970 to 2037: where every time zone library reads the same transitions out of the tz database.
ZONES_AGREE: Final = (0, 2_145_916_800_000_000)
# A date, and maybe a time, in numbers alone: strptime formats that mean the same everywhere.
NUMERIC: Final = re.compile(r"(?=.*%Y)(?=.*%m)(?=.*%d)(?:%Y|%m|%d|%H|%M|%S|[-/.:T ]){5,11}")


def micros_column(timestamps: TimestampReader, values: pa.Array) -> bytes | None:
    """The microseconds of some strings or integers, at least one; None when one of them has no usable timestamp."""
    if values.null_count or values.type not in {pa.string(), pa.int64()}:
        return None
    try:
        stamps = _cast(timestamps, values)
    except pa.ArrowException:
        return _each(timestamps, values.to_pylist())
    extent = pc.min_max(stamps).as_py()
    low, high = (EARLIEST, LATEST) if _needs_no_zone(timestamps) else ZONES_AGREE
    if not (low <= extent["min"] and extent["max"] <= min(high, timestamps.latest())):
        return _each(timestamps, values.to_pylist())
    buffer: bytes = stamps.buffers()[1].to_pybytes()
    return buffer[stamps.offset * 8 : (stamps.offset + len(stamps)) * 8]


def _cast(timestamps: TimestampReader, values: pa.Array) -> pa.Array:
    match timestamps.formats:
        case ("epoch_s" | "epoch_ms" | "epoch_us" as unit,) if not _hexadecimal(values):
            return pc.multiply_checked(pc.cast(values, pa.int64()), EPOCH_UNITS[unit])
        case ("auto",) | ("epoch", "auto") if values.type == pa.string():
            return pc.cast(_cast_iso(timestamps, values), pa.int64())
        case (form,) if NUMERIC.fullmatch(form):
            return pc.cast(_zoned(timestamps, _cast_numeric(form, values)), pa.int64())
        case _:
            raise pa.ArrowNotImplementedError("the other formats have no cast")


def _hexadecimal(values: pa.Array) -> bool:
    """Whether a string looks like 0x1f, which a cast would take for a number."""
    return values.type == pa.string() and bool(pc.any(pc.match_substring(values, "x")).as_py())


def _cast_iso(timestamps: TimestampReader, values: pa.Array) -> pa.Array:
    try:
        return pc.cast(values, pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return _zoned(timestamps, pc.cast(values, pa.timestamp("us")))


def _cast_numeric(form: str, values: pa.Array) -> pa.Array:
    """Trusts the parser where writing the result again gives the same text."""
    local = pc.strptime(values, form, "us")
    whole_seconds = pc.cast(local, pa.timestamp("s"))  # as microseconds, %S would be written with six decimals
    if not pc.all(pc.equal(pc.strftime(whole_seconds, form), values)).as_py():
        raise pa.ArrowInvalid("a value that is written in another way")
    return local


def _zoned(timestamps: TimestampReader, local: pa.Array) -> pa.Array:
    if _needs_no_zone(timestamps):
        return local
    return pc.assume_timezone(local, timestamps.zone.key, ambiguous="earliest", nonexistent="raise")


def _needs_no_zone(timestamps: TimestampReader) -> bool:
    return timestamps.zone.key == "UTC" or timestamps.formats[0] in EPOCH_UNITS


def _each(timestamps: TimestampReader, values: list[str] | list[int]) -> bytes | None:
    known: dict[str | int, int] = {}
    micros = array("q")
    for each in values:
        if (found := known.get(each)) is None:
            try:
                found = known[each] = timestamps.micros(each)
            except UnusableTimestamp:
                return None
        micros.append(found)
    return micros.tobytes()
