"""Checks schema compatibility with Apache Avro's own checker."""

import json
from functools import cache
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema, parse


def problems(writer: Any, reader: Any) -> list[str]:
    """Return the incompatibilities of a reader schema with a writer schema; empty when there are none."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(parsed(reader), parsed(writer))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{', '.join(sorted(result.locations))}: {'; '.join(sorted(result.messages))}"]


def parsed(schema: Any) -> Schema:
    return _parsed(json.dumps(distinct(schema)))


@cache
def _parsed(text: str) -> Schema:
    return parse(text)


def distinct(schema: Any) -> Any:
    """Replace logical types by maps, which our schemas do not use: the checker ignores logical types."""
    if isinstance(schema, list):
        return [distinct(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return {"type": "map", "values": schema["type"]}
    return {key: value if key == "default" else distinct(value) for key, value in schema.items()}
