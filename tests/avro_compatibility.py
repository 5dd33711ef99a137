"""Whether a reader with one Avro schema reads every record written with another, by the rules of Apache Avro."""

import json
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import Schema, parse


def problems(writer: Any, reader: Any) -> list[str]:
    """Return what the reader can't read; empty when it reads everything."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(parsed(reader), parsed(writer))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{', '.join(sorted(result.locations))}: {'; '.join(sorted(result.messages))}"]


def parsed(schema: Any) -> Schema:
    return parse(json.dumps(distinct(schema)))


def distinct(schema: Any) -> Any:
    """Make logical types differ from what they are stored as, which the checker ignores: no schema of ours has maps."""
    if isinstance(schema, list):
        return [distinct(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema:
        return {"type": "map", "values": schema["type"]}
    return {key: value if key == "default" else distinct(value) for key, value in schema.items()}
