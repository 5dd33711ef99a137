"""The fast path of CSV gives the very bytes of the exact one, or declines; both agree with Python's own reader."""

import csv
import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from connectors.text.formats.csv import Csv
from connectors.text.formats.csv_columns import to_ndjson
from connectors.text.formats.csv_grammar import Dialect, Grammar
from connectors.text.formats.records import Parsed
from connectors.text.formats.timestamp_columns import micros_column
from connectors.text.timestamps import TimestampReader, UnusableTimestamp
from schemas.instants import micros
from tests.unit.connectors.texts import NOW

COMMA = Dialect(b",", b'"')
DIALECTS = st.sampled_from([COMMA, Dialect(b";", b"'"), Dialect(b"\t", b'"'), Dialect(b"|", b"")])
day = datetime.fromisoformat
ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])

CELL = st.text(alphabet='ab,;|"\n\r\t\\/é😀\x7f\u2028\x00\x01\x1f', max_size=6)
ROUGH = st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=12)
TEXTS = st.one_of(
    st.text(alphabet='a,"\n', max_size=40).map(str.encode),
    st.text(alphabet="ab,\"\n\r;'\\é\t", max_size=60).map(str.encode),
    ROUGH.map(lambda rows: "\n".join(",".join(row) for row in rows).encode()),
    st.binary(max_size=40),
)


@st.composite
def written(draw: st.DrawFn, dialect: Dialect) -> bytes:
    """What a careful program writes: some fields quoted, all rows of one width."""
    width = draw(st.integers(1, 4))
    delimiter, quote = dialect.delimiter.decode(), dialect.quote.decode()
    cell = st.text(alphabet='ab,;|"\n\t\\é😀 ', max_size=6)
    rows = []
    for row in draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=10)):
        needs = [any(sign in each for sign in (delimiter, quote or "\n", "\n")) for each in row]
        if quote:
            rows.append(
                delimiter.join(
                    quote + each.replace(quote, quote * 2) + quote if need or draw(st.booleans()) else each
                    for each, need in zip(row, needs, strict=True)
                )
            )
        else:
            rows.append(delimiter.join("plain" if need else each for each, need in zip(row, needs, strict=True)))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    return (line_end.join(rows) + line_end).encode()


def exactly(text: bytes, dialect: Dialect, width: int, stamps: TimestampReader | None) -> Parsed:
    fields = [f"f{at}" for at in range(width)]
    return Csv(dialect, stamps, "quarantine", fields, header_row=False)._exact(text, 1, final=True)


@settings(deadline=None, max_examples=300)
@given(st.data(), DIALECTS, st.sampled_from([0, 0, 0, 1]))
def test_the_fast_path_gives_the_bytes_of_the_exact_path(data: st.DataObject, dialect: Dialect, extra: int) -> None:
    text = data.draw(st.one_of(TEXTS, written(dialect)))
    grammar = Grammar(dialect)
    first = grammar.row(text, 0, final=True)
    width = (len(first.fields) if first else 1) + extra
    text = text[: grammar.well_formed(text)]
    fast = to_ndjson(text, [f"f{at}" for at in range(width)], dialect.delimiter, dialect.quote, None)
    exact = exactly(text, dialect, width, None)
    event("fast" if fast and fast[1] else "declined or empty")
    if fast is not None:
        assert not exact.rejects
        assert fast == (exact.payload, exact.count, b"")


@settings(deadline=None, max_examples=150)
@given(st.data(), DIALECTS)
def test_the_fast_path_takes_what_a_careful_program_writes(data: st.DataObject, dialect: Dialect) -> None:
    text = data.draw(written(dialect))
    assert Grammar(dialect).well_formed(text) == len(text)


@settings(deadline=None, max_examples=300)
@given(st.one_of(TEXTS, written(COMMA)))
@example(b'"a"b"c,d"\nx')
@example(b'a,"b""c"d,""\r\n\r\n"",\n')
def test_the_exact_path_reads_rows_as_python_does(text: bytes) -> None:
    try:
        decoded = text.decode()
        expected = [row for row in csv.reader(io.StringIO(decoded, newline="\n")) if row]
    except (csv.Error, UnicodeDecodeError):
        return  # a bare CR, or no text: ours to define
    if "\r" in decoded.replace("\r\n", "") or "\0" in decoded:
        return
    grammar, at, found = Grammar(COMMA), 0, []
    while at < len(text) and (row := grammar.row(text, at, final=True)):
        if text[at : row.end].strip(b"\r\n"):
            found.append([each.decode() for each in row.fields])
        at = row.end
        if row.unclosed:
            return
    assert found == expected


