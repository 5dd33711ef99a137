"""Mapping of messages by the bodies of rules."""

import pickle

import orjson

from projections.mapping.evaluation import MappingSource, map_messages, mapper_of, preview_messages
from projections.mapping.preview import MappingPreview
from projections.mapping.raw_messages import RawMessage, UnreadableMessageError
from schemas.topics import FUTURE_BOUND_MS

IDENTITY = orjson.dumps({"kinds": [{"kind": "email", "rank": 0, "title": "E-mail"}]}).decode()
MAPPING = orjson.dumps(
    {
        "identities": [{"field": "email", "kind": "email"}],
        "attributes": [{"name": "age", "field": "age", "type": "integer", "merge": "latest"}],
        "timestamp": {"field": "when", "format": ["epoch_us"]},
    }
).decode()
SOURCE = MappingSource("visits", MAPPING, IDENTITY)


def message(line: bytes, index: int = 0) -> RawMessage:
    return RawMessage("b", index, 7, 7, line)


def test_each_message_has_a_result() -> None:
    lines = [(b'{"email": "ada", "age": 3}', 7), (b'{"age": "many"}', 7), (b"not JSON", 7), (b'{"email": 1.5}', 7)]
    sample = map_messages(SOURCE, lines)
    assert sample.columns == ("latest:age",)
    assert sample.results[:2] == [("00:email:ada", (), 7, [3]), None]
    assert isinstance(sample.results[2], UnreadableMessageError)
    assert {fault: count for fault, (count, *_) in sample.faults.items()} == {("identity email", "wrong_type"): 1}
    assert map_messages(SOURCE, lines[:1]).faults == {}, "faults are reported once"
    assert pickle.loads(pickle.dumps(sample)).results[:2] == sample.results[:2]


def test_without_identity_rules_no_message_has_an_identity() -> None:
    assert map_messages(MappingSource("visits", MAPPING, ""), [(b'{"email": "ada"}', 7)]).results == [None]


def test_a_mapper_is_compiled_once() -> None:
    assert mapper_of(SOURCE) is mapper_of(MappingSource("visits", MAPPING, IDENTITY))


def test_previews_are_limited_in_bytes_and_report_unreadable_and_future_messages() -> None:
    later = 7 + FUTURE_BOUND_MS * 1_000 + 1
    messages = [
        message(b"not JSON"),
        message(b'{"email": "ada", "age": 3}'),
        message(b'{"email": "ada", "when": %d}' % later),
        message(b'{"email": "ada", "age": 4}'),
    ]
    unreadable, mapped, future = preview_messages(SOURCE, messages, len(b'{"age":3}{}'))
    assert isinstance(unreadable, UnreadableMessageError)
    assert isinstance(mapped, MappingPreview)
    assert isinstance(future, MappingPreview)
    assert mapped.attributes == {"age": 3}
    assert (future.identities, [fault.code for fault in future.faults]) == ((), ["future_timestamp"])
    assert len(preview_messages(SOURCE, messages, 1_000)) == 4
