"""Parameters of coded errors are typed, bounded and valid text for any input."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.coded import (
    MAX_PARAM_ITEMS,
    MAX_PARAM_TEXT,
    MAX_PARAMS,
    CodedError,
    Params,
    are_bounded,
    because,
    cause_of,
    caused_by,
    fit_params,
    truncate,
)
from tests.laws.record_strategies import anything

WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(WILD)
def test_any_value_is_converted_to_bounded_parameters(value: Any) -> None:
    fitted = fit_params(value)
    assert are_bounded(fitted)
    assert fit_params(fitted) == fitted
    for text in (*fitted, *(item for item in fitted.values() if isinstance(item, str))):
        text.encode()
        assert "\0" not in text


@given(anything(Params))
def test_parameters_within_bounds_are_unchanged(params: Params) -> None:
    plain = all("\0" not in repr((name, value)).replace("\\x00", "\0") for name, value in params.items())
    short = all(len(text) <= MAX_PARAM_TEXT for text in map(str, params.values()))
    if plain and short and are_bounded(params):
        assert fit_params(params) == params


@pytest.mark.parametrize(
    "params",
    [
        {"a": "x" * 5_000},
        {"x" * 5_000: 1},
        {"a": ("x",) * 5_000},
        dict.fromkeys(map(str, range(MAX_PARAMS + 1))),
        {"a": float("nan")},
    ],
)
def test_parameters_beyond_the_bounds_are_truncated(params: Params) -> None:
    assert not are_bounded(params)
    assert are_bounded(fit_params(params))


def test_values_of_other_types_become_texts() -> None:
    assert fit_params({"n": 2**64, "f": float("inf"), "o": ValueError("no"), "l": ["a", 7]}) == {
        "n": str(2**64), "f": "inf", "o": "no", "l": ("a", "7"),
    }  # fmt: skip
    plain: Params = {"none": None, "flag": True, "low": -(2**63), "share": 0.5, "text": "ä"}
    assert fit_params(plain) == plain
    assert fit_params("text") == {"value": "text"}
    assert fit_params({"l": ["x"] * 99}) == {"l": ("x",) * MAX_PARAM_ITEMS}


def test_a_cause_is_found_again() -> None:
    inner = caused_by("inner", {"row": 7})
    assert cause_of(caused_by("outer", {"url": "u", **inner})) == ("outer", {"url": "u", **inner})
    assert cause_of({"url": "u"}) == ("", {})
    wrapped = because("outer", CodedError("inner", {"row": 7}, detail="said"))
    assert (wrapped.code, wrapped.params, wrapped.detail) == ("outer", inner, "said")


def test_an_error_shows_its_code_to_developers() -> None:
    assert str(CodedError("not_found", {"url": "u"})) == "not_found{'url': 'u'}"


def test_a_text_is_cut_with_an_ellipsis() -> None:
    assert [truncate("abc", most) for most in (3, 2, 1, 0)] == ["abc", "a…", "…", ""]
