"""The CSV fast path produces the bytes of the exact path, or declines. Both agree with Python's `csv` module."""

import csv
import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from connectors.contract import Limits
from connectors.text.csv.columns import Table, to_ndjson
from connectors.text.csv.grammar import Dialect, Grammar
from connectors.text.csv.header import CsvOptions
from connectors.text.csv.parser import Csv
from connectors.text.formats.records import Layout, Parsed
from connectors.text.formats.timestamp_columns import micros_column
from connectors.text.timestamps import InvalidRecord, TimestampReader
from schemas.instants import micros
from tests.unit.connectors.texts import NOW, read_all

COMMA = Dialect(b",", b'"')
DIALECTS = st.sampled_from([COMMA, Dialect(b";", b"'"), Dialect(b"\t", b'"'), Dialect(b"|", b"")])
day = datetime.fromisoformat
ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])

CELL = st.text(alphabet='ab,;|"\n\r\t\\/é😀\x7f\u2028\x00\x01\x1f', max_size=6)
ROWS = st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=12)
TEXTS = st.one_of(
    st.text(alphabet='a,"\n', max_size=40).map(str.encode),
    st.text(alphabet="ab,\"\n\r;'\\é\t", max_size=60).map(str.encode),
    ROWS.map(lambda rows: "\n".join(",".join(row) for row in rows).encode()),
    st.binary(max_size=40),
)


@st.composite
def well_formed_text(draw: st.DrawFn, dialect: Dialect) -> bytes:
    """Generate well-formed CSV: quoted where needed, all rows of the same width."""
    width = draw(st.integers(1, 4))
    delimiter, quote = dialect.delimiter.decode(), dialect.quote.decode()
    cell = st.text(alphabet='ab,;|"\n\t\\é😀 ', max_size=6)
    rows = []
    for row in draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=10)):
        needs_quoting = [any(sign in cell for sign in (delimiter, quote or "\n", "\n")) for cell in row]
        if quote:
            rows.append(
                delimiter.join(
                    quote + value.replace(quote, quote * 2) + quote if quoted or draw(st.booleans()) else value
                    for value, quoted in zip(row, needs_quoting, strict=True)
                )
            )
        else:
            rows.append(
                delimiter.join("plain" if quoted else value for value, quoted in zip(row, needs_quoting, strict=True))
            )
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    return (line_end.join(rows) + line_end).encode()


def parse_exactly(text: bytes, dialect: Dialect, width: int, stamps: TimestampReader | None) -> Parsed:
    fields = tuple(f"f{at}" for at in range(width))
    options = CsvOptions(dialect, fields, header_row=False)
    return Csv(options, stamps, "quarantine", Layout(fields))._exact(text, 1, final=True)


@settings(deadline=None, max_examples=6 * settings().max_examples)
@given(st.data(), DIALECTS, st.sampled_from([0, 0, 0, 1]))
def test_fast_path_equals_exact_path(data: st.DataObject, dialect: Dialect, extra: int) -> None:
    text = data.draw(st.one_of(TEXTS, well_formed_text(dialect)))
    grammar = Grammar(dialect)
    first = grammar.row(text, 0, final=True)
    width = (len(first.fields) if first else 1) + extra
    text = text[: grammar.well_formed(text)]
    fast = to_ndjson(text, Table([f"f{at}" for at in range(width)], dialect), None)
    exact = parse_exactly(text, dialect, width, None)
    event("fast" if fast and fast[1] else "declined or empty")
    if fast is not None:
        assert not exact.rejects
        assert fast == (exact.payload, exact.count, b"")


@settings(deadline=None, max_examples=3 * settings().max_examples)
@given(st.data(), DIALECTS)
def test_fast_path_accepts_well_formed_text(data: st.DataObject, dialect: Dialect) -> None:
    text = data.draw(well_formed_text(dialect))
    assert Grammar(dialect).well_formed(text) == len(text)


@settings(deadline=None, max_examples=6 * settings().max_examples)
@given(st.one_of(TEXTS, well_formed_text(COMMA)))
@example(b'"a"b"c,d"\nx')
@example(b'a,"b""c"d,""\r\n\r\n"",\n')
def test_exact_path_equals_python_csv(text: bytes) -> None:
    try:
        decoded = text.decode()
        expected = [row for row in csv.reader(io.StringIO(decoded, newline="\n")) if row]
    except (csv.Error, UnicodeDecodeError):
        return  # a bare CR or undecodable text: not covered by Python
    if "\r" in decoded.replace("\r\n", "") or "\0" in decoded:
        return
    grammar, at, rows = Grammar(COMMA), 0, []
    while at < len(text) and (row := grammar.row(text, at, final=True)):
        if text[at : row.end].strip(b"\r\n"):
            rows.append([field.decode() for field in row.fields])
        at = row.end
        if row.problem == "unclosed_quote":
            return
    assert rows == expected


