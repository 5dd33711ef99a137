"""The Avro schemas on the paths of the Confluent Schema Registry, for standard serializers, deserializers and tools.

Paths, responses and error codes follow its API reference; subjects are named by TopicRecordNameStrategy:
`jobs.events-entrepot.jobs.events.JobCreated`. Needs no token: schemas are not secret, and standard clients send none.
It is read-only: serializers that register a schema get the id that it has.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from app.api.http.problems import REGISTRY, REGISTRY_TYPE, ApiProblem
from app.api.routing.parsing import parse_json
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

MODE: Final = "READONLY"
COMPATIBILITY: Final = "FULL_TRANSITIVE"
READ_ONLY: Final = "Subject {subject} is in read-only mode: its schemas come with Entrepot"
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


class SubjectsQuery(RegistryQuery):
    """Which subjects are listed."""

    prefix: Annotated[str, Field(alias="subjectPrefix", description="only subjects that begin with it")] = ""


class SchemasQuery(SubjectsQuery):
    """Which schemas are listed."""

    latest_only: Annotated[bool, Field(alias="latestOnly", description="only the newest version of a subject")] = False
    offset: Annotated[int, Field(ge=0, description="how many schemas are skipped")] = 0
    limit: Annotated[int, Field(ge=-1, description="how many schemas are listed; -1: all")] = -1


class SchemaBody(BaseModel):
    """A schema to look up. Other fields of clients are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Annotated[str, Field(alias="schema", description="the schema, as JSON in a string")]
    kind: Annotated[str, Field(alias="schemaType", description="only AVRO is known")] = "AVRO"


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


def _not_found(what: str, code: int) -> ApiProblem:
    return ApiProblem(404, "not_found", f"{what} not found", more={"error_code": code})


def _versions_of(call: RequestContext[Any, Any]) -> tuple[str, tuple[SchemaVersion, ...]]:
    """Return the subject in the path and its versions, oldest first."""
    subject = call.path("subject")
    if subject not in subjects():
        raise _not_found("Subject", 40401)
    return subject, subjects()[subject]


def _schema_of(call: RequestContext[Any, Any]) -> SchemaVersion:
    """Return the schema whose id is in the path."""
    version = versions().get(_number(call.path("schema_id")))
    if version is None:
        raise _not_found("Schema", 40403)
    return version


def _version_of(call: RequestContext[Any, Any]) -> tuple[str, SchemaVersion]:
    """Return the subject and the version in the path; `latest` and -1 are the newest."""
    subject, subject_versions = _versions_of(call)
    requested = call.path("version")
    if requested in {"latest", "-1"}:
        return subject, subject_versions[-1]
    number = _number(requested)
    if number < 1:
        detail = "The specified version is not a valid version id: a number from 1, or `latest`"
        raise ApiProblem(422, "invalid_version", detail, more={"error_code": 42202})
    for version in subject_versions:
        if version.version == number:
            return subject, version
    raise _not_found("Version", 40402)


def _registered(call: RequestContext[Any, SchemaBody]) -> tuple[str, SchemaVersion | None]:
    """Return the subject in the path, and its version with the schema in the body, if there is one."""
    subject, subject_versions = _versions_of(call)
    sent = parse_json(call.body.text.encode()) if call.body.kind == "AVRO" else None
    return subject, next((version for version in subject_versions if version.schema == sent), None)


ROUTES: Final = Routes("registry", REGISTRY, role=None)
RESPONSE: Final = ResponseSpec(content_type=REGISTRY_TYPE)


