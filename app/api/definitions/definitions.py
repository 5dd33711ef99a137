"""Definitions over HTTP: mappings of streams and identity rules, drafted, compared and applied."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import Field, JsonValue, RootModel

from app.api.definitions.commands import (
    definition_envelope,
    definition_response,
    invalid_body_problem,
    respond_changed,
    version_conflict,
)
from app.api.definitions.views import (
    BodyView,
    ChangeView,
    DefinitionItem,
    DefinitionView,
    DiffView,
    body_view,
    definition_item,
    definition_view,
)
from app.api.http.headers import etag, expected_revision
from app.api.http.problems import ApiProblem, kafka_unreachable, not_found
from app.api.routing.commands import ACCEPTED
from app.api.routing.responses import respond
from app.api.routing.routes import EDIT, IF_MATCH, PREFER, Query, RequestContext, ResponseSpec, Routes
from app.definitions.catalog import VersionLostError, VersionRecord
from projections.definitions.body_checks import InvalidBodyError, check_body
from projections.definitions.definition import Definition, is_definition_id
from projections.definitions.rebuild_spec import VersionedBody
from projections.identities.value_rules import with_defaults
from projections.mapping.mapping import IdentityKind, parse_identity
from projections.views.json_diff import diff
from schemas.definitions import IDENTITY, ApplyDefinition, DiscardDraft, DraftDefinition
from schemas.json_values import canonical_json

VersionNumber = Annotated[int, Field(ge=1, lt=10**9)]
Side = Annotated[str, Field(pattern="^(applied|draft|[0-9]{1,9})$", description="a version, `applied` or `draft`")]


class DefinitionQuery(Query):
    """The version to include."""

    version: Annotated[VersionNumber | None, Field(description="include this version, as `requested`")] = None


class ApplyQuery(Query):
    """The draft to apply."""

    version: Annotated[VersionNumber | None, Field(description="only if the draft is this version")] = None


class DiffQuery(Query):
    """The versions to compare."""

    from_: Annotated[Side, Field(alias="from")] = "applied"
    to: Side = "draft"


class RulesBody(RootModel[dict[str, JsonValue]]):
    """The body of a mapping or of the identity rules."""


ROUTES: Final = Routes("definitions", "/v2/definition", problems=(404,))
DEFINITION: Final = ResponseSpec("the definition", DefinitionView, headers=("ETag",))
DEFINITIONS: Final = ResponseSpec("every definition", list[DefinitionItem], ids={"definition_id": "/data/0/id"})


@ROUTES("GET", "", "List definitions", DEFINITIONS)
async def list_definitions(call: RequestContext[Query, None]) -> web.Response:
    """Return every definition."""
    check_loaded(call)
    return respond(call, [definition_item(definition) for definition in call.api.catalog.definitions])


@ROUTES("GET", "/{definition_id}", "Show a definition", replace(DEFINITION, ids={"definition_id": "/data/id"}))
async def get_definition(call: RequestContext[DefinitionQuery, None]) -> web.Response:
    """Return a definition with its active version, its draft and the requested version."""
    definition, version = _definition(call), call.query.version
    requested = None if version is None else await _version(call, definition, version)
    view = definition_view(call.api.catalog, definition, requested)
    return respond(call, view, headers=etag(definition.version))


@ROUTES(
    "PUT",
    "/{definition_id}/draft",
    "Save a new version as the draft",
    DEFINITION,
    ACCEPTED,
    headers=(IF_MATCH, PREFER),
    problems=(404, 409, 429),
)
async def put_draft(call: RequestContext[Query, RulesBody]) -> web.Response:
    """Save a new version as the draft, if the client has read the newest version."""
    if "If-Match" not in call.request.headers:
        detail = 'a draft needs If-Match with the ETag that was read; "0" if there is no version yet'
        raise ApiProblem(428, "if_match_required", detail)
    definition_id = definition_id_of(call)
    body = await checked_body(call, definition_id, call.body.root)
    expected = _expected(call, definition_id)
    definition = call.api.catalog.get(definition_id)
    if definition and definition.draft and definition.draft.body == body:
        return definition_response(call, definition_id, definition, "nothing to change")
    command = DraftDefinition(**definition_envelope(call, definition_id, expected), body=body)
    return await respond_changed(call, command, "drafted")


async def checked_body(call: RequestContext[Any, Any], definition_id: str, content: Mapping[str, Any]) -> str:
    """Return a body with its defaults, as it is stored.

    Raises:
        ApiProblem: 422, it is invalid; 429, too many checks wait.

    """
    body = canonical_json(with_defaults(content) if definition_id == IDENTITY else content)
    try:
        async with call.evaluator() as evaluator:
            await evaluator.call(check_body, definition_id, body)
    except InvalidBodyError as error:
        raise invalid_body_problem(error) from error
    return body


@ROUTES(
    "POST",
    "/{definition_id}/apply",
    "Activate the draft",
    DEFINITION,
    ACCEPTED,
    **EDIT,
)
async def apply_draft(call: RequestContext[ApplyQuery, None]) -> web.Response:
    """Activate the draft."""
    definition = _definition(call)
    expected = _expected(call, definition.definition_id)
    version = call.query.version or _draft_version(definition)
    _check_keys(definition)
    command = ApplyDefinition(**definition_envelope(call, definition.definition_id, expected), version=version)
    return await respond_changed(call, command, f"version {version} is active")


def _check_keys(definition: Definition) -> None:
    """Make sure that the draft keeps the keys of all profiles: the rank and the format of every identity type in use.

    Raises:
        ApiProblem: 409, an identity type would have another rank or format, or be gone.

    """
    if definition.definition_id != IDENTITY or definition.applied is None or definition.draft is None:
        return
    versions = (definition.applied, definition.draft)
    before, after = (
        {kind.kind: kind for kind in parse_identity(orjson.loads(version.body)).kinds} for version in versions
    )
    moved = sorted(name for name, kind in before.items() if name not in after or after[name].rank != kind.rank)
    respelled = sorted(name for name, kind in before.items() if name in after and not _same_form(kind, after[name]))
    fix = f"Rebuild with this version instead: entrepot rebuild start --identity {definition.draft.version}"
    if moved:
        detail = f"the rank of {', '.join(moved)} would change, and profiles are stored by type and rank. {fix}"
        raise ApiProblem(409, "ranks_in_use", detail, more={"allowed": ["rebuild"]})
    if respelled:
        detail = f"the format of {', '.join(respelled)} would change, and profiles are stored by its values. {fix}"
        raise ApiProblem(409, "formats_in_use", detail, more={"allowed": ["rebuild"]})


def _same_form(one: IdentityKind, other: IdentityKind) -> bool:
    return (one.format, one.region) == (other.format, other.region)


@ROUTES(
    "DELETE",
    "/{definition_id}/draft",
    "Discard the draft",
    DEFINITION,
    ACCEPTED,
    **EDIT,
)
async def discard_draft(call: RequestContext[Query, None]) -> web.Response:
    """Discard the draft."""
    definition = _definition(call)
    _draft_version(definition)
    expected = _expected(call, definition.definition_id)
    command = DiscardDraft(**definition_envelope(call, definition.definition_id, expected))
    return await respond_changed(call, command, "discarded")


@ROUTES(
    "GET",
    "/{definition_id}/diff",
    "Compare two versions: differences as JSON pointers",
    ResponseSpec("every difference", DiffView),
    problems=(404, 429),
)
async def get_diff(call: RequestContext[DiffQuery, None]) -> web.Response:
    """Return the differences of two versions."""
    definition = _definition(call)
    before, old = await _side(call, definition, call.query.from_)
    after, new = await _side(call, definition, call.query.to)
    async with call.evaluator() as evaluator:
        differences = await evaluator.call(diff, old, new)
    return respond(
        call, DiffView(before=before, after=after, changes=[ChangeView.of(change) for change in differences])
    )


async def _side(call: RequestContext[DiffQuery, None], definition: Definition, side: str) -> tuple[int, Any]:
    match side:
        case "applied" if definition.applied is None:
            return 0, {}
        case "applied" | "draft":
            version = definition.applied if side == "applied" else definition.draft
            if version is None:
                raise not_found("draft", definition.definition_id, "; save one first")
            return version.version, orjson.loads(version.body)
        case _ if int(side) == 0:
            return 0, {}
        case _:
            view = await _version(call, definition, int(side))
            return view.version, view.body


async def _version(call: RequestContext[Any, Any], definition: Definition, number: int) -> BodyView:
    record = call.api.catalog.versions(definition.definition_id).get(number)
    if record is None:
        raise not_found("version", str(number))
    return body_view(record, await body_of(call, definition.definition_id, record))


async def body_of(call: RequestContext[Any, Any], definition_id: str, record: VersionRecord) -> str:
    """Return the body of a version.

    Raises:
        ApiProblem: its record is lost, or Kafka is unreachable.

    """
    try:
        return await call.api.catalog.body(definition_id, record)
    except VersionLostError as error:
        raise not_found("version", str(record.version)) from error
    except (KafkaError, OSError) as error:
        raise kafka_unreachable("older versions") from error


def check_loaded(call: RequestContext[Any, Any]) -> None:
    """Make sure that all definitions are loaded, so that no response is based on a part of them.

    Raises:
        ApiProblem: 503.

    """
    if not call.api.catalog.complete:
        detail = "definitions are not loaded from Kafka yet; try again"
        raise ApiProblem(503, "definitions_unknown", detail, headers={"Retry-After": "1"})


def active_versions(call: RequestContext[Any, Any]) -> Mapping[str, VersionedBody]:
    """Return the active version of each definition that has one."""
    definitions = call.api.catalog.definitions
    return {definition.definition_id: definition.applied for definition in definitions if definition.applied}


def definition_id_of(call: RequestContext[Any, Any]) -> str:
    """Return the definition id in the path, once all definitions are loaded.

    Raises:
        ApiProblem: 404, no definition can have that id; or 503.

    """
    check_loaded(call)
    definition_id = call.path("definition_id")
    if not is_definition_id(definition_id):
        raise not_found("definition", definition_id)
    return definition_id


def _definition(call: RequestContext[Any, Any]) -> Definition:
    definition_id = definition_id_of(call)
    definition = call.api.catalog.get(definition_id)
    if definition is None:
        raise not_found("definition", definition_id)
    return definition


def _expected(call: RequestContext[Any, Any], definition_id: str) -> int | None:
    """Return the version that the client has read, if it is the newest one known here."""
    expected = expected_revision(call.request.headers)
    definition = call.api.catalog.get(definition_id)
    version = definition.version if definition else 0
    if expected not in {None, version}:
        raise version_conflict(version, f"the newest version is {version}, not {expected}: read it again")
    return expected


def _draft_version(definition: Definition) -> int:
    if definition.draft is None:
        raise ApiProblem(409, "no_draft", "there is no draft; save one first", more={"allowed": ["draft"]})
    return definition.draft.version
