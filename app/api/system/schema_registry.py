"""The Avro schemas on the read paths of the Confluent Schema Registry, for standard deserializers.

Paths, responses and error codes follow its API reference; subjects are named by TopicRecordNameStrategy:
`jobs.events-entrepot.jobs.events.JobCreated`. Needs no token: schemas are not secret, and standard clients send none.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import ConfigDict

from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from schemas import access, commands, definitions, events, updates
from schemas.topics import (
    ACCESS_SESSIONS,
    DEFINITIONS_COMMANDS,
    DEFINITIONS_EVENTS,
    JOBS_COMMANDS,
    JOBS_EVENTS,
    MESSAGES_BACKFILL,
    MESSAGES_REALTIME,
    MESSAGES_REJECTED,
    UPDATES,
)
from schemas.wire.catalog import SchemaVersion, versions

CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
TOPICS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    commands.NAMESPACE: (JOBS_COMMANDS.name,),
    events.NAMESPACE: (JOBS_EVENTS.name,),
    definitions.COMMANDS_NAMESPACE: (DEFINITIONS_COMMANDS.name,),
    definitions.EVENTS_NAMESPACE: (DEFINITIONS_EVENTS.name,),
    access.NAMESPACE: (ACCESS_SESSIONS.name,),
    updates.NAMESPACE: tuple(topic.name for topic in UPDATES.values()),
    "MessageBatch": (MESSAGES_REALTIME.name, MESSAGES_BACKFILL.name),
    "MessageRejected": (MESSAGES_REJECTED.name,),
}


class RegistryQuery(Query):
    """Options of clients are ignored: they have no effect on schemas without references."""

    model_config = ConfigDict(extra="ignore")


@cache
def subjects() -> Mapping[str, tuple[SchemaVersion, ...]]:
    """Return the versions of every subject, oldest first."""
    by_subject: dict[str, list[SchemaVersion]] = {}
    for version in sorted(versions().values(), key=lambda version: version.version):
        for subject in _subjects_of(version):
            by_subject.setdefault(subject, []).append(version)
    return {subject: tuple(by_subject[subject]) for subject in sorted(by_subject)}


def _subjects_of(version: SchemaVersion) -> Iterator[str]:
    namespace, _, record_name = version.name.rpartition(".")
    for topic in TOPICS_OF.get(namespace) or TOPICS_OF[record_name]:
        yield f"{topic}-{version.name}"


ROUTES: Final = Routes("registry", "/registry", role=None)
RESPONSES: Final = (
    ResponseSpec(content_type=CONTENT_TYPE),
    ResponseSpec("not found", status=404, content_type=CONTENT_TYPE),
    ResponseSpec("invalid version", status=422, content_type=CONTENT_TYPE),
)


@ROUTES("GET", "/schemas/ids/{schema_id}", "Get a schema by id", *RESPONSES)
async def schema_by_id(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the schema of an id, as in the frame of a record."""
    version = versions().get(_number(call.path("schema_id")))
    if version is None:
        return _error(404, 40403, "Schema not found")
    return _json({"schema": _text(version), "schemaType": "AVRO"})


@ROUTES("GET", "/schemas/ids/{schema_id}/versions", "List the subjects of a schema", *RESPONSES)
async def schema_subjects(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the subjects and versions that have the schema of an id."""
    schema_id = _number(call.path("schema_id"))
    uses = [
        {"subject": subject, "version": version.version}
        for subject, subject_versions in subjects().items()
        for version in subject_versions
        if version.id == schema_id
    ]
    return _json(uses) if uses else _error(404, 40403, "Schema not found")


@ROUTES("GET", "/subjects", "List subjects", *RESPONSES)
async def list_subjects(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return every subject."""
    return _json(list(subjects()))


@ROUTES("GET", "/subjects/{subject}/versions", "List the versions of a subject", *RESPONSES)
async def list_versions(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the versions of a subject."""
    subject_versions = subjects().get(call.path("subject"))
    if subject_versions is None:
        return _error(404, 40401, "Subject not found")
    return _json([version.version for version in subject_versions])


@ROUTES("GET", "/subjects/{subject}/versions/{version}", "Get a version of a subject", *RESPONSES)
async def subject_version(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return one version of a subject; `latest` and -1 are the newest."""
    name, requested = call.path("subject"), call.path("version")
    subject_versions = subjects().get(name)
    if subject_versions is None:
        return _error(404, 40401, "Subject not found")
    is_latest = requested in {"latest", "-1"}
    if not is_latest and _number(requested) < 1:
        return _error(422, 42202, "The specified version is not a valid version id: a number from 1, or `latest`")
    number = subject_versions[-1].version if is_latest else _number(requested)
    version = next((version for version in subject_versions if version.version == number), None)
    if version is None:
        return _error(404, 40402, "Version not found")
    return _json({"subject": name, "id": version.id, "version": version.version, "schema": _text(version)})


@ROUTES("GET", "/config", "Get the compatibility level", *RESPONSES)
async def config(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the compatibility level of new versions."""
    return _json({"compatibilityLevel": "FULL_TRANSITIVE"})


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _text(version: SchemaVersion) -> str:
    return orjson.dumps(version.schema).decode()


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type=CONTENT_TYPE)


def _error(status: int, code: int, message: str) -> web.Response:
    return _json({"error_code": code, "message": message}, status)
