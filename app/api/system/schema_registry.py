"""The words' Avro schemas on the Confluent Schema Registry's read paths, so that a stock deserializer reads our topics.

Paths, answers and error codes as in its API reference; subjects are named by TopicRecordNameStrategy:
`jobs.events-entrepot.jobs.events.JobCreated`. Open to everyone who can reach the port: schemas are no secrets, and
stock clients send no bearer token.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import ConfigDict

from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from schemas import commands, definitions, events, updates
from schemas.topics import (
    DEFINITIONS_COMMANDS,
    DEFINITIONS_EVENTS,
    JOBS_COMMANDS,
    JOBS_EVENTS,
    MESSAGES_BACKFILL,
    MESSAGES_REALTIME,
    MESSAGES_REJECTED,
    UPDATES,
)
from schemas.wire.catalog import Version, versions

CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
TOPICS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    commands.NAMESPACE: (JOBS_COMMANDS.name,),
    events.NAMESPACE: (JOBS_EVENTS.name,),
    definitions.COMMANDS_NAMESPACE: (DEFINITIONS_COMMANDS.name,),
    definitions.EVENTS_NAMESPACE: (DEFINITIONS_EVENTS.name,),
    updates.NAMESPACE: tuple(each.name for each in UPDATES.values()),
    "MessageBatch": (MESSAGES_REALTIME.name, MESSAGES_BACKFILL.name),
    "MessageRejected": (MESSAGES_REJECTED.name,),
}


class RegistryQuery(Query):
    """Clients send options that change nothing for schemas without references; they are taken and left alone."""

    model_config = ConfigDict(extra="ignore")


@cache
def subjects() -> Mapping[str, tuple[Version, ...]]:
    """Return the versions of every subject, oldest first."""
    found: dict[str, list[Version]] = {}
    for version in sorted(versions().values(), key=lambda each: each.version):
        for subject in _subjects_of(version):
            found.setdefault(subject, []).append(version)
    return {name: tuple(those) for name, those in sorted(found.items())}


def _subjects_of(version: Version) -> Iterator[str]:
    namespace, _, word = version.name.rpartition(".")
    for topic in TOPICS_OF.get(namespace) or TOPICS_OF[word]:
        yield f"{topic}-{version.name}"


ROUTES: Final = Routes("registry", "/registry", role=None)
RESPONSES: Final = (
    ResponseSpec(content_type=CONTENT_TYPE),
    ResponseSpec("there is none", status=404, content_type=CONTENT_TYPE),
    ResponseSpec("no such version can be", status=422, content_type=CONTENT_TYPE),
)


@ROUTES("GET", "/schemas/ids/{schema_id}", "The schema of an id", *RESPONSES)
async def schema_by_id(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the schema of an id, as a record's frame names it."""
    found = versions().get(_number(call.path("schema_id")))
    if found is None:
        return _error(404, 40403, "Schema not found")
    return _json({"schema": _text(found), "schemaType": "AVRO"})


@ROUTES("GET", "/schemas/ids/{schema_id}/versions", "Where the schema of an id is used", *RESPONSES)
async def schema_subjects(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the subjects and versions that have the schema of an id."""
    wanted = _number(call.path("schema_id"))
    found = [
        {"subject": name, "version": each.version}
        for name, those in subjects().items()
        for each in those
        if each.id == wanted
    ]
    return _json(found) if found else _error(404, 40403, "Schema not found")


@ROUTES("GET", "/subjects", "Every subject", *RESPONSES)
async def list_subjects(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return every subject."""
    return _json(list(subjects()))


@ROUTES("GET", "/subjects/{subject}/versions", "The versions of a subject", *RESPONSES)
async def list_versions(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the versions of a subject."""
    found = subjects().get(call.path("subject"))
    return _error(404, 40401, "Subject not found") if found is None else _json([each.version for each in found])


@ROUTES("GET", "/subjects/{subject}/versions/{version}", "One version of a subject", *RESPONSES)
async def subject_version(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return one version of a subject; `latest` and -1 are the newest."""
    name, wanted = call.path("subject"), call.path("version")
    found = subjects().get(name)
    if found is None:
        return _error(404, 40401, "Subject not found")
    if wanted not in {"latest", "-1"} and _number(wanted) < 1:
        return _error(422, 42202, "The specified version is not a valid version id: a number from 1, or `latest`")
    chosen = found[-1] if wanted in {"latest", "-1"} else None
    version = chosen or next((each for each in found if each.version == _number(wanted)), None)
    if version is None:
        return _error(404, 40402, "Version not found")
    return _json({"subject": name, "id": version.id, "version": version.version, "schema": _text(version)})


@ROUTES("GET", "/config", "The rule that new versions keep to", *RESPONSES)
async def config(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the rule that new versions keep to."""
    return _json({"compatibilityLevel": "FULL_TRANSITIVE"})


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _text(version: Version) -> str:
    return orjson.dumps(version.schema).decode()


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type=CONTENT_TYPE)


def _error(status: int, code: int, message: str) -> web.Response:
    return _json({"error_code": code, "message": message}, status)
