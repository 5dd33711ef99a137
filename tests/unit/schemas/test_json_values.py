"""Nesting has one limit, whatever a value is made of, and deep values cost no stack."""

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
def test_as_many_levels_as_the_limit_are_fine_and_no_more(*, objects: bool) -> None:
    for levels, wanted in ((MAX_JSON_DEPTH, False), (MAX_JSON_DEPTH + 1, True), (100_000, True)):
        assert is_too_deep(nested(levels, objects=objects)) is wanted


def test_what_holds_nothing_is_not_deep() -> None:
    assert not any(map(is_too_deep, (None, 7, "[" * 500, [], {}, [[]] * 500)))


def test_a_text_that_is_too_deep_is_never_passed_over() -> None:
    assert may_be_too_deep(json.dumps(nested(MAX_JSON_DEPTH + 1, objects=False)).encode())
    assert not may_be_too_deep(json.dumps(nested(MAX_JSON_DEPTH, objects=True)).encode())
