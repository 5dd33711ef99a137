"""Columns of messages are what the parser of the lanes reads in each line, or there are none."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from app.rebuild.columnar.json_columns import BLOCK_BYTES, read_columns
from projections.mapping.raw_messages import UnreadableMessageError, parse_message

NAMES = ("id", "at", "price", "flag", "absent")
CHAIN = b'{"x":' * 150 + b"1" + b"}" * 150
ODD = (
    b"", b" ", b"{}", b"{} ", b"{}{}", b"[]", b"null", b"{", b'{"id":"a"}}', b'{"id":NaN}', b'{"other":NaN}',
    b'{"other":[1,-Infinity]}', b'{"id":"NaN","at":5}', b'{"id":"a\xff"}', b'{"other":"\xed\xa0\x80"}',
    b'{"id":"\xc3\xa4"}', b'{"id":"\\ud83d\\ude00"}', b'{"id":"\\ud83d"}', b'{"other":"\\ude00"}',
    b'{"id":"\\u0000"}', b'{"id":"a","id":"b"}', b'{"other":1,"other":2}', b'{"other":{"a":1,"a":2}}', b'{"at":01}',
    b'{"at":-0}', b'{"at":1e2}', b'{"at":1.5}', b'{"at":9223372036854775807}', b'{"at":9223372036854775808}',
    b'{"other":1e400}', b'{"price":-0.0}', b'{"price":3}', b'{"price":9007199254740993}', b'{"price":0.1}',
    b'{"price":1e-400}', b'{"flag":1}', b'{"flag":null}', b'{"id":[1]}', b'{"id":{"a":"b"}}', b'{"other":tru}',
    b'{"other":[1,]}', b'{"i\\u0064":"same"}', b'\xef\xbb\xbf{"id":"a"}', b'{"id":"a"}\r', b'{"id":\t"a"}',
    b'{"id":"a\tb"}', b"{'id':1}", b'{"other":' + CHAIN + b"}", b'{"other":"' + b"x" * 70_000 + b'"}',
    b'{"other":' + b"[" * 200 + b"]" * 200 + b"}", b'{"a":/**/1}', b'{"id":"2013-01-01T00:00:00Z"}', b'{"id":"12"}',
)  # fmt: skip


def plain(chance: random.Random) -> bytes:
    message: dict[str, Any] = {"id": f"p{chance.randrange(9)}", "at": chance.randrange(10), "other": [{"deep": 1}]}
    if chance.random() < 0.5:
        message["price"] = chance.choice([0.5, 1.25, 1.5e-7, None])
        message["flag"] = chance.choice([True, False, None])
    return json.dumps(message, ensure_ascii=chance.random() < 0.5).encode()


def columns_of(lines: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """What the columns say of each message, as far as that isn't null."""
    columns = read_columns(b"".join(line + b"\n" for line in lines), len(lines), NAMES)
    if columns is None:
        return None
    assert {column.codes.size for column in columns.values()} == {len(lines)}
    return [
        {name: column.values[column.codes[row]] for name, column in columns.items() if column.codes[row] >= 0}
        for row in range(len(lines))
    ]


def read(lines: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """What the lanes read; None when one of the lines is a dead letter."""
    try:
        messages = [parse_message(line) for line in lines]
    except UnreadableMessageError:
        return None
    return [{name: message[name] for name in NAMES if message.get(name) is not None} for message in messages]


def same(found: list[dict[str, Any]] | None, wanted: list[dict[str, Any]] | None) -> bool:
    """Return whether all values are the same and of the same type; but among floats, integers are floats."""
    if found is None or wanted is None or len(found) != len(wanted):
        return False
    for mine, theirs in zip(found, wanted, strict=True):
        if mine.keys() != theirs.keys():
            return False
        for name, value in mine.items():
            known = float(theirs[name]) if type(value) is float and type(theirs[name]) is int else theirs[name]
            if repr(value) != repr(known) and not (value == known == 0.0):
                return False
    return True


@pytest.mark.slow
def test_columns_equal_the_parser_or_are_none_for_any_mix_of_lines() -> None:
    some = 0
    for seed in range(3_000):
        chance = random.Random(seed)
        lines = [plain(chance) for _ in range(chance.choice((1, 3, 120)))]
        for _ in range(chance.choice((0, 0, 1, 2))):
            lines.insert(chance.randrange(len(lines) + 1), chance.choice(ODD))
        found, wanted = columns_of(lines), read(lines)
        if found is None:
            continue
        some += 1
        assert wanted is not None, f"seed {seed}: a line was read that the lanes refuse: {lines}"
        assert same(found, wanted), f"seed {seed}: {found} {wanted}"
    assert some > 1_000


@pytest.mark.parametrize("line", ODD)
def test_an_unusual_line_is_read_like_the_parser_or_refused(line: bytes) -> None:
    chance = random.Random(repr(line))
    lines = [*(plain(chance) for _ in range(5)), line, *(plain(chance) for _ in range(5))]
    found = columns_of(lines)
    assert found is None or same(found, read(lines))


def test_plain_messages_are_read_in_columns() -> None:
    chance = random.Random(1)
    lines = [plain(chance) for _ in range(20_000)]
    assert same(columns_of(lines), read(lines))


def test_a_line_larger_than_a_block_is_not_read_in_columns() -> None:
    lines = [b'{"id":"a"}', b'{"id":"' + b"x" * (2 * BLOCK_BYTES + 1) + b'"}', b'{"id":"b"}']
    assert columns_of(lines) is None


def test_a_field_that_changes_its_type_is_not_read_in_columns() -> None:
    assert columns_of([b'{"id":"a"}'] * 500 + [b'{"id":7}']) is None
    assert columns_of([b'{"id":"a"}'] * 500 + [b'{"id":"b","absent":7}']) is None
    assert columns_of([b'{"other":1}'] * 500) == [{}] * 500
