"""Apache's checker reports breaking changes, fastavro fails on them too, and all stored versions are compatible."""

from io import BytesIO
from itertools import product
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError

from schemas.wire.catalog import versions
from schemas.wire.codec import UPCASTERS
from tests.avro_compatibility import problems

MOMENT = {"type": "long", "logicalType": "timestamp-micros"}


def record(*fields: dict[str, Any], name: str = "Thing") -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "test", "fields": list(fields)}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


A, B = field("a", "long"), field("b", "string")
INNER = record(field("x", "long"), name="Inner")
WIDER = record(field("x", "long"), field("y", "long"), name="Inner")
LENIENT = record(field("x", "long"), field("y", "long", default=0), name="Inner")

COMPATIBLE: list[tuple[Any, Any]] = [
    (record(A), record(A)),
    (record(A), record(A, field("b", "string", default=""))),
    (record(A, B), record(A)),
    (record(A, B), record(B, A)),
    (record(A), record(field("a", "double"))),
    (record(field("a", "int")), record(field("a", "float"))),
    (record(field("a", "string")), record(field("a", "bytes"))),
    (record(A), record(field("a", ["null", "long"]))),
    (record(field("a", ["null", "long"])), record(field("a", ["null", "long", "string"]))),
    (record(field("a", INNER)), record(field("a", LENIENT))),
    (record(field("a", {"type": "array", "items": INNER})), record(field("a", {"type": "array", "items": LENIENT}))),
    (record(field("a", INNER), field("b", "test.Inner")), record(field("b", INNER))),
    (record(field("a", MOMENT)), record(field("a", ["null", MOMENT]))),
]
BREAKING: list[tuple[Any, Any, str]] = [
    (record(A), record(A, B), "/fields/1: b"),
    (record(A), record(field("a", "string")), "/fields/0/type: "),
    (record(field("a", "double")), record(A), "/fields/0/type: "),
    (record(field("a", ["null", "long"])), record(A), "/: "),
    (record(field("a", ["null", "long", "string"])), record(field("a", ["null", "long"])), "/fields/0/type/2: "),
    (record(field("a", INNER)), record(field("a", WIDER)), "/fields/0/type/fields/1: y"),
    (record(field("a", {"type": "array", "items": "string"})), record(field("a", "string")), "/fields/0/type: "),
    (
        record(field("a", {"type": "array", "items": "string"})),
        record(field("a", {"type": "array", "items": "long"})),
        "/fields/0/type/items: ",
    ),
    (record(field("a", INNER), field("b", "test.Inner")), record(field("b", WIDER)), "/fields/0/type/fields/1: y"),
    (record(A), record(A, name="Other"), "/, /name: "),
    (record(A), record(field("a", MOMENT)), "/fields/0/type: "),
    (record(field("a", MOMENT)), record(field("a", ["null", "long"])), "/fields/0/type: "),
]
VALUES: dict[str, Any] = {"long": 7, "int": 7, "double": 7.5, "string": "seven", "bytes": b"7"}


@pytest.mark.parametrize(("writer", "reader"), COMPATIBLE)
def test_a_compatible_change_has_no_problems(writer: Any, reader: Any) -> None:
    assert problems(writer, reader) == []
    read(writer, reader)


@pytest.mark.parametrize(("writer", "reader", "start"), BREAKING)
def test_a_breaking_change_is_reported_with_its_path(writer: Any, reader: Any, start: str) -> None:
    (problem,) = problems(writer, reader)
    assert problem.startswith(start)


@pytest.mark.parametrize(("writer", "reader", "start"), BREAKING[:4] + BREAKING[5:8])
def test_fastavro_fails_on_a_breaking_change(writer: Any, reader: Any, start: str) -> None:
    """Only changes that fail for every value; others fail for some values only, or only our check is stricter."""
    with pytest.raises((SchemaResolutionError, TypeError)):
        read(writer, reader)


def read(writer: Any, reader: Any) -> Any:
    data = BytesIO()
    parsed = parse_schema(writer, _force=True)
    schemaless_writer(data, parsed, {field["name"]: sample(field["type"]) for field in writer["fields"]})
    data.seek(0)
    return schemaless_reader(data, parsed, parse_schema(reader, _force=True))


def sample(kind: Any) -> Any:
    if kind == "test.Inner":
        return {"x": 1}
    if isinstance(kind, list):
        return None
    if isinstance(kind, dict):
        if kind["type"] == "record":
            return {field["name"]: sample(field["type"]) for field in kind["fields"]}
        return [sample(kind["items"])] if kind["type"] == "array" else 1_000_000
    return VALUES[kind]


def test_all_versions_of_a_record_type_are_compatible() -> None:
    for one, other in product(versions().values(), repeat=2):
        if one.name == other.name and one.id not in UPCASTERS:
            assert problems(one.schema, other.schema) == [], f"{one.name} {one.version} → {other.version}"


def test_different_record_types_are_incompatible() -> None:
    for one, other in product(versions().values(), repeat=2):
        assert one.name == other.name or problems(one.schema, other.schema)
