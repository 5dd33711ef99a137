"""Every type that a word may have goes to Avro and comes back."""

from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from typing import Literal

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from schemas.wire.avro_types import avro_schema, from_avro, to_avro
from tests.golden.samples import MOMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A part."""

    number: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """All there is."""

    text: str
    moment: datetime
    flag: bool
    share: float | None
    choice: Literal["left", "right"]
    part: Inner
    perhaps: Inner | None
    parts: tuple[Inner, ...]
    names: tuple[str, ...] = ("a",)
    raw: bytes = b"\x00\xff"
    spare: Inner = Inner()


def whole(perhaps: Inner | None, parts: tuple[Inner, ...]) -> Whole:
    return Whole(
        text="t", moment=MOMENT, flag=True, share=None, choice="left", part=Inner(), perhaps=perhaps, parts=parts
    )


@pytest.mark.parametrize("value", [whole(None, ()), whole(Inner(number=1), (Inner(), Inner(number=2)))])
def test_a_value_comes_back_as_it_went(value: Whole) -> None:
    schema = parse_schema(avro_schema(Whole, "test"), _force=True)
    data = BytesIO()
    schemaless_writer(data, schema, to_avro(value))
    data.seek(0)
    assert from_avro(Whole, schemaless_reader(data, schema, None)) == value


def test_a_text_that_is_none_of_a_choice_is_refused_and_said_in_a_few_words() -> None:
    with pytest.raises(ValueError, match=r"'u+' is not one of left, right") as refused:
        from_avro(Whole, to_avro(replace(whole(None, ()), choice="u" * 9_000)))
    assert len(str(refused.value)) < 100


def test_the_schema_says_what_the_types_say() -> None:
    fields = {each["name"]: each for each in avro_schema(Whole, "test")["fields"]}
    assert {name: each["type"] for name, each in fields.items() if name not in {"part", "moment"}} == {
        "text": "string",
        "flag": "boolean",
        "share": ["null", "double"],
        "choice": "string",
        "perhaps": ["null", "test.Inner"],
        "parts": {"type": "array", "items": "test.Inner"},
        "names": {"type": "array", "items": "string"},
        "raw": "bytes",
        "spare": "test.Inner",
    }
    assert fields["moment"]["type"] == {"type": "long", "logicalType": "timestamp-micros"}
    assert fields["part"]["type"]["doc"] == "A part."
    assert [fields[each]["default"] for each in ("names", "raw", "spare")] == [["a"], "\x00ÿ", {"number": 7}]
