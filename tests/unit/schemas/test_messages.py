"""The guarantees of a batch of messages."""

from collections.abc import Sequence

import pytest

from schemas.instants import EARLIEST, LATEST
from schemas.messages import BadBatchError, check_batch
from schemas.names import MAX_NAME_CHARACTERS


def packed(stamps: Sequence[int]) -> bytes:
    return b"".join(stamp.to_bytes(8, "little", signed=True) for stamp in stamps)


@pytest.mark.parametrize(
    ("count", "payload", "stamps"),
    [
        (0, b"", ()),
        (1, b"{}\n", ()),
        (2, b"{}\nnot parsed\n", (EARLIEST, LATEST)),
    ],
)
def test_a_batch_has_a_line_and_perhaps_a_timestamp_for_each_message(
    count: int, payload: bytes, stamps: Sequence[int]
) -> None:
    check_batch("shop", count, payload, packed(stamps))


@pytest.mark.parametrize(
    ("count", "payload", "timestamps", "code", "params"),
    [
        (2, b"{}\n", b"", "wrong_line_count", {"lines": 1, "messages": 2}),
        (1, b"{}\n{}", b"", "wrong_line_count", {"lines": 1, "messages": 1}),
        (2, b"{}\n{}\n", packed([5]), "wrong_timestamp_count", {"bytes": 8, "messages": 2}),
        (1, b"{}\n", b"1234", "wrong_timestamp_count", {"bytes": 4, "messages": 1}),
        (1, b"{}\n", packed([EARLIEST - 1]), "timestamp_out_of_range", {"min": EARLIEST - 1, "max": EARLIEST - 1}),
        (2, b"{}\n{}\n", packed([5, LATEST + 1]), "timestamp_out_of_range", {"min": 5, "max": LATEST + 1}),
    ],
)
def test_an_inconsistent_batch_is_refused(
    count: int, payload: bytes, timestamps: bytes, code: str, params: dict[str, int]
) -> None:
    with pytest.raises(BadBatchError) as refused:
        check_batch("shop", count, payload, timestamps)
    assert (refused.value.code, refused.value.params) == (code, params)


@pytest.mark.parametrize("stream", ["", "a\n", "s" * (MAX_NAME_CHARACTERS + 1)])
def test_a_batch_of_an_invalid_stream_is_refused(stream: str) -> None:
    with pytest.raises(BadBatchError) as refused:
        check_batch(stream, 1, b"{}\n", b"")
    assert (refused.value.code, refused.value.params) == ("bad_stream", {"max": MAX_NAME_CHARACTERS})
