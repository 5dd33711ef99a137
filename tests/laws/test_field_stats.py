"""What is known of a stream's fields: the same however its messages were cut, mixed and kept; and bounded."""

from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from projections.definitions.body_checks import check_body
from projections.fields.distinct_sketch import KEPT
from projections.fields.field_stats import MAX_FIELDS, FieldStats, merge
from projections.fields.suggestion import suggest
from projections.mapping.mapping import MAX_NAME, parse_identity, parse_mapping
from schemas.definitions import IDENTITY, mapping_of
from tests.laws.json_values import MESSAGES, NAMES, SCALARS

IDS = ("id", "user_id", "userId", "email", "at", "a.b", "tail number", "", "zip", "\0", "é" * 90, "x" * 150, "not")
TEXTS = st.sampled_from(
    ["a@b.example", "N14228", "2013-01-01T10:00:00Z", "1700000000", "0.5", "true", "", "http://a.b", "7", "z" * 300]
)
TOLD = st.lists(
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


def told(messages: list[tuple[dict[str, Any], int]]) -> FieldStats:
    stats = FieldStats()
    for message, at in messages:
        stats.look(message, at)
    return stats


@given(TOLD, st.data())
def test_any_cut_in_any_order_gives_the_same(messages: list[tuple[dict[str, Any], int]], data: st.DataObject) -> None:
    whole = told(messages).to_json()
    parts: list[FieldStats] = [FieldStats() for _ in range(3)]
    for message, at in data.draw(st.permutations(messages)):
        parts[data.draw(st.integers(0, 2))].look(message, at)
    one, other, third = parts
    assert merge(merge(one, other), third).to_json() == whole
    assert merge(third, merge(other, one)).to_json() == whole
    assert merge(one, other).to_json() == merge(other, one).to_json()
    kept = [FieldStats.from_json(each.to_json()) for each in parts]
    assert merge(kept[0], merge(kept[1], kept[2])).to_json() == whole
    assert merge(FieldStats(), told(messages)).to_json() == whole == FieldStats.from_json(whole).to_json()


def test_with_more_fields_than_are_kept_too() -> None:
    whole = told(WIDE)
    assert len(whole.fields()) == MAX_FIELDS
    assert abs(whole.more - 2 * 1191 + MAX_FIELDS) < 1191 / 3
    for parts in ([WIDE[:50], WIDE[50:]], [WIDE[50:], WIDE[:50]], [WIDE[start::7] for start in range(7)]):
        kept = FieldStats()
        for each in parts:
            kept = merge(told(each), FieldStats.from_json(kept.to_json()))
        assert kept.to_json() == whole.to_json()
    assert told(WIDE[::-1]).to_json() == whole.to_json()


@given(TOLD)
def test_each_message_counts_once(messages: list[tuple[dict[str, Any], int]]) -> None:
    stats = told(messages)
    assert stats.looked == len(messages)
    for each in stats.fields():
        if len(each.path) == 1:
            found = [message[each.name] for message, _ in messages if each.name in message]
            assert each.seen == len(found)
            assert each.types.get("null", 0) == found.count(None)
            assert each.last_seen == max(at for message, at in messages if each.name in message)
            texts = [value for value in found if isinstance(value, str)]
            numbers = [value for value in found if type(value) in {int, float}]
            assert (each.shortest, each.longest) == (
                (min(map(len, texts)), max(map(len, texts))) if texts else (None, None)
            )
            assert each.distinct == len(set(texts)) + len({repr(value) for value in map(whole, numbers)})


def whole(number: float) -> float:
    return int(number) if isinstance(number, float) and number.is_integer() else number


@given(st.sets(st.integers(), min_size=1, max_size=3_000))
def test_distinct_values_are_about_as_many(values: set[int]) -> None:
    stats = told([({"a": value}, 0) for value in [*values, *values]])
    (found,) = stats.fields()
    assert found.distinct == len(values) if len(values) < KEPT else 0.6 < found.distinct / len(values) < 1.6


@given(TOLD, st.sampled_from(["flights", "a/b", "x" * 200, "é" * 200, "7"]))
@example([({"email": "a@b.example", "é" * 150: 1, "é" * 150 + "x": 2}, 0), ({"email": "c@b.example"}, 0)], "people")
def test_what_is_suggested_can_be_drafted(messages: list[tuple[dict[str, Any], int]], stream: str) -> None:
    stats = told(messages)
    mapping, identity, reasons = suggest(stream, stats)
    assert (mapping, identity, reasons) == suggest(stream, FieldStats.from_json(stats.to_json()))
    orjson.dumps([mapping, identity, reasons])
    assert all(len(each["name"]) <= MAX_NAME for each in mapping["attributes"])
    if mapping["identities"]:
        check_body(mapping_of(stream), orjson.dumps(mapping).decode())
        check_body(IDENTITY, orjson.dumps(identity).decode())
        ranks = parse_identity(identity).ranks()
        assert {each.kind for each in parse_mapping(mapping).identities} <= set(ranks)
