"""The catalog of Avro schemas: all versions ever written, with IDs that never change.

The files in `avro/` are part of the code: `NAME.VERSION.avsc`, with their IDs in `ids.json`. `make generate` derives
them from the dataclasses; a test fails if a dataclass differs from its newest file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, get_args

from fastavro import parse_schema

from schemas import access, commands, definitions, events, messages, updates
from schemas.coded import CodedError
from schemas.wire.avro_types import Schema, avro_schema

FOLDER: Final = resources.files("schemas") / "avro"

RECORD_TYPES: Final[Mapping[str, type]] = {
    f"{namespace}.{record_type.__name__}": record_type
    for namespace, union in (
        (commands.NAMESPACE, commands.JobCommand),
        (events.NAMESPACE, events.JobEvent),
        (messages.NAMESPACE, messages.MessageRecord),
        (updates.NAMESPACE, updates.Update),
        (definitions.COMMANDS_NAMESPACE, definitions.DefinitionCommand),
        (definitions.EVENTS_NAMESPACE, definitions.DefinitionEvent),
        (access.NAMESPACE, access.AccessRecord),
    )
    for record_type in get_args(union)
}


class UnreadableRecordError(CodedError):
    """The bytes are not a record of Entrepot, or one with an unknown schema."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """A schema version: `schema` as published, `parsed` for fastavro."""

    id: int
    name: str
    version: int
    schema: Schema
    parsed: Any

    @property
    def record_type(self) -> type:
        """The dataclass of its records, for every version."""
        return RECORD_TYPES[self.name]


def current_schema(name: str) -> Schema:
    """Return the current schema of a dataclass."""
    return avro_schema(RECORD_TYPES[name], name.rpartition(".")[0])


def without_docs(schema: Any) -> Any:
    """Return a schema without documentation, which may change without a new version."""
    if isinstance(schema, dict):
        return {key: without_docs(value) for key, value in schema.items() if key != "doc"}
    return [without_docs(item) for item in schema] if isinstance(schema, list) else schema


def file_name(name: str, version: int) -> str:
    """Return the file name of a version."""
    return f"{name.rpartition('.')[2]}.{version}.avsc"


def _load() -> Iterator[SchemaVersion]:
    for name, ids in json.loads((FOLDER / "ids.json").read_text("utf-8")).items():
        for version, schema_id in ids.items():
            schema = json.loads((FOLDER / file_name(name, int(version))).read_text("utf-8"))
            yield SchemaVersion(schema_id, name, int(version), schema, parse_schema(schema, _force=True))


@cache
def versions() -> Mapping[int, SchemaVersion]:
    """Return all versions by ID, the oldest of each record type first."""
    return {version.id: version for version in _load()}


@cache
def newest() -> Mapping[type, SchemaVersion]:
    """Return the newest version of each record type, which the encoder uses."""
    return {
        version.record_type: version for version in sorted(versions().values(), key=lambda version: version.version)
    }


def version_of(schema_id: int) -> SchemaVersion:
    """Return the version with this ID.

    Raises:
        UnreadableRecordError: the ID is unknown.

    """
    try:
        return versions()[schema_id]
    except KeyError:
        raise UnreadableRecordError("unknown_schema", {"schema_id": schema_id}) from None
