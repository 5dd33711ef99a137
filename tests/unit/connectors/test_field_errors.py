"""The error of an unknown field lists the known ones, the most similar first."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.kit.field_errors import UNKNOWN_FIELD, field_error, field_names


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start: str = ""
    ends: str = Field(default="", alias="end")


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    parts: tuple[Part, ...] | None = None
    by_name: dict[str, int] = Field(default_factory=dict)
    nothing: Nothing = Nothing()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"nmae": 1}, ("name", "by_name", "parts", "nothing")),
        ({"parts": [{"start": "a"}, {"stat": "b"}]}, ("start", "end")),
        ({"parts": [{"ends_": 1}]}, ("end", "start")),
        ({"nothing": {"x": 1}}, ()),
    ],
)
def test_the_most_similar_field_comes_first(value: dict[str, Any], names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(value)
    (details,) = error.value.errors()
    assert (details["type"], field_names(Whole, details["loc"])) == (UNKNOWN_FIELD, names)


def test_no_field_is_named_where_no_model_is() -> None:
    assert field_names(None, ("x",)) == field_names(Whole, ("by_name", "x", "y")) == ()


def test_an_error_of_our_own_has_its_code_and_parameters() -> None:
    error = field_error("unknown_encoding", {"encoding": "klingon"})
    assert (error.type, error.context) == ("unknown_encoding", {"encoding": "klingon"})