@ROUTES("GET", "/", "Check that the registry answers", RESPONSE)
async def registry(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return an empty object, as tools expect it."""
    return _json({})


@ROUTES("GET", "/schemas", "List schemas", RESPONSE)
async def list_schemas(call: RequestContext[SchemasQuery, None]) -> web.Response:
    """Return schemas with their subjects and versions."""
    query = call.query
    listed = [
        _described(subject, version)
        for subject, subject_versions in subjects().items()
        if subject.startswith(query.prefix)
        for version in subject_versions[-1 if query.latest_only else 0 :]
    ]
    end = len(listed) if query.limit < 0 else query.offset + query.limit
    return _json(listed[query.offset : end])


@ROUTES("GET", "/schemas/types", "List the types of schemas", RESPONSE)
async def schema_types(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the types of schemas."""
    return _json(["AVRO"])


@ROUTES("GET", "/schemas/ids/{schema_id}", "Get a schema by id", RESPONSE, problems=(404,))
async def schema_by_id(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the schema of an id, as in the frame of a record."""
    return _json({"schema": _text(_schema_of(call)), "schemaType": "AVRO"})


@ROUTES("GET", "/schemas/ids/{schema_id}/schema", "Get the text of a schema by id", RESPONSE, problems=(404,))
async def schema_text_by_id(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the schema of an id, without an envelope."""
    return _json(_schema_of(call).schema)


@ROUTES("GET", "/schemas/ids/{schema_id}/versions", "List the versions with a schema", RESPONSE, problems=(404,))
async def schema_versions(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the subjects and versions that have the schema of an id."""
    version = _schema_of(call)
    return _json([{"subject": subject, "version": version.version} for subject in sorted(_subjects_of(version))])


@ROUTES("GET", "/schemas/ids/{schema_id}/subjects", "List the subjects of a schema", RESPONSE, problems=(404,))
async def schema_subjects(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the subjects that have the schema of an id."""
    return _json(sorted(_subjects_of(_schema_of(call))))


@ROUTES("GET", "/subjects", "List subjects", RESPONSE)
async def list_subjects(call: RequestContext[SubjectsQuery, None]) -> web.Response:
    """Return every subject."""
    return _json([subject for subject in subjects() if subject.startswith(call.query.prefix)])


@ROUTES("POST", "/subjects/{subject}", "Look up a schema", RESPONSE, problems=(404,), body_type=REGISTRY_TYPE)
async def look_up_schema(call: RequestContext[RegistryQuery, SchemaBody]) -> web.Response:
    """Return the version of a subject that has a schema."""
    subject, version = _registered(call)
    if version is None:
        raise _not_found("Schema", 40403)
    return _json(_described(subject, version))


@ROUTES("GET", "/subjects/{subject}/versions", "List the versions of a subject", RESPONSE, problems=(404,))
async def list_versions(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the versions of a subject."""
    return _json([version.version for version in _versions_of(call)[1]])


@ROUTES(
    "POST", "/subjects/{subject}/versions", "Register a schema that is known", RESPONSE,
    problems=(404,), body_type=REGISTRY_TYPE,
)  # fmt: skip
async def register_schema(call: RequestContext[RegistryQuery, SchemaBody]) -> web.Response:
    """Return the id of a schema of the subject; another can't be registered."""
    subject, version = _registered(call)
    if version is None:
        raise ApiProblem(422, "read_only", READ_ONLY.format(subject=subject), more={"error_code": 42205})
    return _json({"id": version.id})


@ROUTES(
    "POST", "/compatibility/subjects/{subject}/versions", "Check a schema against all versions", RESPONSE,
    problems=(404,), body_type=REGISTRY_TYPE,
)  # fmt: skip
async def check_compatibility(call: RequestContext[RegistryQuery, SchemaBody]) -> web.Response:
    """Return whether a schema could be registered: only one that the subject has."""
    return _compatibility(*_registered(call))


@ROUTES(
    "POST", "/compatibility/subjects/{subject}/versions/{version}", "Check a schema against a version", RESPONSE,
    problems=(404,), body_type=REGISTRY_TYPE,
)  # fmt: skip
async def check_compatibility_with(call: RequestContext[RegistryQuery, SchemaBody]) -> web.Response:
    """Return whether a schema could be registered: only one that the subject has."""
    _version_of(call)
    return _compatibility(*_registered(call))


@ROUTES("GET", "/subjects/{subject}/versions/{version}", "Get a version of a subject", RESPONSE, problems=(404,))
async def subject_version(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return one version of a subject."""
    return _json(_described(*_version_of(call)))


@ROUTES(
    "GET", "/subjects/{subject}/versions/{version}/schema", "Get the text of a version", RESPONSE, problems=(404,)
)  # fmt: skip
async def version_text(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the schema of one version of a subject, without an envelope."""
    return _json(_version_of(call)[1].schema)


@ROUTES(
    "GET", "/subjects/{subject}/versions/{version}/referencedby", "List the references to a version", RESPONSE,
    problems=(404,),
)  # fmt: skip
async def references(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return an empty list: no schema refers to another."""
    _version_of(call)
    return _json([])


@ROUTES("GET", "/config", "Get the compatibility level", RESPONSE)
async def config(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the compatibility level of new versions."""
    return _json({"compatibilityLevel": COMPATIBILITY})


@ROUTES("GET", "/config/{subject}", "Get the compatibility level of a subject", RESPONSE, problems=(404,))
async def subject_config(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the compatibility level of all subjects: also without `defaultToGlobal`, which some tools don't send."""
    _versions_of(call)
    return _json({"compatibilityLevel": COMPATIBILITY})


@ROUTES("GET", "/mode", "Get the mode", RESPONSE)
async def mode(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the mode of the registry."""
    return _json({"mode": MODE})


@ROUTES("GET", "/mode/{subject}", "Get the mode of a subject", RESPONSE, problems=(404,))
async def subject_mode(call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the mode of all subjects."""
    _versions_of(call)
    return _json({"mode": MODE})


@ROUTES("GET", "/contexts", "List contexts", RESPONSE)
async def contexts(_call: RequestContext[RegistryQuery, None]) -> web.Response:
    """Return the only context, the default one."""
    return _json(["."])


def _compatibility(subject: str, version: SchemaVersion | None) -> web.Response:
    messages = [] if version else [READ_ONLY.format(subject=subject)]
    return _json({"is_compatible": version is not None, "messages": messages})


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _described(subject: str, version: SchemaVersion) -> dict[str, Any]:
    return {
        "subject": subject,
        "id": version.id,
        "version": version.version,
        "schemaType": "AVRO",
        "schema": _text(version),
    }


def _text(version: SchemaVersion) -> str:
    return orjson.dumps(version.schema).decode()


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type=REGISTRY_TYPE)