STAMPS = st.one_of(
    st.datetimes(day("0001-01-02"), day("9999-12-30")).map(str),
    st.datetimes(day("1960-01-01"), day("2040-01-01")).map(lambda at: at.isoformat(timespec="milliseconds") + "Z"),
    st.datetimes(day("1960-01-01"), day("2024-01-01")).map(lambda at: f"{at:%Y-%m-%d %H:%M}"),
    st.datetimes(day("2010-03-01"), day("2024-11-20")).map(lambda at: f"{at:%Y-%m-%dT%H}:{at.minute // 30 * 30:02}"),
    st.tuples(st.dates(), st.integers(-26, 26)).map(lambda pair: f"{pair[0]}T10:00:00{pair[1]:+03}:00"),
    st.integers(-(2**64), 2**64).map(str),
    st.text(alphabet="0123456789-:.TZ+ x", max_size=22),
    st.sampled_from(
        [
            "0000-01-01",
            "2020-02-30",
            "2020-01-01T24:00",
            "2020-01-01T23:59:60",
            "",
            "2016-12-31T23:59:60Z",
            "2020-01-01+05:00",
            "2020-01-01 10.30",
            "2020-01-01T10:30.5",
            "20200131.00",
            "2020-060",
            "2020-01-01t10:00z",
            "2020-01-01 10:00:00 UTC",
            "45292.41666",
            "+1700000000",
            " 2020-01-01",
            "1e3",
        ]
    ),
)


@settings(deadline=None, max_examples=12 * settings().max_examples)
@given(st.lists(STAMPS, min_size=1, max_size=3), ZONES, st.sampled_from(["auto", "epoch_s", "epoch_ms", "epoch_us"]))
@example(["0x1F"], "UTC", "epoch_s")
@example(["2021-03-28T02:30:00"], "Europe/Vienna", "auto")
@example(["2021-10-31T02:30:00"], "Europe/Vienna", "auto")
@example(["2020-01-01T00:00:00-0000"], "UTC", "auto")
def test_timestamp_column_equals_single_values(values: list[str], zone: str, form: str) -> None:
    check_column(values, zone, form)


def check_column(values: list[str], zone: str, form: str) -> None:
    stamps = TimestampReader("at", (form,), ZoneInfo(zone), lambda: NOW)
    column = micros_column(stamps, pa.array(values))
    try:
        expected = [stamps.micros(value) for value in values]
    except InvalidRecord:
        assert column is None
        return
    assert column == b"".join(value.to_bytes(8, "little", signed=True) for value in expected)


FORMATS = ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y", "%Y%m%d%H%M%S", "%d %b %Y"]


@settings(deadline=None, max_examples=6 * settings().max_examples)
@given(st.data(), ZONES, st.sampled_from(FORMATS), st.sampled_from(["", "", "", " ", "0", "-"]))
def test_timestamp_column_with_strptime_format_equals_single_values(
    data: st.DataObject, zone: str, form: str, suffix: str
) -> None:
    moments = st.datetimes(day("1960-01-01"), day("2024-01-01"))
    values = [moment.strftime(form) for moment in data.draw(st.lists(moments, min_size=1, max_size=3))]
    check_column([*values[:-1], values[-1] + suffix], zone, form)
    check_column([value.replace("0", "", 1) for value in values], zone, form)


@settings(deadline=None, max_examples=4 * settings().max_examples)
@given(st.datetimes(day("0001-01-02"), day("2023-01-01")), st.integers(-14 * 60, 14 * 60))
def test_an_offset_in_a_timestamp_is_applied(at: datetime, minutes: int) -> None:
    moment = at.replace(tzinfo=UTC)
    local = (moment + timedelta(minutes=minutes)).replace(tzinfo=None).isoformat()
    sign = "-" if minutes < 0 else "+"
    text = f"{local}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    stamps = TimestampReader("at", ("auto",), ZoneInfo("Asia/Tokyo"), lambda: NOW)
    assert stamps.micros(text) == micros(moment)


def test_every_character_is_preserved_in_a_field() -> None:
    surrogates = range(0xD800, 0xE000)
    characters = [chr(code) for code in (*range(0x3000), *range(0x3000, 0x110000, 89)) if code not in surrogates]
    rows = [f'1,"{character.replace(chr(34), chr(34) * 2)}"\n' for character in characters]
    outcome = read_all(b"a,b\n" + "".join(rows).encode(), limits=Limits(clock=lambda: NOW))
    assert outcome.rejects == [("row 1", "nul_byte")]
    assert [orjson.loads(line)["b"] for line in outcome.lines] == characters[1:]
