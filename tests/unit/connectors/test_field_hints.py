"""A field that a model doesn't have is answered with those that it has, the one that was meant first."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.kit.field_hints import UNKNOWN, no_such_field


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
    ("value", "message"),
    [
        ({"nmae": 1}, "there is no such field; there are: name, by_name, parts, nothing"),
        ({"parts": [{"start": "a"}, {"stat": "b"}]}, "there is no such field; there are: start, end"),
        ({"parts": [{"ends_": 1}]}, "there is no such field; there are: end, start"),
        ({"nothing": {"x": 1}}, "there are no fields here"),
    ],
)
def test_the_nearest_field_comes_first(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(value)
    (found,) = error.value.errors()
    assert (found["type"], no_such_field(Whole, found["loc"])) == (UNKNOWN, message)


def test_of_a_place_that_no_model_describes_nothing_is_named() -> None:
    assert no_such_field(None, ("x",)) == no_such_field(Whole, ("by_name", "x", "y")) == "there is no such field"
