"""Whether a reader with one Avro schema understands every record written with another. Pure; knows no files and no ids.

The rules are those of "Schema Resolution" in the Avro specification, and stricter in two ways: every branch of a
written union has to be readable, and a logical type is part of the type.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.wire.avro_types import Schema

PROMOTIONS: Final[Mapping[str, frozenset[str]]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


def problems(writer: Schema, reader: Schema) -> list[str]:
    """Return what a reader would not understand, each with the path of its field; nothing when all is well."""
    return list(_compare(_inlined(writer, {}), _inlined(reader, {}), ""))


def _inlined(schema: Any, defined: dict[str, Any]) -> Any:
    """Return a schema with every name replaced by what it stands for, and every primitive as a dict."""
    if isinstance(schema, list):
        return [_inlined(each, defined) for each in schema]
    if isinstance(schema, str):
        return defined.get(schema, {"type": schema})
    if schema["type"] == "array":
        return {"type": "array", "items": _inlined(schema["items"], defined)}
    if schema["type"] != "record":
        return schema
    name = f"{schema['namespace']}.{schema['name']}"
    fields = [{**each, "type": _inlined(each["type"], defined)} for each in schema["fields"]]
    defined[name] = {"type": "record", "name": name, "fields": fields}
    return defined[name]


def _compare(writer: Any, reader: Any, path: str) -> Iterator[str]:
    if isinstance(writer, list):
        for branch in writer:
            yield from _compare(branch, reader, path)
    elif isinstance(reader, list):
        if all(any(_compare(writer, branch, path)) for branch in reader):
            yield f"{path or '/'}: {_named(writer)} is none of {', '.join(map(_named, reader))}"
    elif writer["type"] == reader["type"] == "record":
        yield from _compare_records(writer, reader, path)
    elif writer["type"] == reader["type"] == "array":
        yield from _compare(writer["items"], reader["items"], f"{path}/*")
    elif not _is_readable(writer, reader):
        yield f"{path or '/'}: {_named(writer)} can't be read as {_named(reader)}"


def _compare_records(writer: Any, reader: Any, path: str) -> Iterator[str]:
    if writer["name"] != reader["name"]:
        yield f"{path or '/'}: {writer['name']} can't be read as {reader['name']}"
        return
    written = {each["name"]: each["type"] for each in writer["fields"]}
    for field in reader["fields"]:
        place = f"{path}/{field['name']}"
        if field["name"] in written:
            yield from _compare(written[field["name"]], field["type"], place)
        elif "default" not in field:
            yield f"{place}: it is not written, and the reader has no default for it"


def _is_readable(writer: Any, reader: Any) -> bool:
    if writer.get("logicalType") != reader.get("logicalType"):
        return False
    return writer["type"] == reader["type"] or reader["type"] in PROMOTIONS.get(writer["type"], ())


def _named(schema: Any) -> str:
    return str(schema.get("logicalType") or schema.get("name") or schema["type"])