STAMPS = st.one_of(
    st.datetimes(day("0001-01-02"), day("9999-12-30")).map(str),
    st.datetimes(day("1960-01-01"), day("2040-01-01")).map(lambda at: at.isoformat(timespec="milliseconds") + "Z"),
    st.datetimes(day("1960-01-01"), day("2024-01-01")).map(lambda at: f"{at:%Y-%m-%d %H:%M}"),
    st.datetimes(day("2010-03-01"), day("2024-11-20")).map(lambda at: f"{at:%Y-%m-%dT%H}:{at.minute // 30 * 30:02}"),
    st.tuples(st.dates(), st.integers(-26, 26)).map(lambda each: f"{each[0]}T10:00:00{each[1]:+03}:00"),
    st.integers(-(2**64), 2**64).map(str),
    st.text(alphabet="0123456789-:.TZ+ x", max_size=22),
    st.sampled_from(["0000-01-01", "2020-02-30", "2020-01-01T24:00", "2020-01-01T23:59:60", "", " 2020-01-01", "1e3"]),
)


@settings(deadline=None, max_examples=600)
@given(st.lists(STAMPS, min_size=1, max_size=3), ZONES, st.sampled_from(["auto", "epoch_s", "epoch_ms", "epoch_us"]))
@example(["0x1F"], "UTC", "epoch_s")
@example(["2021-03-28T02:30:00"], "Europe/Vienna", "auto")
@example(["2021-10-31T02:30:00"], "Europe/Vienna", "auto")
@example(["2020-01-01T00:00:00-0000"], "UTC", "auto")
def test_a_column_of_timestamps_is_what_each_of_them_is(values: list[str], zone: str, form: str) -> None:
    same_as_one_by_one(values, zone, form)


def same_as_one_by_one(values: list[str], zone: str, form: str) -> None:
    stamps = TimestampReader("at", (form,), ZoneInfo(zone), lambda: NOW)
    column = micros_column(stamps, pa.array(values))
    try:
        one_by_one = [stamps.micros(each) for each in values]
    except UnusableTimestamp:
        assert column is None
        return
    assert column == b"".join(each.to_bytes(8, "little", signed=True) for each in one_by_one)


FORMATS = ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y", "%Y%m%d%H%M%S", "%d %b %Y"]


@settings(deadline=None, max_examples=300)
@given(st.data(), ZONES, st.sampled_from(FORMATS), st.sampled_from(["", "", "", " ", "0", "-"]))
def test_a_column_in_a_format_of_its_own_is_what_each_of_them_is(
    data: st.DataObject, zone: str, form: str, rubbish: str
) -> None:
    moments = st.datetimes(day("1960-01-01"), day("2024-01-01"))
    values = [each.strftime(form) for each in data.draw(st.lists(moments, min_size=1, max_size=3))]
    same_as_one_by_one([*values[:-1], values[-1] + rubbish], zone, form)
    same_as_one_by_one([each.replace("0", "", 1) for each in values], zone, form)


@settings(deadline=None, max_examples=200)
@given(st.datetimes(day("0001-01-02"), day("2023-01-01")), st.integers(-14 * 60, 14 * 60))
def test_a_timestamp_with_an_offset_is_that_moment(at: datetime, minutes: int) -> None:
    moment = at.replace(tzinfo=UTC)
    local = (moment + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()
    sign = "-" if minutes < 0 else "+"
    text = f"{local}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    stamps = TimestampReader("at", ("auto",), ZoneInfo("Asia/Tokyo"), lambda: NOW)
    assert stamps.micros(text) == micros(moment)


@settings(deadline=None, max_examples=200)
@given(st.characters(codec="utf-8"))
def test_every_character_comes_through_a_field(character: str) -> None:
    text = f'a,"{character.replace(chr(34), chr(34) * 2)}"\n'.encode()
    parsed = Csv(COMMA, None, "quarantine", ["a", "b"], header_row=False).parse(text, 1, final=True)
    if character == "\0":
        assert [each.code for each in parsed.rejects] == ["nul_byte"]
    else:
        assert orjson.loads(parsed.payload) == {"a": "a", "b": character}
