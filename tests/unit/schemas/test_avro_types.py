"""Every field type of a record survives the round trip through Avro."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from io import BytesIO
from typing import Any, Literal

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from schemas.coded import Params
from schemas.wire.avro_types import avro_schema, from_avro, to_avro
from tests.golden.samples import MOMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """An inner record."""

    number: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """A record with every field type."""

    text: str
    moment: datetime
    flag: bool
    share: float | None
    choice: Literal["left", "right"]
    part: Inner
    perhaps: Inner | None
    parts: tuple[Inner, ...]
    params: Params = field(default_factory=dict)
    names: tuple[str, ...] = ("a",)
    raw: bytes = b"\x00\xff"
    spare: Inner = Inner()


def outer(perhaps: Inner | None, parts: tuple[Inner, ...]) -> Outer:
    return Outer(
        text="t", moment=MOMENT, flag=True, share=None, choice="left", part=Inner(), perhaps=perhaps, parts=parts
    )


def test_a_map_is_written_in_sorted_order() -> None:
    schema = parse_schema(avro_schema(Outer, "test"), _force=True)
    params: Params = {"b": ("x", "y"), "a": None, "d": 1, "c": True, "f": "z", "e": 0.5}
    written = []
    for names in (sorted(params), sorted(params, reverse=True)):
        data = BytesIO()
        ordered = {name: params[name] for name in names}
        schemaless_writer(data, schema, to_avro(replace(outer(None, ()), params=ordered)))
        written.append(data.getvalue())
    assert written[0] == written[1]
    read = from_avro(Outer, schemaless_reader(BytesIO(written[0]), schema, None))
    assert read.params == params
    assert [type(read.params[name]) for name in "abcdef"] == [type(None), tuple, bool, int, float, str]


@pytest.mark.parametrize("value", [outer(None, ()), outer(Inner(number=1), (Inner(), Inner(number=2)))])
def test_a_value_survives_the_round_trip(value: Outer) -> None:
    schema = parse_schema(avro_schema(Outer, "test"), _force=True)
    data = BytesIO()
    schemaless_writer(data, schema, to_avro(value))
    data.seek(0)
    assert from_avro(Outer, schemaless_reader(data, schema, None)) == value


def test_a_text_outside_the_choices_is_refused_in_a_short_message() -> None:
    invalid: Any = "u" * 9_000
    with pytest.raises(ValueError, match=r"'u+' is not one of left, right") as error:
        from_avro(Outer, to_avro(replace(outer(None, ()), choice=invalid)))
    assert len(str(error.value)) < 100


def test_the_schema_has_the_types_of_the_fields() -> None:
    fields = {field["name"]: field for field in avro_schema(Outer, "test")["fields"]}
    assert {name: field["type"] for name, field in fields.items() if name not in {"part", "moment"}} == {
        "text": "string",
        "flag": "boolean",
        "share": ["null", "double"],
        "choice": "string",
        "perhaps": ["null", "test.Inner"],
        "parts": {"type": "array", "items": "test.Inner"},
        "params": {
            "type": "map",
            "values": ["null", "boolean", "long", "double", "string", {"type": "array", "items": "string"}],
        },
        "names": {"type": "array", "items": "string"},
        "raw": "bytes",
        "spare": "test.Inner",
    }
    assert fields["moment"]["type"] == {"type": "long", "logicalType": "timestamp-micros"}
    assert fields["part"]["type"]["doc"] == "An inner record."
    assert [fields[name]["default"] for name in ("names", "raw", "spare")] == [["a"], "\x00ÿ", {"number": 7}]
