"""No text of pydantic reaches a user."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core._pydantic_core import list_all_errors

from app.api.http.problems import field_errors
from app.sentences.sentence import fields_of
from app.sentences.validation import OWN, SENTENCES, validation_sentence


class Model(BaseModel):
    """One field for each kind of error."""

    number: int = Field(default=1, ge=1, le=1000)
    share: float = 0.5
    flag: bool = False
    name: str = Field(default="a", min_length=1, max_length=3, pattern="^[a-z]+$")
    kind: Literal["csv", "json"] = "csv"
    items: list[int] = Field(default=[], max_length=1)
    inner: dict[str, int] = {}
    own: str = ""

    @field_validator("own")
    @classmethod
    def _refuse(cls, value: str) -> str:
        if value:
            raise ValueError("our own sentence")
        return value


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"number": "many"}, "expected an integer"),
        ({"number": 0}, "expected at least 1"),
        ({"number": 1001}, "expected at most 1000"),
        ({"number": 1.5}, "expected an integer"),
        ({"share": "x"}, "expected a number"),
        ({"flag": "perhaps"}, "expected true or false"),
        ({"name": ""}, "too short; minimum length: 1"),
        ({"name": "abcd"}, "too long; maximum length: 3"),
        ({"name": "A"}, "invalid characters; expected the pattern ^[a-z]+$"),
        ({"name": 7}, "expected text"),
        ({"kind": "xml"}, "expected one of: 'csv' or 'json'"),
        ({"items": 1}, "expected a list"),
        ({"items": [1, 2]}, "too many items; maximum: 1"),
        ({"inner": []}, "expected an object"),
        ({"own": "x"}, "our own sentence"),
    ],
)
def test_an_invalid_value_is_described_in_our_words(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as error:
        Model.model_validate(values)
    assert [invalid.message for invalid in field_errors(error.value)] == [expected]


@pytest.mark.parametrize(
    "details", [error for error in list_all_errors() if error["type"] not in OWN], ids=lambda error: error["type"]
)
def test_every_kind_of_error_has_a_sentence(details: dict[str, object]) -> None:
    context = details.get("example_context") or {}
    shown = validation_sentence({"type": details["type"], "msg": "raw", "ctx": context})
    assert shown
    assert "raw" not in shown
    assert "…" not in shown, "all parameters are known"
    needed, _ = fields_of(SENTENCES.get(str(details["type"]), ""))
    assert isinstance(context, dict)
    assert needed <= set(context)
