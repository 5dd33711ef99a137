"""Field statistics: counts, patterns, bounds for hostile messages, and cost."""

import json
from time import process_time
from typing import Any

import pytest

from projections.fields.distinct_sketch import DistinctSketch, hash_text
from projections.fields.field_stats import MAX_FIELDS, FieldFacts, FieldStats, summarize
from projections.fields.text_patterns import number_facts, text_facts

HOUR = 3_600_000_000


def stats(*messages: dict[str, Any]) -> FieldStats:
    result = FieldStats()
    for hour, message in enumerate(messages):
        result.add(message, hour * HOUR)
    return result


def test_sketches_are_summarized() -> None:
    sketches = [stats({"a": 1}).to_json(), stats({"a": 2, "b": ""}).to_json()]
    summary = summarize(sketches)
    assert (summary.sampled, summary.excluded_fields) == (2, 0)
    assert [(field.name, field.seen) for field in summary.fields] == [("a", 2), ("b", 1)]
    assert summarize([]).fields == ()


def test_fields_are_counted_including_nested_ones() -> None:
    result = stats(
        {"name": "Ada", "age": 36, "address": {"city": "London", "at": {"lat": 51.5, "more": {"deep": 1}}}},
        {"name": "", "age": 36.0, "tags": [{"not": "sampled into"}], "address": None},
        {"name": None, "age": 21, "new": True},
    )
    assert result.sampled == 3
    facts = {field.name: field for field in result.fields()}
    assert list(facts) == [
        "address", "address.at", "address.at.lat", "address.at.more", "address.city", "age", "name", "new", "tags",
    ]  # fmt: skip
    assert facts["name"] == FieldFacts(
        path=("name",), seen=3, types={"string": 2, "null": 1}, patterns={"blank": 1}, last_seen_at=2 * HOUR,
        min_length=0, max_length=3, min_value=None, max_value=None, distinct=2,
    )  # fmt: skip
    assert facts["name"].present == 1
    age = facts["age"]
    assert (age.types, age.min_value, age.max_value, age.distinct) == ({"integer": 2, "number": 1}, 21, 36, 2)
    assert (age.min_length, age.max_length, facts["address.city"].path) == (None, None, ("address", "city"))
    assert facts["tags"].types == {"array": 1}
    assert facts["new"].types == {"boolean": 1}


@pytest.mark.parametrize(
    ("pattern", "texts"),
    {
        "blank": ["", "  \t"],
        "boolean": ["true", "False"],
        "integer": ["0", "-7", "42", "9223372036854775807", " 12 "],
        "number": ["0.5", "-.25", "17.0", "1.5e-3"],
        "timestamp": ["2013-01-01", "2013-01-01T10:00:00Z", "2013-01-01 10:00:00.123+01:00"],
        "email": ["ada@example.org", "a.b+c@d-e.example", "ü@ü.example"],
        "url": ["https://example.org/a?b=c", "s3://bucket", "https://" + "x" * 5_000],
        "uuid": ["0d8f9a30-2b6c-4f3e-9f9d-5f1f7a1f2c11"],
        "placeholder": ["N/A", "null", "[object Object]", "00000000-0000-0000-0000-000000000000", "@", "://", "000"],
        "phone": ["+491701234567", "+43 (0)664 1234567", "(+43) 664-1234567"],
        "digits": ["01234", "12345678901234567890", "0664/1234567", "(415) 555-0123", "1.2.3"],
        "other": [
            "N14228", "007", "1,5", "2013-13-01", "2013-02-30 x", "1e5", "٣", "+43", "0664 1234567 x5",
            "a@b", "a b@c.example", "0d8f9a302b6c4f3e9f9d5f1f7a1f2c11", "\ud800",
        ],
    }.items(),
)  # fmt: skip
def test_patterns_of_texts(pattern: str, texts: list[str]) -> None:
    assert {text: text_facts(text).pattern for text in texts} == dict.fromkeys(texts, pattern)


