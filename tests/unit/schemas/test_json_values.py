"""JSON nesting is limited for objects and arrays alike, without recursion."""

import json
from typing import Any

import pytest

from schemas.json_values import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep


def nested(levels: int, *, objects: bool) -> Any:
    value: Any = {} if objects else []
    for _ in range(levels - 1):
        value = {"a": value} if objects else [value]
    return value


@pytest.mark.parametrize("objects", [True, False])
def test_values_up_to_the_depth_limit_are_accepted(*, objects: bool) -> None:
    for levels, too_deep in ((MAX_JSON_DEPTH, False), (MAX_JSON_DEPTH + 1, True), (100_000, True)):
        assert is_too_deep(nested(levels, objects=objects)) is too_deep


def test_scalars_and_empty_containers_are_not_deep() -> None:
    assert not any(map(is_too_deep, (None, 7, "[" * 500, [], {}, [[]] * 500)))


def test_a_text_over_the_depth_limit_is_always_recognised() -> None:
    assert may_be_too_deep(json.dumps(nested(MAX_JSON_DEPTH + 1, objects=False)).encode())
    assert not may_be_too_deep(json.dumps(nested(MAX_JSON_DEPTH, objects=True)).encode())
