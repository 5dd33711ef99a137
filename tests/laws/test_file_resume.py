"""Resuming from the cursor of any batch gives exactly the remaining records."""

import gzip
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, note, settings
from hypothesis import strategies as st

from connectors.contract import Limits
from tests.unit.connectors.texts import NOW, Outcome, read_all

CELLS = st.one_of(
    st.text(alphabet='ab,"\n\r;é€😀 \\\t\x01', max_size=12),
    st.sampled_from(["2020-01-01", "2021-02-03T04:05:06.789Z", "2099-01-01", "x" * 300, ""]),
)
LIMITS = st.builds(
    lambda batch, record, seconds: Limits(
        batch_bytes=batch, record_bytes=record, batch_seconds=seconds, clock=lambda: NOW
    ),
    st.sampled_from([16, 64, 500]),
    st.sampled_from([64, 256, 4000]),
    st.sampled_from([0.0, 10.0]),  # 0: every read gives a batch, as with a slow source
)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@st.composite
def csv_texts(draw: st.DrawFn) -> bytes:
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = []
    for _ in range(draw(st.integers(0, 25))):
        cells = draw(st.lists(CELLS, min_size=3, max_size=3))
        stamp = draw(st.sampled_from(["2020-01-01", "2021-02-03T04:05:06.789Z", "2099-01-01", "nonsense", ""]))
        kind = draw(st.sampled_from(["plain", "plain", "quoted", "wild", "broken", "short"]))
        match kind:
            case "plain":
                rows.append(f"{stamp},plain,value,é".encode())
            case "quoted":
                rows.append(",".join([stamp, *map(quoted, cells)]).encode())
            case "wild":
                rows.append(",".join([stamp, *cells]).encode())
            case "broken":
                rows.append(stamp.encode() + b",\xff\x00,b,c")
            case _:
                rows.append(stamp.encode())
    end = draw(st.sampled_from(["", line_end]))
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + line_end.encode().join([b"at,a,b,c", *rows]) + end.encode()


NESTED = st.sampled_from(["},{", '"}, {"', [{"a": 1}, {"b": [2]}], {"a": {}}])
MESSAGES = st.dictionaries(
    st.sampled_from(["at", "a", "b", '"{[']),
    st.one_of(CELLS, NESTED, st.integers(-(2**63), 2**64 - 1), st.none(), st.just("2020-01-01")),
    max_size=4,
).map(lambda message: {"at": "2020-01-01"} | message)


@st.composite
def ndjson_texts(draw: st.DrawFn) -> bytes:
    good = MESSAGES.map(orjson.dumps)
    bad = st.sampled_from([b"", b"  ", b"{", b"[1]", b'{"at":NaN}', b'{"a":"\xff"}', b"{}", b'{"at":"' + b"x" * 400])
    lines = draw(st.lists(st.one_of(good, good, bad), max_size=25))
    return draw(st.sampled_from([b"\n", b"\r\n"])).join(lines) + draw(st.sampled_from([b"", b"\n"]))


@st.composite
def array_texts(draw: st.DrawFn) -> bytes:
    pretty = MESSAGES.map(lambda message: orjson.dumps(message, option=orjson.OPT_INDENT_2))
    bad = st.sampled_from(
        [b'{"at":NaN}', b'{"a" 1}', b'{"a":"\xff"}', b'{"at":"2020-01-01","x":"' + b"]" * 400 + b'"}']
    )
    objects = draw(st.lists(st.one_of(MESSAGES.map(orjson.dumps), pretty, bad), max_size=20))
    end = draw(st.sampled_from([b"]", b"\n]\n", b"", b"] x"]))
    return b" [ " + draw(st.sampled_from([b",", b" ,\r\n\t"])).join(objects) + end


def check_invariants(outcome: Outcome) -> None:
    """Check the sum of the counts of each batch, and that batches have no gaps."""
    row = 1
    for batch in outcome.batches:
        assert batch.first_row == row
        assert batch.read == batch.count + len(batch.rejects) + batch.rejects_dropped + batch.duplicate + batch.omitted
        assert batch.payload.count(b"\n") == batch.count
        assert len(batch.timestamps) in {0, 8 * batch.count}
        assert all(type(orjson.loads(line)) is dict for line in batch.payload.splitlines())
        row += batch.read


def check_resuming(data: bytes, path: str, limits: Limits, **config: Any) -> None:
    note(f"{data!r} as {path}")
    whole = read_all(data, path, limits=limits, **config)
    check_invariants(whole)
    for at in range(1, len(whole.batches) + 1, 1 + len(whole.batches) // 5):
        cursor = orjson.loads(orjson.dumps(dict(whole.batches[at - 1].cursor)))
        tail = read_all(data, path, cursor, limits, **config)
        expected = Outcome(whole.batches[at:], whole.error)
        assert tail.records == expected.records
        assert sum(batch.read for batch in tail.batches) == sum(batch.read for batch in expected.batches)


PACKED = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstandard.compress}
packings = st.sampled_from(sorted(PACKED))
policies = st.sampled_from(["abort", "drop", "quarantine"])
fields = st.sampled_from([None, "at"])


@settings(deadline=None, max_examples=4 * settings().max_examples // 5)
@given(csv_texts(), packings, policies, fields, LIMITS)
def test_csv_resumes_from_every_cursor(
    data: bytes, packing: str, on_error: str, field: str | None, limits: Limits
) -> None:
    check_resuming(PACKED[packing](data), f"a.csv{packing}", limits, on_error=on_error, timestamp_field=field)


@settings(deadline=None, max_examples=4 * settings().max_examples // 5)
@given(ndjson_texts(), packings, policies, fields, LIMITS)
def test_ndjson_resumes_from_every_cursor(
    data: bytes, packing: str, on_error: str, field: str | None, limits: Limits
) -> None:
    check_resuming(PACKED[packing](data), f"a.ndjson{packing}", limits, on_error=on_error, timestamp_field=field)


@settings(deadline=None, max_examples=4 * settings().max_examples // 5)
@given(array_texts(), packings, policies, fields, LIMITS)
def test_a_json_array_resumes_from_every_cursor(
    data: bytes, packing: str, on_error: str, field: str | None, limits: Limits
) -> None:
    check_resuming(PACKED[packing](data), f"a.json{packing}", limits, on_error=on_error, timestamp_field=field)


@settings(deadline=None, max_examples=4 * settings().max_examples // 5)
@given(csv_texts(), LIMITS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_give_the_records_of_utf8(encoding: str, data: bytes, limits: Limits) -> None:
    text = data.decode("utf-8-sig", errors="ignore")
    converted = text.encode(encoding)
    check_resuming(converted, "a.csv", limits, encoding=encoding)
    assert (
        read_all(converted, limits=limits, encoding=encoding).records == read_all(text.encode(), limits=limits).records
    )


@settings(deadline=None, max_examples=4 * settings().max_examples // 5)
@given(csv_texts(), LIMITS, LIMITS)
def test_batch_boundaries_make_no_difference(data: bytes, one: Limits, other: Limits) -> None:
    limits = [Limits(batch_bytes=size.batch_bytes, record_bytes=1000, clock=lambda: NOW) for size in (one, other)]
    assert read_all(data, limits=limits[0]).records == read_all(data, limits=limits[1]).records
