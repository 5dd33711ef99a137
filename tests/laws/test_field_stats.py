"""Field statistics don't depend on how messages are split, ordered and stored, and are bounded."""

from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from projections.definitions.body_checks import check_body
from projections.fields.distinct_sketch import SKETCH_SIZE
from projections.fields.field_stats import MAX_FIELDS, FieldStats, merge
from projections.fields.suggestion import suggest
from projections.mapping.mapping import MAX_NAME_CHARACTERS, parse_identity, parse_mapping
from schemas.definitions import IDENTITY, mapping_of
from tests.laws.json_values import MESSAGES, NAMES, SCALARS

IDS = ("id", "user_id", "userId", "email", "at", "a.b", "tail number", "", "zip", "\0", "é" * 90, "x" * 150, "not")
TEXTS = st.sampled_from(
    ["a@b.example", "N14228", "2013-01-01T10:00:00Z", "1700000000", "0.5", "true", "", "http://a.b", "7", "z" * 300]
)
SAMPLES = st.lists(
    st.tuples(
        MESSAGES
        | st.dictionaries(
            st.sampled_from(IDS) | st.sampled_from(NAMES),
            TEXTS | SCALARS | st.dictionaries(st.sampled_from(IDS), TEXTS, max_size=3),
            max_size=6,
        ),
        st.integers(-(2**50), 2**50),
    ),
    max_size=12,
)
WIDE = [
    ({f"k{number}": {f"n{number}": 1} for number in range(first, first + 300)}, first) for first in range(0, 900, 9)
]


def stats_of(messages: list[tuple[dict[str, Any], int]]) -> FieldStats:
    stats = FieldStats()
    for message, at in messages:
        stats.add(message, at)
    return stats


@given(SAMPLES, st.data())
def test_any_split_in_any_order_gives_the_same(messages: list[tuple[dict[str, Any], int]], data: st.DataObject) -> None:
    whole = stats_of(messages).to_json()
    parts: list[FieldStats] = [FieldStats() for _ in range(3)]
    for message, at in data.draw(st.permutations(messages)):
        parts[data.draw(st.integers(0, 2))].add(message, at)
    one, other, third = parts
    assert merge(merge(one, other), third).to_json() == whole
    assert merge(third, merge(other, one)).to_json() == whole
    assert merge(one, other).to_json() == merge(other, one).to_json()
    stored = [FieldStats.from_json(part.to_json()) for part in parts]
    assert merge(stored[0], merge(stored[1], stored[2])).to_json() == whole
    assert merge(FieldStats(), stats_of(messages)).to_json() == whole == FieldStats.from_json(whole).to_json()


def test_merging_with_too_many_fields() -> None:
    whole = stats_of(WIDE)
    assert len(whole.fields()) == MAX_FIELDS
    assert abs(whole.excluded_fields - 2 * 1191 + MAX_FIELDS) < 1191 / 3
    for parts in ([WIDE[:50], WIDE[50:]], [WIDE[50:], WIDE[:50]], [WIDE[start::7] for start in range(7)]):
        merged = FieldStats()
        for part in parts:
            merged = merge(stats_of(part), FieldStats.from_json(merged.to_json()))
        assert merged.to_json() == whole.to_json()
    assert stats_of(WIDE[::-1]).to_json() == whole.to_json()


@given(SAMPLES)
def test_every_message_counts_once(messages: list[tuple[dict[str, Any], int]]) -> None:
    stats = stats_of(messages)
    assert stats.sampled == len(messages)
    for field in stats.fields():
        if len(field.path) == 1:
            values = [message[field.name] for message, _ in messages if field.name in message]
            assert field.seen == len(values)
            assert field.types.get("null", 0) == values.count(None)
            assert field.last_seen_at == max(at for message, at in messages if field.name in message)
            texts = [value for value in values if isinstance(value, str)]
            numbers = [value for value in values if type(value) in {int, float}]
            assert (field.min_length, field.max_length) == (
                (min(map(len, texts)), max(map(len, texts))) if texts else (None, None)
            )
            assert field.distinct == len(set(texts)) + len({repr(value) for value in map(whole, numbers)})


def whole(number: float) -> float:
    return int(number) if isinstance(number, float) and number.is_integer() else number


@given(st.sets(st.integers(), min_size=1, max_size=3_000))
def test_distinct_values_are_estimated(values: set[int]) -> None:
    stats = stats_of([({"a": value}, 0) for value in [*values, *values]])
    (field,) = stats.fields()
    assert field.distinct == len(values) if len(values) < SKETCH_SIZE else 0.6 < field.distinct / len(values) < 1.6


@given(SAMPLES, st.sampled_from(["flights", "a/b", "x" * 200, "é" * 200, "7"]))
@example([({"email": "a@b.example", "é" * 150: 1, "é" * 150 + "x": 2}, 0), ({"email": "c@b.example"}, 0)], "people")
def test_suggestions_are_valid_definitions(messages: list[tuple[dict[str, Any], int]], stream: str) -> None:
    stats = stats_of(messages)
    suggestion = suggest(stream, stats)
    assert suggestion == suggest(stream, FieldStats.from_json(stats.to_json()))
    mapping, identity, reasons, _ = suggestion
    orjson.dumps([mapping, identity, reasons])
    assert all(len(attribute["name"]) <= MAX_NAME_CHARACTERS for attribute in mapping["attributes"])
    if mapping["identities"]:
        check_body(mapping_of(stream), orjson.dumps(mapping).decode())
        check_body(IDENTITY, orjson.dumps(identity).decode())
        ranks = parse_identity(identity).ranks()
        assert {rule.kind for rule in parse_mapping(mapping).identities} <= set(ranks)
