"""The message for an unknown field lists the existing fields, the most similar first."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.kit.field_hints import UNKNOWN_FIELD, unknown_field_message


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start: str = ""
    ends: str = Field(default="", alias="end")


class Empty(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    parts: tuple[Section, ...] | None = None
    by_name: dict[str, int] = Field(default_factory=dict)
    nothing: Empty = Empty()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"nmae": 1}, "unknown field; expected one of: name, by_name, parts, nothing"),
        ({"parts": [{"start": "a"}, {"stat": "b"}]}, "unknown field; expected one of: start, end"),
        ({"parts": [{"ends_": 1}]}, "unknown field; expected one of: end, start"),
        ({"nothing": {"x": 1}}, "no fields are allowed here"),
    ],
)
def test_the_most_similar_field_comes_first(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Document.model_validate(value)
    (details,) = error.value.errors()
    assert (details["type"], unknown_field_message(Document, details["loc"])) == (UNKNOWN_FIELD, message)


def test_without_a_model_no_fields_are_listed() -> None:
    assert (
        unknown_field_message(None, ("x",)) == unknown_field_message(Document, ("by_name", "x", "y")) == "unknown field"
    )