def test_epoch_timestamps_are_detected_in_texts_and_numbers() -> None:
    values: list[Any] = [1_700_000_000, "1700000000", 1_700_000_000_123, 1_700_000_000_123_456, 1_700_000_000.5, 7, "8"]
    (facts,) = stats(*({"at": value} for value in values)).fields()
    assert facts.patterns == {"integer": 2, "epoch_s": 3, "epoch_ms": 1, "epoch_us": 1}


def test_placeholders_are_counted_among_numbers() -> None:
    values: list[Any] = [0, 0.0, -1, "0", "-1", "true", "N/A", 7, "7", True]
    (facts,) = stats(*({"id": value} for value in values)).fields()
    assert facts.patterns == {"integer": 3, "boolean": 1, "placeholder": 7}


def test_numbers_out_of_bounds_do_not_extend_the_range() -> None:
    values = [10**600, -(10**600), float("nan"), float("inf"), 5, 5.0, 2.5]
    (facts,) = stats(*({"n": value} for value in values)).fields()
    assert (facts.types, facts.min_value, facts.max_value) == ({"integer": 3, "number": 4}, 2.5, 5)
    assert facts.distinct == 6
    (facts,) = stats({"n": float("nan")}).fields()
    assert (facts.min_value, facts.max_value) == (None, None)
    assert number_facts(7) == number_facts(7.0)


def test_unbounded_names_are_counted_and_excluded() -> None:
    started = process_time()
    result = stats({"id": 1, **{f"visitor {number}": number for number in range(100_000)}}, {"id": 2})
    assert process_time() - started < 2
    assert MAX_FIELDS <= result.tracked_fields < 3 * MAX_FIELDS
    fields = {field.name: field for field in result.fields()}
    assert len(fields) == MAX_FIELDS
    assert fields["id"].seen == 2
    assert 60_000 < result.excluded_fields < 140_000
    assert len(result.to_json()) < 100_000
    odd = stats({"n" * 201: 1, "half \ud800": 2, "good": {"n" * 196: {"deep": 1}, "x": 1}})
    assert [field.name for field in odd.fields()] == ["good", "good.x"]
    assert odd.excluded_fields == 4


def test_unbounded_values_take_bounded_memory() -> None:
    wide = stats(*({f"f{field}": f"{number} of {field}" for field in range(600)} for number in range(300)))
    assert len(wide.fields()) == MAX_FIELDS
    assert wide.excluded_fields == 100
    assert len(wide.to_json()) < 900_000
    assert b" of " not in wide.to_json(), "no values are stored"


def test_hashes_are_stable() -> None:
    assert hash_text("N14228") == 6_382_560_174_508_429_078
    sketch = DistinctSketch(hash_text(str(number)) for number in range(10_000))
    assert DistinctSketch.from_text(sketch.to_text()).hashes() == sketch.hashes()
    assert 8_000 < sketch.estimate() < 12_000
    assert DistinctSketch([0] * 500).estimate() == 1


def test_patterns_do_not_backtrack() -> None:
    started = process_time()
    for text in (
        "a@" * 90,
        "a@" + "b." * 90,
        "1" * 199 + "x",
        "+" + "1 " * 90 + "x",
        "0" + "(" * 190 + "x",
        "a" * 199,
        "a@" + "b" * 190 + ".",
        "h" * 10 + "://" + "x" * 180,
    ):
        for _ in range(200):
            text_facts(text)
    assert process_time() - started < 0.5


def test_adding_a_message_costs_little_more_than_parsing_it() -> None:
    message = {f"field {number}": f"{number * 37}" for number in range(19)}
    result, adding, parsing = FieldStats(), 0.0, 0.0
    for _ in range(50):  # alternate, so that other load slows both
        started = process_time()
        for _ in range(100):
            result.add(message, 0)
        added = process_time()
        for _ in range(100):
            json.loads(json.dumps(message))
        adding, parsing = adding + added - started, parsing + process_time() - added
    assert adding < 20 * parsing, "normally 2 times, and 8 times with coverage"
