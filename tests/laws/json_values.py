"""Strategies for any parsed JSON, hostile values included, with a bias to the names that rules read."""

from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "odd name", "back`tick", "")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.text(alphabet="aä \x00\ud800\udfff'@.,", max_size=8),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**64, 10**600, 9.2e12, 1e308, -0.0, 0.5, 2.5e-6, float("nan")]),
    st.sampled_from(["", " ", "12", "-7.5", "1e999", "9" * 5_000, "true", "2013-01-01T10:00:00Z", "2013-10-27 02:30"]),
    st.sampled_from(["x" * 600, "é" * 300, "x" * 70_000, "é" * 40_000, "0001-01-01T00:00:00+14:00", "NA"]),
)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
) | st.sampled_from([deep(32), deep(33), [1] * 70_000])
MESSAGES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), VALUES)
