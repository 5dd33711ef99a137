"""Differences of JSON values, with a minimal number of pointers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.views.json_diff import JsonChange, diff

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("a~/", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a~/", max_size=2), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({}, {}, []),
        (1, True, [JsonChange("", "changed", 1, True)]),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4},
         [JsonChange("/a", "removed", before=1), JsonChange("/b", "changed", 2, 3),
          JsonChange("/c", "added", after=4)]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [JsonChange("/a~1b/~0", "changed", 1, 2)]),
        ([1, 2, 3], [1, 9, 2, 3], [JsonChange("/1", "added", after=9)]),
        ([1, 2, 3], [1, 3], [JsonChange("/1", "removed", before=2)]),
        ([1, {"x": 1}, 3], [1, {"x": 2}, 3], [JsonChange("/1/x", "changed", 1, 2)]),
        ([1, 1], [1, 1, 1], [JsonChange("/2", "added", after=1)]),
        ({"a": []}, {"a": {}}, [JsonChange("/a", "changed", [], {})]),
    ],
)  # fmt: skip
def test_differences(before: Any, after: Any, changes: list[JsonChange]) -> None:
    assert diff(before, after) == changes


@given(JSON, JSON)
def test_only_different_values_have_differences(before: Any, after: Any) -> None:
    same = repr(before) == repr(after)
    if same:
        assert diff(before, after) == []
    if before != after:
        assert diff(before, after)
    for change in diff(before, after):
        removed = change.kind == "removed"
        assert resolve(change.pointer, before if removed else after) == (change.before if removed else change.after)


def resolve(pointer: str, value: Any) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value
