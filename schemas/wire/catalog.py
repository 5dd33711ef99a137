"""Every word with its Avro schemas: all versions ever written, under ids that never change.

The files in `avro/` are part of the code: `NAME.VERSION.avsc`, with their ids in `ids.json`. They are made from the
dataclasses by `make generate`; a test fails when a dataclass and its newest file differ.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, get_args

from fastavro import parse_schema

from schemas import commands, definitions, events, messages, updates
from schemas.coded import CodedError
from schemas.wire.avro_types import Schema, avro_schema

FOLDER: Final = resources.files("schemas") / "avro"

WORDS: Final[Mapping[str, type]] = {
    f"{namespace}.{word.__name__}": word
    for namespace, union in (
        (commands.NAMESPACE, commands.JobCommand),
        (events.NAMESPACE, events.JobEvent),
        (messages.NAMESPACE, messages.Message),
        (updates.NAMESPACE, updates.Update),
        (definitions.COMMANDS_NAMESPACE, definitions.DefinitionCommand),
        (definitions.EVENTS_NAMESPACE, definitions.DefinitionEvent),
    )
    for word in get_args(union)
}


class UnreadableRecordError(CodedError):
    """The bytes are no record of Entrepot, or one of a version that this one doesn't know."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one word: `schema` as published, `parsed` as fastavro takes it."""

    id: int
    name: str
    version: int
    schema: Schema
    parsed: Any

    @property
    def word(self) -> type:
        """The dataclass that its records are read into, whatever the version."""
        return WORDS[self.name]


def current_schema(name: str) -> Schema:
    """Return the schema that the dataclass has now."""
    return avro_schema(WORDS[name], name.rpartition(".")[0])


def without_docs(schema: Any) -> Any:
    """Return a schema without its documentation, which may change without making a version."""
    if isinstance(schema, dict):
        return {key: without_docs(value) for key, value in schema.items() if key != "doc"}
    return [without_docs(item) for item in schema] if isinstance(schema, list) else schema


def file_name(name: str, version: int) -> str:
    """Return the file that a version lives in."""
    return f"{name.rpartition('.')[2]}.{version}.avsc"


def _load() -> Iterator[Version]:
    for name, ids in json.loads((FOLDER / "ids.json").read_text("utf-8")).items():
        for version, schema_id in ids.items():
            schema = json.loads((FOLDER / file_name(name, int(version))).read_text("utf-8"))
            yield Version(schema_id, name, int(version), schema, parse_schema(schema, _force=True))


@cache
def versions() -> Mapping[int, Version]:
    """Return all versions by id, oldest first for each word."""
    return {version.id: version for version in _load()}


@cache
def newest() -> Mapping[type, Version]:
    """Return the version that each word is written with."""
    return {version.word: version for version in sorted(versions().values(), key=lambda version: version.version)}


def version_of(schema_id: int) -> Version:
    """Return the version with that id.

    Raises:
        UnreadableRecordError: no version has it.

    """
    try:
        return versions()[schema_id]
    except KeyError:
        raise UnreadableRecordError("unknown_schema", {"schema_id": schema_id}) from None
