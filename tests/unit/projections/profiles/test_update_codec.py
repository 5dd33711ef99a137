"""The shape of `updates.*` payloads: what is written is read again, and another shape is refused."""

from typing import Any

import orjson
import pytest

from projections.profiles.update_codec import (
    MalformedUpdateError,
    decode_mapped,
    decode_messages,
    encode_mapped,
    encode_messages,
)
from projections.profiles.updates import Group, MappedMessages, NodeMessages

KEY, PARENT = "01:k:1", "00:k:0"


def mapped(
    row: Any = (KEY, 5, 0, 7, 0, "Graz"), counted: Any = ("b", 7, 1), link: Any = (KEY, PARENT, 5, "b", 7)
) -> Any:
    """Return the JSON of mapped messages with one group, one row and one link."""
    return [[["shop", ["latest:city"], 41, ["b"], [row], [counted]]], [link]]


def messages(
    join: Any = (PARENT, [KEY, 0], {"latest:city": [5, "b", 7, "Graz"]}, {}),
    link: Any = (KEY, PARENT, [KEY, 0]),
    forget: Any = ([KEY], 5, [KEY, PARENT]),
    shortcut: Any = (KEY, PARENT, 0),
) -> Any:
    """Return the JSON of messages between nodes, one of each type."""
    return [[join], [link], [forget], [shortcut]]


def test_mapped_messages_survive_encoding() -> None:
    groups = [Group("shop", ("latest:city",), 41, ["b"], [[KEY, 5, 0, 7, 0, "Graz"]], [("b", 7, 1)])]
    payload = encode_mapped(MappedMessages(groups, [(KEY, PARENT, 5, "b", 7)]))
    assert payload == orjson.dumps(mapped())
    decoded = decode_mapped(payload)
    assert [*decoded.target_keys()] == [KEY, KEY]
    assert decoded.groups[0].columns == ("latest:city",)
    assert encode_mapped(decoded) == payload


def test_messages_between_nodes_survive_encoding() -> None:
    decoded = decode_messages(orjson.dumps(messages()))
    assert [*decoded.target_keys()] == [PARENT, KEY, KEY, KEY]
    assert encode_messages(decoded) == orjson.dumps(messages())
    assert decode_messages(encode_messages(NodeMessages())) == NodeMessages()


@pytest.mark.parametrize(
    "content",
    [
        7,
        [],
        {"groups": [], "links": []},
        [[["shop"]], []],
        [[["shop", 7, 41, ["b"], [], []]], []],
        mapped(row=[KEY, 5, 0, 7, 0]),
        mapped(row=[KEY, 5, 0, 7, 0, "Graz", "Wien"]),
        mapped(row=[7, 5, 0, 7, 0, "Graz"]),
        mapped(row={"key": KEY}),
        mapped(counted=["b", 7]),
        mapped(counted=["b", 7, True]),
        mapped(link=[KEY, PARENT, 5, "b"]),
        mapped(link=[KEY, None, 5, "b", 7]),
    ],
    ids=str,
)
def test_mapped_messages_of_another_shape_are_refused(content: Any) -> None:
    with pytest.raises(MalformedUpdateError):
        decode_mapped(orjson.dumps(content))


@pytest.mark.parametrize(
    "content",
    [
        7,
        [[], [], [], [], []],
        [[7], [], [], []],
        messages(join=[PARENT, [KEY, 0], [], {}]),
        messages(join=[PARENT, KEY, {}, {}]),
        messages(join=[PARENT, [KEY, "0"], {}, {}]),
        messages(link=[KEY, PARENT, [KEY]]),
        messages(link=[KEY, 7, [KEY, 0]]),
        messages(forget=[[KEY], 5]),
        messages(forget=[[KEY], 5.0, [KEY]]),
        messages(forget=[KEY, 5, [KEY]]),
        messages(forget=[[7], 5, [KEY]]),
        messages(forget=[[KEY], 5, [[KEY]]]),
        messages(shortcut=[KEY, PARENT, None]),
    ],
    ids=str,
)
def test_messages_between_nodes_of_another_shape_are_refused(content: Any) -> None:
    with pytest.raises(MalformedUpdateError):
        decode_messages(orjson.dumps(content))


@pytest.mark.parametrize("decode", [decode_mapped, decode_messages])
@pytest.mark.parametrize("payload", [b"", b"[[],[]", b"\xff"])
def test_a_payload_that_is_not_json_is_refused(decode: Any, payload: bytes) -> None:
    with pytest.raises(MalformedUpdateError):
        decode(payload)
